// What a check of real code says: the truth at an instruction, the answers given there, and the verdict.
//
// Invariant: the truth comes from execution alone; no table and no unwinder has a part in it.

export type Unwinder = 'orc' | 'fp';

export const VERDICTS = ['right', 'wrong, declared unreliable', 'wrong, declared reliable'] as const;
export type Verdict = (typeof VERDICTS)[number];

/** How the task stands there: interrupted with its registers saved, or in the callee of a call. */
export type Stand = 'interrupted' | 'called';

/** Offsets are from the stack pointer at the instruction; what holds rbp is the value, not a place. */
export interface Truth {
  /** Where the return address lies. */
  readonly returnAddress: number;
  /** The caller's stack pointer after the return. */
  readonly prevSp: number;
  /** Where the caller's rbp is kept: still in the register, or at this distance; undefined where it is lost. */
  readonly prevBp: 'register' | number | undefined;
}

/** What an unwinder made of it: undefined where it found no frame. */
export interface UnwinderAnswer {
  readonly prevSp: number | undefined;
  readonly prevBpRight: boolean;
  readonly returnAddressRight: boolean;
}

export interface Place {
  readonly section: string;
  readonly offset: number;
  /** `function+0x12` */
  readonly place: string;
}

export interface WrongPlace extends Place {
  readonly stand: Stand;
  readonly verdict: Verdict;
  readonly disassembly: string;
  readonly entry: string;
  readonly truth: Truth;
  readonly answer: UnwinderAnswer;
}

export interface FunctionReport {
  readonly name: string;
  readonly instructions: number;
  readonly reached: number;
  readonly right: number;
  readonly unreliable: number;
  readonly wrong: number;
  /** Instructions not reached, by reason. */
  readonly notCovered?: Readonly<Record<string, number>>;
}

export interface ObjectCheck {
  readonly functions: readonly FunctionReport[];
  readonly instructions: number;
  readonly reached: number;
  readonly right: number;
  readonly unreliable: number;
  readonly wrong: number;
  /** Instructions that were stepped over instead of executed (privileged, vector, no memory there). */
  readonly skipped: number;
  readonly notCovered: Readonly<Record<string, number>>;
  readonly places: readonly WrongPlace[];
  /** More wrong places than `places` lists. */
  readonly omitted: number;
}

/** An answer by execution at one instruction; undefined where execution does not get there. */
export interface ProofAt {
  readonly truth: Truth;
  readonly answer: UnwinderAnswer;
  readonly verdict: Verdict;
  /** The table's row in force, in words. */
  readonly entry: string;
}
