// What the special sections of an object say about its code.
// Mirrors tools/objtool/special.c, add_ignores(), add_dead_ends() and read_unwind_hints() of check.c.
// Modules have lost their `.discard.*` sections when they were linked; objects still have them.

import type { CodeArch } from '../arch/code.ts';
import type { OrcFormatRule } from '../arch/orc.ts';
import type { ElfObject, ElfSection } from '../elf/elf_object.ts';
import {
  ALT_INSTR,
  BUG_ENTRY,
  BUG_ENTRY_7,
  EXCEPTION_ENTRY,
  JUMP_ENTRY,
  type RowForm,
  UNWIND_HINT,
} from '../elf/table_rows.ts';
import { Annotations, placeOf } from './annotations.ts';
import type { ElfTables } from './elf_tables.ts';
import type { CodeAlternative, CodeHint, CodeHintKind, CodeMark, RelocTable } from './input.ts';
import { orcFormatRule } from './orc_format.ts';

const BUGFLAG_WARNING = 1;
/** Since then an annotation leaves out one of several alternatives; before, all of them. */
const SAYS_ARMS = 615;

/** Code that stands in for other code, and is laid out by it. */
export const isReplacement = (name: string): boolean =>
  name === '.altinstr_replacement' || name === '.altinstr_aux';

/** Its kernel, 100 times the major number and the minor: the object says so, or no earlier one has such an object. */
interface OfKernel {
  readonly version: number;
  readonly isKnown: boolean;
}
/** What _ASM_EXTABLE_EX once added to an address. */
const EXTABLE_EX = 0x7ffffff0;

/** Two places, by the first two relocations of a row; where the row's own bytes begin. */
interface Row {
  readonly at: number;
  readonly first: CodeMark | undefined;
  readonly second: CodeMark | undefined;
}

/** UNWIND_HINT_TYPE_*, of 6.1 and of 6.4. */
const HINT_KINDS: readonly CodeHintKind[] = [
  'call',
  'regs',
  'regs_partial',
  'func',
  'entry',
  'save',
  'restore',
];
const HINT_KINDS_6_4: readonly CodeHintKind[] = [
  'undefined',
  'empty',
  'call',
  'regs',
  'regs_partial',
  'func',
  'save',
  'restore',
];

export class SpecialSections {
  readonly #elf: ElfObject;
  readonly #tables: ElfTables;
  readonly #arch: CodeArch;
  readonly #since64: boolean;
  readonly #bugRows: typeof BUG_ENTRY;
  readonly #rule: OrcFormatRule;
  readonly #annotations: Annotations;
  readonly #of: OfKernel;

  /** `format`: by whose numbers hints name registers. */
  constructor(elf: ElfObject, tables: ElfTables, arch: CodeArch, of: OfKernel, format = arch.orc.own) {
    const { version } = of;
    this.#of = of;
    this.#elf = elf;
    this.#tables = tables;
    this.#arch = arch;
    this.#since64 = version >= 604;
    this.#bugRows = version >= 700 ? BUG_ENTRY_7 : BUG_ENTRY;
    this.#rule = orcFormatRule(arch.orc, format);
    this.#annotations = new Annotations(elf, tables);
  }

