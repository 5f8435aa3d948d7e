// Where our table and the one in an object differ, by function, and who is to blame.
//
// Invariant: a class is given only for a reason that is named. Execution is the judge where it was asked
// (`judge`); without it only what the object itself proves is classified, and the rest is open.

import type { OrcPort } from '../arch/orc.ts';
import { ORC_REG_UNDEFINED, ORC_TYPE_CALL, type OrcEntry, unpackOrcEntry } from '../elf/orc.ts';
import { comparedText, compareOrc, type OrcDifference, sectionRows } from './compare.ts';
import {
  type Code,
  IN_DEAD_END,
  IN_VISITED,
  INSN_BUG,
  INSN_CALL,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_DYNAMIC,
  INSN_NOP,
  INSN_RETURN,
  INSN_TRAP,
} from './insn.ts';
import type { OrcResult } from './orc_gen.ts';
import { OrcRowFinder, type OrcRows } from './orc_rows.ts';

export type DifferenceClass = 'ours wrong' | 'information no longer in the object' | 'theirs wrong' | 'open';

export const DIFFERENCE_CLASSES: readonly DifferenceClass[] = [
  'ours wrong',
  'information no longer in the object',
  'theirs wrong',
  'open',
];

/** An undefined entry is no answer: the unwinder says that it cannot go on. */
export type ProofVerdict = 'right' | 'wrong' | 'no answer';

/** What execution says of one place; `truth` is for people. */
interface Proof {
  /** The first instruction of the difference that execution gets to. */
  readonly offset: number;
  readonly truth: string;
  readonly ours: ProofVerdict;
  readonly theirs: ProofVerdict;
}

export const NOT_REACHED = 'does not get there';
const NO_FUNCTION = 'has no function to enter by';
const NOT_ASKED = 'was not asked';

/** Of the two tables at one place; text where there is no proof: why. */
export type Judge = (section: string, offset: number) => Proof | string;

export interface ClassifiedDifference {
  readonly section: string;
  readonly start: number;
  readonly end: number;
  /** `name+0x12`; the section's name where there is no function. */
  readonly place: string;
  readonly ours: string;
  readonly theirs: string;
  readonly class: DifferenceClass;
  readonly reason: string;
  /** By execution; text where there is none: why. */
  readonly proof: Proof | string;
}

export interface Agreement {
  readonly functions: { readonly total: number; readonly same: number };
  readonly instructions: { readonly total: number; readonly same: number };
  readonly differences: readonly ClassifiedDifference[];
  /** More of them than `differences` lists. */
  readonly omitted: number;
}

/** A table of nonsense may differ everywhere. */
const MAX_LISTED = 2000;
/** Instructions of one difference that execution is asked about. */
const MOST_TRIES = 4;

/** @param several `theirs` is one of several tables of the object, the one that the kernel reads */
export function diffOrc(result: OrcResult, theirs: OrcRows, judge?: Judge, several = false): Agreement {
  const { code, rows } = result;
  const limits = comparedText(code.input);
  const differences = compareOrc(rows, theirs, limits);
  const counts = countAgreement(code, limits, differences);
  const classify = new Classifier(result, theirs, judge, several);
  const listed = differences.slice(0, MAX_LISTED).map((difference) => classify.classify(difference));
  return { ...counts, differences: listed, omitted: differences.length - listed.length };
}

function countAgreement(
  code: Code,
  limits: ReadonlyMap<number, number>,
  differences: readonly OrcDifference[],
): Pick<Agreement, 'functions' | 'instructions'> {
  const { symbols } = code.input;
  let total = 0;
  for (const section of limits.keys()) total += code.endOf[section] - code.firstOf[section];
  const wrongFuncs = new Set<number>();
  let wrong = 0;
  for (const { section, start, end } of differences) {
    for (let at = start; at < end; at++) {
      const insn = code.at(section, at);
      if (insn === 0) continue;
      wrong++;
      if (code.func[insn] !== 0) wrongFuncs.add(code.func[insn]);
    }
  }
  const funcs = code.funcs.filter((f) => limits.has(symbols.section[f])).length;
  return {
    functions: { total: funcs, same: funcs - wrongFuncs.size },
    instructions: { total, same: total - wrong },
  };
}

class Classifier {
  readonly #code: Code;
  readonly #orc: OrcPort;
  readonly #ours: OrcRows;
  readonly #theirs: OrcRows;
  readonly #judge: Judge | undefined;
  readonly #several: boolean;
  #finder: OrcRowFinder | undefined;
  readonly #noAnswer = new Map<number, boolean>();
  #theirRows: ReadonlyMap<number, Int32Array> | undefined;

