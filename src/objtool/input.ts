// What the ORC generator is given: text, symbols, relocations, and what the bytes alone do not tell.
// An assembled image fills it from its symbols and hints, an object file from its relocations
// and special sections (elf_input.ts).
//
// Invariant: tables of symbols and relocations are columns, not objects: a large module has
// hundreds of thousands of rows.

import type { CodeArch } from '../arch/code.ts';
import type { AsmImage } from '../asm/assembler.ts';

export const SYM_NOTYPE = 0;
export const SYM_OBJECT = 1;
export const SYM_FUNC = 2;
export const SYM_SECTION = 3;
export const SYM_FILE = 4;

export const BIND_LOCAL = 0;
export const BIND_GLOBAL = 1;
export const BIND_WEAK = 2;

/** Row 0 is the null symbol. A class, so that all tables are of one shape for the code that reads them. */
export class SymbolTable {
  readonly count: number;
  /** Index in `sections`; 0 for a symbol of another object, whose section 0 is no section. */
  readonly section: Int32Array;
  readonly value: Int32Array;
  readonly size: Int32Array;
  /** SYM_* */
  readonly type: Uint8Array;
  /** BIND_* */
  readonly bind: Uint8Array;
  readonly #nameOf: (index: number) => string;
  readonly #names: string[] = [];

  /** With room for `count` symbols, all of them null. */
  constructor(count: number, nameOf: (index: number) => string) {
    this.count = count;
    this.section = new Int32Array(count);
    this.value = new Int32Array(count);
    this.size = new Int32Array(count);
    this.type = new Uint8Array(count);
    this.bind = new Uint8Array(count);
    this.#nameOf = nameOf;
  }

  name(index: number): string {
    const name = this.#names[index];
    if (name !== undefined) return name;
    this.#names[index] = this.#nameOf(index);
    return this.#names[index];
  }

  set(index: number, section: number, value: number, size: number, type: number, bind: number): void {
    this.section[index] = section;
    this.value[index] = value;
    this.size[index] = size;
    this.type[index] = type;
    this.bind[index] = bind;
  }
}

/** Of one section, in the order of the file. */
export interface RelocTable {
  readonly count: number;
  readonly offset: Int32Array;
  readonly symbol: Int32Array;
  readonly addend: Int32Array;
  /** As ELF numbers them for the machine. */
  readonly type: Uint8Array;
  readonly sorted: boolean;
}

export interface CodeSection {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Holds instructions. */
  readonly text: boolean;
  /** Stands in for other code (`.altinstr_*`): followed, and left out of the table. */
  readonly replacement?: boolean;
  /** May hold jump tables. */
  readonly rodata?: boolean;
  /** Branches that are not here go where their displacement says. */
  readonly relocs?: RelocTable | undefined;
}

export interface CodeMark {
  /** Index in `sections`. */
  readonly section: number;
  readonly offset: number;
}

export type CodeHintKind =
  | 'empty'
  | 'entry'
  | 'regs'
  | 'regs_partial'
  | 'call'
  | 'func'
  | 'save'
  | 'restore'
  | 'undefined';

export interface CodeHint extends CodeMark {
  readonly kind: CodeHintKind;
  /** Register name, in parentheses when it points to the place. */
  readonly base: string;
  readonly frameOffset: number;
  /** An interrupt frame, where hints say it themselves; else those with registers are. */
  readonly signal?: boolean;
}

/** One entry of a special section: another way on from an instruction, or code that may be put in its place. */
export interface CodeAlternative {
  readonly kind: 'replace' | 'jumpLabel' | 'fixup';
  readonly from: CodeMark;
  /** Absent for a replacement of no bytes. */
  readonly to: CodeMark | undefined;
  /** Bytes replaced, and bytes of the replacement. */
  readonly fromLength: number;
  readonly toLength: number;
  /** What it replaces is not followed. */
  readonly skip?: boolean;
}

/** Some names, by a list or by a rule. */
export type Names = Pick<ReadonlySet<string>, 'has'>;