  /** In objtool's order: replacements, jump labels, exception fixups. */
  alternatives(): CodeAlternative[] {
    return [...this.#replacements(), ...this.#jumpLabels(), ...this.#fixups()];
  }

  /** ud2 of WARN(), after which execution goes on. */
  reachable(): CodeMark[] {
    const { view, rows, form } = this.#rows('__bug_table', this.#bugRows);
    const marks: CodeMark[] = [];
    for (const { at, first } of rows)
      if (first && view && view.getUint16(at + form.flags, true) & BUGFLAG_WARNING) marks.push(first);
    return [...marks, ...this.#before('.discard.reachable'), ...this.#annotations.of('reachable')];
  }

  deadEnds(): CodeMark[] {
    return this.#before('.discard.unreachable');
  }

  /** Calls to __fentry__. */
  fentrySites(): CodeMark[] {
    return this.#marks('__mcount_loc');
  }

  ignored(): CodeMark[] {
    return this.#marks('.discard.func_stack_frame_non_standard');
  }

  ignoredAlternatives(): CodeMark[] {
    const marks = this.#marks('.discard.ignore_alts');
    return this.#saysArms ? marks : [...marks, ...this.#annotations.of('arm is ignored')];
  }

  /** First instructions of an original, or of a replacement, that is not to be looked at: since 6.15. */
  ignoredArms(): readonly CodeMark[] {
    return this.#saysArms ? this.#annotations.of('arm is ignored') : [];
  }

  /** Those where nothing tells whether the kernel is older: it would have said it of originals only. */
  unsureArms(): readonly CodeMark[] {
    const { version, isKnown } = this.#of;
    if (isKnown || version >= SAYS_ARMS) return [];
    const marks = this.#annotations.of('arm is ignored');
    return marks.length > 0 && this.#isOfArms(marks) ? [] : marks;
  }

  /**
   * What no kernel before 6.15 had: a list of rows, code without CFI, a replacement that is left out, and an original that is
   * because it does not open user memory (before, all of those were known by their feature, and none had a mark).
   */
  #isOfArms(marks: readonly CodeMark[]): boolean {
    const { sections } = this.#elf;
    if (this.#elf.section('.discard.annotate_data') || this.#annotations.of('no CFI').length > 0) return true;
    if (marks.some(({ section }) => isReplacement(sections[section].name))) return true;
    const marked = new Set(marks.map(({ section, offset }) => `${section}+${offset}`));
    return this.#replacements().some(
      ({ from, skip }) => skip === true && marked.has(`${from.section}+${from.offset}`),
    );
  }

  /** What 6.13 and 6.14 say of all alternatives of an instruction, later kernels say of one of them, by the same number. */
  get #saysArms(): boolean {
    const { version, isKnown } = this.#of;
    return !isKnown || version >= SAYS_ARMS;
  }

