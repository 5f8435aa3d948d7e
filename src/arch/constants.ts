// What a reader of code asks of a port to know which constants a function hands to those that it calls, and what state it
// gives to the task that executes it.
//
// Invariant: a value is told only where every way to the place brings it: who reads calls forget() wherever ways meet.

export interface ConstantReader {
  /** Nothing is known any more: other ways lead here, too. */
  forget(): void;
  /**
   * Goes over one instruction, executed at `address` (low half).
   * @returns its length; 0 where there is none
   */
  step(bytes: Uint8Array, at: number, address: number): number;
  /** Low half of an argument, from 0, of a call that would be made now; undefined where it is no constant. */
  argument(index: number): number | undefined;
  /** What the instruction stored, where it stored a constant in the task_struct of `current`. */
  readonly stored: { readonly offset: number; readonly value: number } | undefined;
}

/** @param current low half of where the per-CPU variable is that points to the task which executes */
export type MakeConstantReader = (current: number) => ConstantReader;
