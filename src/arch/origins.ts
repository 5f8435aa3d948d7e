// What a reader of code asks of a port to know where a pointer came from that an instruction went by.
//
// Invariant: an origin is told only where every way through the function that is seen brings the same one.

/** An object is told by the low half of the address that was read; of a per-CPU one, by its offset. */
export type Origin =
  | { readonly kind: 'object'; readonly address: number; readonly isPerCpu: boolean }
  | { readonly kind: 'argument'; readonly index: number };

/** A function as it lies in memory. */
export interface FunctionText {
  readonly bytes: Uint8Array;
  /** Low half of its first byte. */
  readonly start: number;
}

export interface OriginReader {
  /** Of the pointer by which the instruction at an address goes to memory. */
  addressed(func: FunctionText, at: number): Origin | undefined;
  /** Of an argument of the call that returns to an address. */
  argument(func: FunctionText, returnsTo: number, index: number): Origin | undefined;
  /** Of the function pointer of the call that returns to an address. */
  callee(func: FunctionText, returnsTo: number): Origin | undefined;
}