  /** Calls that stay within their function, and leave a return address behind. */
  innerCalls(): CodeMark[] {
    return [...this.#marks('.discard.intra_function_calls'), ...this.#annotations.of('inner call')];
  }

  hints(): CodeHint[] {
    const { view, rows, form } = this.#rows('.discard.unwind_hints', UNWIND_HINT);
    const kinds = this.#since64 ? HINT_KINDS_6_4 : HINT_KINDS;
    return rows.flatMap(({ at, first }): CodeHint[] => {
      if (!first || !view) return [];
      const kind = kinds[view.getUint8(at + form.type)] ?? 'undefined';
      const ends = kind === 'call' && view.getUint8(at + form.end) !== 0;
      const base = this.#rule.hintName(view.getUint8(at + form.spReg));
      const hint = { ...first, base, frameOffset: view.getInt16(at + form.spOffset, true) };
      if (!this.#since64) return [{ ...hint, kind: ends ? 'empty' : kind }];
      return [{ ...hint, kind, signal: view.getUint8(at + form.end) !== 0 }];
    });
  }

  #replacements(): CodeAlternative[] {
    const { view, rows, form } = this.#rows('.altinstructions', ALT_INSTR);
    return rows.flatMap(({ at, first, second }): CodeAlternative[] => {
      if (!first || !view) return [];
      const fromLength = view.getUint8(at + form.instrlen);
      const toLength = view.getUint8(at + form.replacementlen);
      const skip = view.getUint16(at + form.cpuid, true) === this.#arch.userAccessFeature;
      return [{ kind: 'replace', from: first, to: second, fromLength, toLength, skip }];
    });
  }

  #jumpLabels(): CodeAlternative[] {
    return this.#rows('__jump_table', JUMP_ENTRY).rows.flatMap(({ first, second }): CodeAlternative[] =>
      first && second ? [{ kind: 'jumpLabel', from: first, to: second, fromLength: 0, toLength: 0 }] : [],
    );
  }

  #fixups(): CodeAlternative[] {
    return this.#rows('__ex_table', EXCEPTION_ENTRY).rows.flatMap(({ first, second }): CodeAlternative[] => {
      if (!first || !second) return [];
      const { section, offset } = second;
      const to = offset >= EXTABLE_EX ? { section, offset: offset - EXTABLE_EX } : second;
      return [{ kind: 'fixup', from: first, to, fromLength: 0, toLength: 0 }];
    });
  }

  /** Rows of the first of `forms` that fits the relocations, of all sections of that name. */
  #rows<Form extends RowForm>(
    name: string,
    forms: readonly Form[],
  ): { view?: DataView; rows: Row[]; form: Form } {
    const tables = this.#elf.sectionsNamed(name).flatMap((section) => {
      const relocs = this.#tables.relocs(section.index);
      return relocs ? [{ data: this.#elf.data(section), relocs }] : [];
    });
    if (tables.length === 0) return { rows: [], form: forms[0] };
    const whole = forms.filter((f) => tables.every(({ data }) => data.length % f.size === 0));
    // Rows of 8 bytes, two by two, look like rows of 16 in which something is missing.
    const [form] = [ALL, SOME].flatMap(
      (least) =>
        whole.find((f) => tables.every(({ data, relocs }) => rowsFit(f, relocs, data.length) >= least)) ?? [],
    );
    if (!form) throw this.#elf.error('rows of no known size', name);
    const { size } = form;
    this.#confirm(name, size);
    const all = tables.length === 1 ? tables[0].data : Buffer.concat(tables.map(({ data }) => data));
    const rows: Row[] = [];
    for (const { data, relocs } of tables) {
      for (const row of this.#table(data, relocs, form, rows.length * size)) rows.push(row);
    }
    return { view: new DataView(all.buffer, all.byteOffset, all.length), rows, form };
  }

  /** Where the object says where rows begin, they have to. */
  #confirm(name: string, size: number): void {
    for (const { section, offset } of this.#annotations.of('row')) {
      if (offset % size === 0 || this.#elf.sections[section].name !== name) continue;
      throw this.#elf.error(`rows of ${size} bytes, but one is said to begin here`, name, offset);
    }
  }

  /** Rows of one table, which begins at `base` of the bytes of all. */
  #table(data: Uint8Array, relocs: RelocTable, { size, relocated }: RowForm, base: number): Row[] {
    const first: (CodeMark | undefined)[] = [];
    const second: (CodeMark | undefined)[] = [];
    for (let i = 0; i < relocs.count; i++) {
      const row = Math.floor(relocs.offset[i] / size);
      const field = relocs.offset[i] % size;
      if (field === relocated[0]) first[row] = this.#place(relocs.symbol[i], relocs.addend[i]);
      else if (field === relocated[1]) second[row] = this.#place(relocs.symbol[i], relocs.addend[i]);
    }
    return Array.from({ length: data.length / size }, (_, row) => ({
      at: base + row * size,
      first: first[row],
      second: second[row],
    }));
  }

  /** Places in the lists of addresses of that name. */
  #marks(name: string): CodeMark[] {
    return this.#elf.sectionsNamed(name).flatMap((section) => this.#marksOf(section));
  }

  #marksOf({ index }: ElfSection): CodeMark[] {
    const relocs = this.#tables.relocs(index);
    if (!relocs) return [];
    const marks: CodeMark[] = [];
    for (let i = 0; i < relocs.count; i++) {
      const mark = this.#place(relocs.symbol[i], relocs.addend[i]);
      if (mark) marks.push(mark);
    }
    return marks;
  }

  /** The instructions before the places of a list: annotations follow what they are about. */
  #before(name: string): CodeMark[] {
    const starts = new Map<number, Int32Array>();
    return this.#marks(name).flatMap(({ section, offset }) => {
      let before = starts.get(section);
      before ??= startsBefore(this.#elf.data(this.#elf.sections[section]), this.#arch);
      starts.set(section, before);
      return offset > 0 && offset < before.length ? [{ section, offset: before[offset] - 1 }] : [];
    });
  }

  #place(symbol: number, addend: number): CodeMark | undefined {
    return placeOf(this.#tables, symbol, addend);
  }
}

/** Every row has all relocations of its form; some, of those that it may have, the first among them; others. */
const [ALL, SOME, OTHER] = [2, 1, 0];

function rowsFit({ size, relocated }: RowForm, { count, offset }: RelocTable, length: number): number {
  const has = new Uint8Array(length / size);
  for (let i = 0; i < count; i++) {
    const field = relocated.indexOf(offset[i] % size);
    if (field < 0) return OTHER;
    has[Math.floor(offset[i] / size)] |= 1 << field;
  }
  const all = (1 << relocated.length) - 1;
  if (has.every((bits) => bits === all)) return ALL;
  return has.every((bits) => bits & 1) ? SOME : OTHER;
}

/** By end of an instruction, one more than its start. */
function startsBefore(bytes: Uint8Array, arch: CodeArch): Int32Array {
  const before = new Int32Array(bytes.length + 1);
  for (let at = 0; at < bytes.length; ) {
    const length = arch.lengthAt(bytes, at);
    if (length > 0) before[at + length] = at + 1;
    // Behind what is no instruction one may start anywhere.
    at += length || 1;
  }
  return before;
}