  constructor({ code, rows }: OrcResult, theirs: OrcRows, judge: Judge | undefined, several: boolean) {
    this.#several = several;
    this.#code = code;
    this.#orc = code.input.arch.orc;
    this.#ours = rows;
    this.#theirs = theirs;
    this.#judge = judge;
  }

  classify(difference: OrcDifference): ClassifiedDifference {
    const { section, start, end } = difference;
    const [ours, theirs] = [answer(this.#ours, difference.ours), answer(this.#theirs, difference.theirs)];
    const name = this.#code.input.sections[section].name;
    const found = this.#blame(difference, ours, theirs);
    const proof = this.#prove(name, difference);
    return {
      section: name,
      start,
      end,
      place: this.#place(section, start),
      ours: this.#orc.text(ours),
      theirs: this.#orc.text(theirs),
      ...(typeof proof === 'string' ? found : byProof(proof, found)),
      proof,
    };
  }

  /** At the first instruction; at a later one where execution gets only there. */
  #prove(name: string, { section, start, end }: OrcDifference): Proof | string {
    if (!this.#judge) return NOT_ASKED;
    const code = this.#code;
    let answered: Proof | string | undefined;
    let tries = MOST_TRIES;
    for (let at = start; at < end && tries > 0; at++) {
      const insn = code.at(section, at);
      if (insn === 0 || code.func[insn] === 0) continue;
      tries--;
      answered = this.#judge(name, at);
      if (answered !== NOT_REACHED) break;
    }
    return answered ?? NO_FUNCTION;
  }

  #blame(difference: OrcDifference, ours: OrcEntry, theirs: OrcEntry): Verdict {
    const code = this.#code;
    const { section, start } = difference;
    if (code.undecoded.some((u) => u.section === section && u.start <= start && start < u.end)) {
      return open('bytes that are no instruction');
    }
    const insn = insnAround(code, section, start);
    const func = code.func[insn];
    if (func !== 0 && code.entry[func]) return lost(ENTRY_CODE);
    if (code.at(section, start) !== insn) return open('inside an instruction that may be replaced');
    if (isUndefined(theirs) && func !== 0 && this.#theyAreSilentIn(func)) {
      if (this.#several) return open('no entry in the table that the kernel reads, of several');
      return lost(this.#whySilent(func));
    }
    if (!isUndefined(ours) || code.flags[insn] & IN_VISITED) return open('two answers');
    if (
      func !== 0 &&
      code.undecoded.some((u) => u.section === section && u.end === code.input.symbols.value[func])
    )
      return open('instructions lie over each other there');
    if (this.#isLostFunction(insn)) return lost(LOST_SYMBOL);
    if (func === 0) return lost('in no function: the source says with hints how the stack is there');
    const before = this.#deadEndBefore(insn);
    if (before !== 0 && code.type[before] === INSN_BUG) {
      const { bug } = code.input.arch;
      return lost(`behind an ${bug} that is in no __bug_table: the source says that execution goes on there`);
    }
    if (before !== 0 && code.type[before] === INSN_CALL) {
      return { class: 'ours wrong', reason: 'behind a call that we take for the last thing that happens' };
    }
    return { class: 'ours wrong', reason: 'we find no way to it' };
  }

  #whySilent(func: number): string {
    const { unnamed } = this.#code.input;
    return unnamed !== undefined && func >= unnamed
      ? `no entry for the whole function: ${LOST_SYMBOL}`
      : NOT_LOOKED_AT;
  }

  /** No way leads to a place, and the other table has a function, or a part of one that no jump leads to, begin there. */
  #isLostFunction(insn: number): boolean {
    const code = this.#code;
    const { func, flags, type } = code;
    const isUnreached = (i: number): boolean => (flags[i] & IN_VISITED) === 0 && func[i] === func[insn];
    let first = insn;
    while (first > 1 && code.section[first - 1] === code.section[insn] && isUnreached(first - 1)) first--;
    while (first < insn && (type[first] === INSN_NOP || type[first] === INSN_TRAP)) first++;
    if (type[first] === INSN_NOP || type[first] === INSN_TRAP) return false;
    const { symbols } = code.input;
    const isCold = func[first] !== 0 && symbols.name(func[first]).includes('.cold');
    if (isCold && code.offset[first] === symbols.value[func[first]]) return true;
    const { sp } = this.#orc;
    const { spReg, spOffset, type: kind } = this.#theirsAt(code.section[first], code.offset[first]);
    const { callFrame } = code.input.arch.registers;
    return spReg === sp && spOffset === callFrame && kind === ORC_TYPE_CALL && endsBefore(code, first);
  }

  #theirsAt(section: number, offset: number): OrcEntry {
    this.#finder ??= new OrcRowFinder(this.#theirs);
    return answer(this.#theirs, this.#finder.at(section, offset));
  }

  /** What keeps us from an instruction: the one before the unreached run that it is in, if nothing goes on there. */
  #deadEndBefore(insn: number): number {
    const code = this.#code;
    let before = insn - 1;
    while (before > 0 && !(code.flags[before] & IN_VISITED) && code.func[before] === code.func[insn])
      before--;
    return code.func[before] === code.func[insn] && code.flags[before] & IN_DEAD_END ? before : 0;
  }

  /** The object's table has nothing for a function that ours has answers for. */
  #theyAreSilentIn(func: number): boolean {
    let silent = this.#noAnswer.get(func);
    if (silent === undefined) {
      const { section, value, size } = this.#code.input.symbols;
      const [start, end] = [value[func], value[func] + size[func]];
      this.#theirRows ??= sectionRows(this.#theirs);
      silent = !hasAnswer(this.#theirs, this.#theirRows.get(section[func]) ?? NO_ROWS, start, end);
      this.#noAnswer.set(func, silent);
    }
    return silent;
  }

  #place(section: number, offset: number): string {
    const { symbols, sections } = this.#code.input;
    const func = this.#code.func[insnAround(this.#code, section, offset)];
    if (func === 0) return `${sections[section].name}+0x${offset.toString(16)}`;
    return `${symbols.name(func)}+0x${(offset - symbols.value[func]).toString(16)}`;
  }
}

