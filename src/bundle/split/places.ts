// Where an uber module refers to something: every relocation of its sections with the place that it means, those of
// livepatch (`.klp.rela.OBJECT.SECTION`) with their object; and branches that the assembler has resolved, by decoding.
//
// Invariant: no two relocations of a section lie over each other, and each says what its section says.

import type { CodeArch } from '../../arch/code.ts';
import {
  INSN_CALL,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_NOP,
  INSN_OTHER,
  INSN_TRAP,
} from '../../arch/code.ts';
import { SHF_RELA_LIVEPATCH, SHN_LIVEPATCH, SHT_NOBITS, STT_FUNC, STT_SECTION } from '../../elf/constants.ts';
import type { ElfObject, ElfRelocation, ElfSection } from '../../elf/elf_object.ts';
import { fateOf, isCode } from './sections.ts';

/** What livepatch resolves. */
interface LateSymbol {
  readonly object: string;
  readonly name: string;
}

export interface Place extends ElfRelocation {
  readonly section: ElfSection;
  /** Bytes that are written. */
  readonly width: number;
  /** The section, by its index, and the offset in it that is meant; of a symbol that the module has. */
  readonly to: { readonly section: number; readonly offset: number } | undefined;
  /** Where the instruction begins that has it; -1 in data. */
  readonly insn: number;
  /** A register is added to it: it may lie before what is meant. */
  readonly indexed: boolean;
  readonly late: LateSymbol | undefined;
}

export interface Branch {
  readonly section: ElfSection;
  /** Of its displacement. */
  readonly offset: number;
  readonly width: number;
  /** Offset in the same section. */
  readonly target: number;
}

/** Code of one section. */
interface Code {
  readonly branches: readonly Branch[];
  /** Offsets where instructions begin, and the section's end. */
  readonly starts: Int32Array;
  /** At an offset where an instruction ends: whether execution goes on there. */
  flowsTo(offset: number, from: number): boolean;
}

export class Places {
  readonly elf: ElfObject;
  readonly isMember: boolean;
  readonly #arch: CodeArch;
  readonly #bySection = new Map<number, readonly Place[]>();
  readonly #code = new Map<number, Code>();

  /**
   * @param isMember its object is there when it is relocated: any relocation may be to a symbol that livepatch resolves
   * @throws ElfError
   */
  constructor(elf: ElfObject, arch: CodeArch, isMember = false) {
    this.elf = elf;
    this.#arch = arch;
    this.isMember = isMember;
    const tables = new Map<number, ElfSection[]>();
    for (const rela of elf.relaSections) tables.set(rela.info, [...(tables.get(rela.info) ?? []), rela]);
    for (const section of elf.sections) {
      const fate = fateOf(section);
      if (fate === 'dropped' || fate === 'made') continue;
      const rows = (tables.get(section.index) ?? []).flatMap((rela) => this.#rowsOf(rela, section));
      if (rows.length > 0 && !hasBytes(section))
        throw elf.error('relocations of what the file has no bytes of', section.name);
      rows.sort((a, b) => a.row.offset - b.row.offset);
      this.#checkOverlap(section, rows);
      if (isCode(section)) this.#code.set(section.index, this.#decode(section, rows));
      this.#bySection.set(section.index, this.#placesOf(section, rows));
    }
  }

  /** Sorted by offset. */
  of(section: ElfSection): readonly Place[] {
    return this.#bySection.get(section.index) ?? [];
  }

  code(section: ElfSection): Code | undefined {
    return this.#code.get(section.index);
  }

  #rowsOf(rela: ElfSection, section: ElfSection): Row[] {
    const livepatch = (rela.flags & SHF_RELA_LIVEPATCH) !== 0;
    const owner = livepatch ? this.#ownerOf(rela, section) : undefined;
    // Of no width is one that does nothing: klp-build leaves them where it has made livepatch relocations of others.
    const rows = this.elf.relocationTable(rela.index).filter(({ type }) => this.#widthOf(type) !== 0);
    return rows.map((row) => {
      const late = row.symbol.shndx === SHN_LIVEPATCH ? this.#lateSymbol(rela, row) : undefined;
      if (livepatch && !late)
        throw this.elf.error(
          `symbol '${this.elf.symbolLabel(row.symbol)}' is not marked as a livepatch symbol`,
          rela.name,
          row.offset,
        );
      if (late && owner === undefined && !this.isMember)
        throw this.elf.error(
          `symbol '${row.symbol.name}' is livepatch's, and the section is not`,
          rela.name,
          row.offset,
        );
      if (late && owner !== undefined && late.object !== owner && [late.object, owner].includes('vmlinux'))
        throw this.elf.error(
          `'${late.name}' of ${late.object} is relocated with what belongs to ${owner}`,
          rela.name,
          row.offset,
        );
      const width = this.#widthOf(row.type);
      if (width === undefined)
        throw this.elf.error(`relocation of the unknown type ${row.type}`, rela.name, row.offset);
      return { row, late, width };
    });
  }

  /** Bytes that a relocation of that type writes; undefined for an unknown one. */
  #widthOf(type: number): number | undefined {
    return this.elf.machine.relocations.get(type)?.width;
  }

