// The rows of one function in an SFrame table: struct sframe_frame_row_entry and what follows it.
//
// Invariant: rows rise and lie within their function; a row's data is used up to its last word, or it is an error.

import {
  type CfaRule,
  type FrameRegisters,
  type FrameRow,
  type FunctionFrames,
  type Rule,
  UNDEFINED,
} from './rows.ts';
import { type RelocatedSection, SectionReader, type Target } from './section_reader.ts';

export interface FunctionData {
  readonly start: Target;
  readonly size: number;
  /** Offset of the first row in the section, and how many there are. */
  readonly rowsAt: number;
  readonly count: number;
  /** Bytes of a row's start. */
  readonly startSize: number;
  /** Bytes after which the code repeats itself, 0 where it does not. */
  readonly block: number;
  /** Rows say by which register they go. */
  readonly flexible: boolean;
  readonly signal: boolean;
}

/** What all rows of a table have in the same place from the CFA; 0 for what they say themselves. */
interface Fixed {
  readonly fp: number;
  readonly returnAddress: number;
}

const BASE_SP = 1;
/** SFRAME_FRE_DATAWORD_1B, 2B, 4B. */
const WORD_SIZES = [1, 2, 4];

const CONTROL_REGISTER = 0x1;
const CONTROL_DEREF = 0x2;
const CONTROL_NUMBER_SHIFT = 3;

interface RawRow {
  readonly from: number;
  readonly info: number;
  /** The data words, and where they are. */
  readonly at: number;
  readonly wordSize: number;
  readonly words: number;
}

export class SFrameFunction implements FunctionFrames {
  readonly section: number;
  readonly start: number;
  readonly size: number;
  readonly table: string;
  readonly at: number;
  readonly #data: FunctionData;
  readonly #from: RelocatedSection;
  readonly #end: number;
  readonly #fixed: Fixed;
  readonly #registers: FrameRegisters;

  constructor(
    from: RelocatedSection,
    at: number,
    end: number,
    data: FunctionData,
    fixed: Fixed,
    registers: FrameRegisters,
  ) {
    this.section = data.start.section.index;
    this.start = data.start.offset;
    this.size = data.size;
    this.table = from.section.name;
    this.at = at;
    this.#data = data;
    this.#from = from;
    this.#end = end;
    this.#fixed = fixed;
    this.#registers = registers;
  }

  eachRow(visit: (from: number, row: () => FrameRow | undefined) => 'more' | 'enough'): void {
    const { block, size } = this.#data;
    if (block === 0) {
      this.#each(0, visit);
      return;
    }
    for (let base = 0; base < size; base += block) if (this.#each(base, visit) === 'enough') return;
  }

  #each(
    base: number,
    visit: (from: number, row: () => FrameRow | undefined) => 'more' | 'enough',
  ): 'more' | 'enough' {
    const { count, rowsAt, size, block } = this.#data;
    const reader = new SectionReader(this.#from, rowsAt, this.#end);
    const limit = block || size;
    let last = -1;
    if (base > 0 && visit(base, () => undefined) === 'enough') return 'enough';
    for (let i = 0; i < count; i++) {
      const at = reader.at;
      const raw = this.#raw(reader);
      if (raw.from <= last)
        throw reader.error(`row for +0x${raw.from.toString(16)} behind one for a later place`, at);
      // Where a function has no bytes, its one row is for its start all the same.
      if (raw.from >= limit && raw.from > 0) {
        throw reader.error(`row for +0x${raw.from.toString(16)} of a function of ${limit} bytes`, at);
      }
      last = raw.from;
      if (visit(base + raw.from, () => this.#row(raw)) === 'enough') return 'enough';
    }
    return 'more';
  }

  #raw(reader: SectionReader): RawRow {
    const from = reader.integer(this.#data.startSize, false);
    const info = reader.u8();
    const words = (info >> 1) & 0xf;
    const wordSize = WORD_SIZES[(info >> 5) & 3];
    if (wordSize === undefined) throw reader.error('row with data of an unknown size', reader.at - 1);
    return { from, info, words, wordSize, at: reader.take(words * wordSize) };
  }

  #row(raw: RawRow): FrameRow {
    const { signal, flexible } = this.#data;
    const { sp, returnAddress, fp } = this.#registers;
    if (raw.words === 0) {
      const cfa = { kind: 'register', register: sp, offset: 0, deref: false } as const;
      return { cfa, rules: new Map([[returnAddress, UNDEFINED]]), signal, returnAddress };
    }
    const words = new RowWords(this.#from, raw);
    const parts = flexible ? this.#flexible(words) : this.#plain(words, raw);
    if (words.left > 0) throw this.#from.error('row with more data than there is use for', raw.at);
    const rules = new Map<number, Rule>();
    if (parts.fp) rules.set(fp, parts.fp);
    if (parts.returnAddress) rules.set(returnAddress, parts.returnAddress);
    else throw this.#from.error('row that does not say where the return address is', raw.at);
    return { cfa: parts.cfa, rules, signal, returnAddress };
  }

  #plain(words: RowWords, { info }: RawRow): RowParts {
    const { sp, fp } = this.#registers;
    const register = (info & 1) === BASE_SP ? sp : fp;
    const cfa = { kind: 'register', register, offset: words.signed(), deref: false } as const;
    const returnAddress = this.#fixed.returnAddress || (words.left > 0 ? words.signed() : 0);
    const saved = this.#fixed.fp || (words.left > 0 ? words.signed() : 0);
    return { cfa, returnAddress: fromCfa(returnAddress), fp: fromCfa(saved) };
  }

  /** Two words each: how, and at which distance. For the return address and the frame pointer 0 alone is neither. */
  #flexible(words: RowWords): RowParts {
    const at = words.at;
    const cfa = words.rule();
    if (cfa?.kind !== 'register') throw this.#from.error('CFA of a row that is given by itself', at);
    const returnAddress = (words.left > 0 ? words.rule() : undefined) ?? fromCfa(this.#fixed.returnAddress);
    const fp = (words.left > 0 ? words.rule() : undefined) ?? fromCfa(this.#fixed.fp);
    return { cfa, returnAddress, fp };
  }
}

interface RowParts {
  readonly cfa: CfaRule;
  readonly returnAddress: Rule | undefined;
  readonly fp: Rule | undefined;
}

const fromCfa = (offset: number): Rule | undefined =>
  offset === 0 ? undefined : { kind: 'cfa', offset, deref: true };

class RowWords {
  readonly #reader: SectionReader;
  readonly #size: number;

  constructor(from: RelocatedSection, { at, words, wordSize }: RawRow) {
    this.#reader = new SectionReader(from, at, at + words * wordSize);
    this.#size = wordSize;
  }

  get left(): number {
    return (this.#reader.end - this.#reader.at) / this.#size;
  }
  get at(): number {
    return this.#reader.at;
  }
  signed(): number {
    return this.#reader.integer(this.#size, true);
  }

  /** undefined for a control word of 0, which stands alone. */
  rule(): Extract<Rule, { kind: 'register' | 'cfa' }> | undefined {
    const control = this.#reader.integer(this.#size, false);
    if (control === 0) return undefined;
    const offset = this.signed();
    const deref = (control & CONTROL_DEREF) !== 0;
    if ((control & CONTROL_REGISTER) === 0) return { kind: 'cfa', offset, deref };
    return { kind: 'register', register: control >>> CONTROL_NUMBER_SHIFT, offset, deref };
  }
}
