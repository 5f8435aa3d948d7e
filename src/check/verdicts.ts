// What a check of real code says: the truth at an instruction, the answers given there, and the verdict.
//
// Invariant: the truth comes from execution alone; no table and no unwinder has a part in it.

import type { UndecodedPlace } from '../objtool/undecoded.ts';
import type { FP_ELSEWHERE, FP_SAVED, NOTICED_BY_FP } from './frame_classes.ts';
import type { Whereabouts } from './saved_registers.ts';

/** Whose answers: by the ORC table, by frame pointers alone, or by another frame table. */
export const UNWINDERS = ['orc', 'fp', 'sframe', 'dwarf'] as const;
export type Unwinder = (typeof UNWINDERS)[number];

const VERDICTS = ['right', 'wrong, declared unreliable', 'wrong, declared reliable'] as const;
export type Verdict = (typeof VERDICTS)[number];

/**
 * How the task stands there: interrupted just now, its registers at hand; preempted by the interrupt and switched
 * out, with its registers on its stack; or asleep in the callee of a call.
 */
export type Stand = 'interrupted' | 'preempted' | 'called';

/** Offsets are from the stack pointer at the instruction; what holds the frame pointer is the value, not a place. */
export interface Truth {
  /** Where the return address lies. */
  readonly returnAddress: number;
  /** The caller's stack pointer after the return. */
  readonly prevSp: number;
  /** Where the caller's frame pointer is kept: still in the register, or at this distance; undefined where it is lost. */
  readonly prevFp: Whereabouts;
  /** The same of the other registers that a function gives back as they were. */
  readonly saved: Readonly<Record<string, Whereabouts>>;
  /** It is the first that runs on its stack: the walk is to end there. The rest says nothing then. */
  readonly hasNoCaller?: boolean;
}

/** What an unwinder made of it: undefined where it found no frame. */
export interface UnwinderAnswer {
  readonly prevSp: number | undefined;
  readonly prevFpRight: boolean;
  readonly returnAddressRight: boolean;
}

interface Place {
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
  /** How many of these execution did not get to although it might: a path before them could not be followed. */
  readonly unseen?: number;
  /** What execution runs into behind it: other functions, or the end of the section. */
  readonly falls?: readonly string[];
}

/** What of an object was not looked at: nothing is known of it. */
export interface NotLookedAt {
  /** Bytes of text that are no instruction, but for those that a symbol says are data; where they are. */
  readonly bytes: number;
  readonly places: readonly UndecodedPlace[];
  /** Instructions behind a place where a path could not be followed. */
  readonly instructions: number;
  /** Functions of which not even the first instruction could be read. */
  readonly functions: readonly string[];
  /** Functions that execution runs out of, and what it runs into. */
  readonly falls: readonly { readonly name: string; readonly into: string }[];
}

export function isAllLookedAt(parts: NotLookedAt | undefined): boolean {
  if (!parts) return true;
  const { bytes, instructions, functions, falls } = parts;
  return bytes + instructions + functions.length + falls.length === 0;
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
  readonly skippedBecause: Readonly<Record<string, number>>;
  readonly notCovered: Readonly<Record<string, number>>;
  /** Of code that was explored. */
  readonly notLookedAt?: NotLookedAt;
  readonly places: readonly WrongPlace[];
  /** More wrong places than `places` lists. */
  readonly omitted: number;
  /** What the unwinder went by, where that has versions. */
  readonly table?: string;
  /** Of registers that are given back; only of tables that say where they are. */
  readonly savedRules?: SavedRulesReport;
  /** How long it took from an interrupt's registers to the caller of the function; only where that was asked for. */
  readonly frameTime?: FrameTime;
  /** What frame pointers alone would be wrong about; only where that was asked for. */
  readonly frames?: FrameMapReport;
}

/** Registers that a function gives back, without the frame pointer, where a table says that they are. */
export interface SavedRulesReport {
  /** That the table has a row for. */
  readonly instructions: number;
  readonly right: number;
  /** Where it says, and that is below the stack pointer: an interrupt writes over it. */
  readonly below: number;
  readonly wrong: number;
  /** Of those that are not right. */
  readonly places: readonly { readonly place: string; readonly registers: readonly string[] }[];
}

export interface FrameTime {
  readonly frames: number;
  readonly ns: number;
}

/** An answer by execution at one instruction; undefined where execution does not get there. */
export interface ProofAt {
  readonly truth: Truth;
  readonly answer: UnwinderAnswer;
  readonly verdict: Verdict;
  /** The table's row in force, in words. */
  readonly entry: string;
}

/** Why frame pointers alone are wrong at an instruction. */
export type FrameClass =
  | 'before the frame is made'
  | typeof FP_SAVED
  | 'the frame is given up'
  | 'a path without a frame'
  | 'no frame in this function'
  | typeof FP_ELSEWHERE
  | 'the return address is written over'
  | 'a return address that nothing returns to'
  | 'code that is no function';

/** Instructions of one class, one behind the other. */
export interface FrameRange {
  /** Function, or cold part of one, or section of code that is in none. */
  readonly function: string;
  /** Offsets from its start; `to` is behind the last instruction. */
  readonly from: number;
  readonly to: number;
  readonly instructions: number;
  readonly why: FrameClass;
}

/** A call that is made without a frame. */
interface FrameCall {
  /** From the function's start. */
  readonly offset: number;
  /** Whether the trace is called unreliable at least, for where the frame pointer leads. */
  readonly noticed: boolean;
}

/** Of one function. */
export interface FrameReport {
  readonly name: string;
  /** Instructions that were executed. */
  readonly instructions: number;
  /** How many of them would be right if interrupted there. */
  readonly interrupted: number;
  readonly ranges: readonly FrameRange[];
  /** Calls during which the caller of this function would be missed. */
  readonly calls: readonly FrameCall[];
  /** Whether it starts with a call to ftrace. */
  readonly fentry: boolean;
}

export interface FrameMapReport {
  readonly functions: readonly FrameReport[];
  /** Code in no function. */
  readonly outside: readonly FrameRange[];
  readonly rules: readonly RuleReport[];
}

/** A rule of Documentation/livepatch/reliable-stacktrace.rst, and what in an object depends on it. */
export interface RuleReport {
  readonly section: string;
  readonly title: string;
  /** What an unwinder that has nothing but frame pointers must do about it here. */
  readonly demands: string;
  readonly classes: readonly {
    readonly why:
      | FrameClass
      | 'a call without a frame, and nothing notices'
      | typeof NOTICED_BY_FP
      | 'the call of __fentry__ before the frame';
    readonly instructions: number;
    readonly functions: number;
    readonly example: string;
  }[];
}