  /** The object in a name `.klp.rela.OBJECT.SECTION`, whose section has to be the one that is relocated. */
  #ownerOf(rela: ElfSection, section: ElfSection): string {
    const [, owner, about] = /^\.klp\.rela\.([^.]{1,55})\.(.*)$/s.exec(rela.name) ?? [];
    if (owner === undefined) throw this.elf.error('it has an incorrectly formatted name', rela.name);
    if (about !== section.name)
      throw this.elf.error(`its name says ${about}, and it relocates ${section.name}`, rela.name);
    return owner;
  }

  #lateSymbol(rela: ElfSection, { symbol, offset }: ElfRelocation): LateSymbol {
    const [, object, name] = /^\.klp\.sym\.([^.]{1,55})\.([^,]{1,511}),\d+$/.exec(symbol.name) ?? [];
    if (object === undefined)
      throw this.elf.error(`symbol ${symbol.name} has an incorrectly formatted name`, rela.name, offset);
    return { object, name };
  }

  #checkOverlap(section: ElfSection, rows: readonly Row[]): void {
    let last: Row | undefined;
    for (const one of rows) {
      if (one.width === 0) continue;
      if (last && one.row.offset < last.row.offset + last.width) {
        const names = [last, one].map(({ row }) => this.elf.symbolLabel(row.symbol)).join("' and '");
        throw this.elf.error(`relocations contradict each other: '${names}'`, section.name, one.row.offset);
      }
      last = one;
    }
  }

  #placesOf(section: ElfSection, rows: readonly Row[]): Place[] {
    const code = this.#code.get(section.index);
    const bytes = this.elf.data(section);
    return rows.map(({ row, late, width }): Place => {
      const { symbol, type } = row;
      const insn = code && insnAt(code.starts, row.offset);
      if (insn && row.offset + width > insn.end)
        throw this.elf.error('a relocation lies across instructions', section.name, row.offset);
      const relative = this.elf.machine.relocations.get(type)?.pcRelative === true;
      const bias = insn && relative ? insn.end - row.offset : 0;
      const offset = Number(symbol.value + row.addend) + bias;
      const to = symbol.section && late === undefined ? { section: symbol.section.index, offset } : undefined;
      const indexed = !!insn && !relative && this.#arch.addsRegister(bytes, insn.start, row.offset);
      return { ...row, section, width, to, insn: insn?.start ?? -1, indexed, late };
    });
  }

  /** Instructions from each function's start on; what is between them is padding. */
  #decode(section: ElfSection, rows: readonly Row[]): Code {
    const { elf } = this;
    const bytes = elf.data(section);
    const relocated = new Set(rows.filter(({ width }) => width > 0).map(({ row }) => row.offset));
    const anchors = functionStarts(elf, section);
    const decoder = this.#arch.decoder();
    const starts: number[] = [];
    const types = new Map<number, number>();
    const branches: Branch[] = [];
    let next = 0;
    for (let at = 0; at < bytes.length; ) {
      while (anchors[next] <= at) next++;
      starts.push(at);
      decoder.decode(bytes, at);
      if (decoder.length === 0) throw elf.error('no instruction can be decoded', section.name, at);
      const { type, target } = decoder;
      const end = at + decoder.length;
      if (end > anchors[next]) {
        throw elf.error('an instruction reaches into the next function', section.name, at);
      }
      types.set(end, type);
      if (type === INSN_CALL || type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL) {
        const width = this.#arch.branchBytes(bytes, at);
        const offset = end - width;
        if (!relocated.has(offset)) {
          const to = target | 0;
          if (to < 0 || to >= bytes.length)
            throw elf.error('a branch leads out of its section', section.name, at);
          branches.push({ section, offset, width, target: to });
        }
      }
      at = end;
    }
    return {
      branches,
      starts: Int32Array.from([...starts, bytes.length]),
      flowsTo: flow(types, [...starts.slice(1), bytes.length]),
    };
  }
}

interface Row {
  readonly row: ElfRelocation;
  readonly late: LateSymbol | undefined;
  readonly width: number;
}

/** Sorted, and infinity behind them. */
function functionStarts(elf: ElfObject, section: ElfSection): number[] {
  const starts = elf.symbols
    .filter((s) => s.section === section && s.type === STT_FUNC)
    .map((s) => Number(s.value));
  return [...starts.sort((a, b) => a - b), Number.POSITIVE_INFINITY];
}

/** Execution goes on behind what is no branch, and behind one that may not be taken; padding is passed over, but for one that begins with a trap. */
function flow(types: ReadonlyMap<number, number>, ends: readonly number[]): Code['flowsTo'] {
  return (offset, from) => {
    let type: number | undefined;
    for (let i = lowerBound(ends, offset); i >= 0 && ends[i] > from; i--) {
      type = types.get(ends[i]);
      if (type !== INSN_NOP && type !== INSN_TRAP)
        return type === INSN_OTHER || type === INSN_JUMP_CONDITIONAL;
    }
    return type === INSN_NOP;
  };
}

function lowerBound(sorted: ArrayLike<number>, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (sorted[mid] < value) low = mid + 1;
    else high = mid;
  }
  return low;
}

function insnAt(starts: Int32Array, offset: number): { start: number; end: number } {
  const i = lowerBound(starts, offset + 1);
  return { start: starts[i - 1], end: starts[i] };
}

/** Whether a relocation is against a section, and so means a place in it. */
export const bySection = ({ symbol }: ElfRelocation): boolean => symbol.type === STT_SECTION;
export const hasBytes = ({ type }: ElfSection): boolean => type !== SHT_NOBITS;