export interface ObjtoolInput {
  /** Whose code it is. */
  readonly arch: CodeArch;
  /** Section 0 is no section, as in ELF. */
  readonly sections: readonly CodeSection[];
  readonly symbols: SymbolTable;
  /** Symbols from this one on are not the object's: they stand for functions that lost theirs. */
  readonly unnamed?: number;
  readonly hints: readonly CodeHint[];
  /** Functions by their symbols that nothing calls: what holds of callable code only does not of them. */
  readonly entryCode?: ReadonlySet<number>;
  /** It was linked to the end, and its hints are gone: what fails on one way of a function says nothing of the others. */
  readonly isLinked?: boolean;
  /** Functions that never return, beside those that objtool knows. */
  readonly noreturn: Names;
  /** Instructions after which nothing runs. */
  readonly deadEnds: readonly CodeMark[];
  /** ud2 after which execution goes on (WARN). */
  readonly reachable: readonly CodeMark[];
  readonly alternatives: readonly CodeAlternative[];
  /** Several replacements of the same code share its states, as objtool has it since 6.4: else each replaces it alone. */
  readonly sharedOriginals?: boolean;
  /** Starts of functions that are not to be looked at (STACK_FRAME_NON_STANDARD). */
  readonly ignored: readonly CodeMark[];
  /** Instructions whose alternatives are not to be looked at. */
  readonly ignoredAlternatives: readonly CodeMark[];
  /** First instructions of an original, or of a replacement, that is not to be looked at. */
  readonly ignoredArms?: readonly CodeMark[];
  /** Of these, what kernels of 6.13 and 6.14 would have meant otherwise: `ignoredAlternatives`. What tells is in unsure_arms.ts. */
  readonly unsureArms?: readonly CodeMark[];
  /** Calls that stay within their function, whatever symbol is there. */
  readonly innerCalls?: readonly CodeMark[];
}

const NO_SECTION: CodeSection = { name: '', bytes: new Uint8Array(0), text: false };

export interface SymbolRow {
  readonly name: string;
  readonly section: number;
  readonly value: number;
  readonly size: number;
  readonly type: number;
  readonly bind: number;
}

/** Columns from rows; the null symbol is put before them. */
export function symbolTable(rows: readonly SymbolRow[]): SymbolTable {
  const table = new SymbolTable(rows.length + 1, (index) => rows[index - 1]?.name ?? '');
  rows.forEach(({ section, value, size, type, bind }, i) => {
    table.set(i + 1, section, value, size, type, bind);
  });
  return table;
}

const NOTHING = { reachable: [], alternatives: [], ignored: [], ignoredAlternatives: [] };

/** The kernel text of an assembled image. User text has no ORC. */
export function inputFromImage(image: AsmImage, arch: CodeArch): ObjtoolInput {
  const text = image.sections.find((s) => s.name === '.text');
  if (!text) {
    const empty = { sections: [NO_SECTION], symbols: symbolTable([]), hints: [], deadEnds: [] };
    return { ...NOTHING, arch, ...empty, noreturn: new Set() };
  }
  const end = text.addr + BigInt(text.size);
  const mark = (addr: bigint): CodeMark => ({ section: 1, offset: Number(addr - text.addr) });
  const inside = (addr: bigint): boolean => addr >= text.addr && addr < end;
  const rows = image.symbols
    .filter((s) => s.section === text.name && (s.type === 'func' || s.type === 'code'))
    .map(({ name, addr, size, global, type }) => ({
      name,
      section: 1,
      value: Number(addr - text.addr),
      size,
      type: type === 'func' ? SYM_FUNC : SYM_NOTYPE,
      bind: global ? BIND_GLOBAL : BIND_LOCAL,
    }));
  return {
    ...NOTHING,
    arch,
    sections: [NO_SECTION, { name: text.name, bytes: text.bytes, text: true }],
    symbols: symbolTable(rows),
    hints: image.hints
      .filter((h) => inside(h.addr))
      .map((h) => ({ ...mark(h.addr), kind: h.kind, base: h.base, frameOffset: h.offset })),
    noreturn: new Set(image.noreturn),
    deadEnds: image.deadEnds.filter(inside).map(mark),
  };
}