interface Verdict {
  readonly class: DifferenceClass;
  readonly reason: string;
}

const LOST_SYMBOL = 'it has lost its symbol, as weak ones do that another overrides';
const NOT_LOOKED_AT = 'no entry for the whole function: the source says it is not to be looked at';
const ENTRY_CODE = 'entry code: the source says with hints how the stack is there';

const lost = (reason: string): Verdict => ({ class: 'information no longer in the object', reason });
const open = (reason: string): Verdict => ({ class: 'open', reason });

function byProof({ ours, theirs }: Proof, found: Verdict): Verdict {
  // What the source said and is gone is no fault of either table.
  if (found.reason === ENTRY_CODE || found.reason === NOT_LOOKED_AT) return found;
  if (ours === 'right' && theirs === 'wrong')
    return { class: 'theirs wrong', reason: 'execution says otherwise' };
  if (ours === 'wrong') return { class: 'ours wrong', reason: 'execution says otherwise' };
  if (found.class !== 'open') return found;
  if (theirs === 'wrong') return { class: 'theirs wrong', reason: 'execution says otherwise' };
  return open(
    ours === theirs ? `${ours} by execution, like theirs` : `${ours} by execution; theirs: ${theirs}`,
  );
}

/** Nothing goes on from before an instruction to it, but for what fills up. */
function endsBefore(code: Code, insn: number): boolean {
  const { section, type, flags } = code;
  let before = insn - 1;
  while (before > 0 && (type[before] === INSN_NOP || type[before] === INSN_TRAP)) before--;
  if (section[before] !== section[insn]) return true;
  // At once behind a call that never returns something may be wrong with what we take it for.
  if (flags[before] & IN_DEAD_END) return before < insn - 1;
  return ENDS.has(type[before]);
}

const ENDS: ReadonlySet<number> = new Set([INSN_RETURN, INSN_JUMP, INSN_JUMP_DYNAMIC, INSN_CONTEXT_SWITCH]);

/** The instruction that a place is in; 0 for none. */
function insnAround(code: Code, section: number, offset: number): number {
  for (let at = offset; at > offset - code.input.arch.longest && at >= 0; at--) {
    const insn = code.at(section, at);
    if (insn !== 0) return insn;
  }
  return 0;
}

const NO_ANSWER: OrcEntry = {
  spOffset: 0,
  fpOffset: 0,
  spReg: ORC_REG_UNDEFINED,
  fpReg: ORC_REG_UNDEFINED,
  type: 0,
  end: false,
};

const answer = (rows: OrcRows, row: number): OrcEntry => (row < 0 ? NO_ANSWER : unpackOrcEntry(rows, row));

const isUndefined = ({ spReg, end }: OrcEntry): boolean => spReg === ORC_REG_UNDEFINED && !end;

const NO_ROWS = new Int32Array(0);

/** Any defined answer for a range, by the rows of its section. */
function hasAnswer(rows: OrcRows, order: Int32Array, start: number, end: number): boolean {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rows.offset[order[middle]] <= start) low = middle + 1;
    else high = middle;
  }
  if (low > 0 && !isUndefined(answer(rows, order[low - 1]))) return true;
  for (let i = low; i < order.length && rows.offset[order[i]] < end; i++)
    if (!isUndefined(answer(rows, order[i]))) return true;
  return false;
}
