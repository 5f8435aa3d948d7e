// Code that a check writes around a function's own instructions, to run many of them at once.
//
// Invariant: it changes no register and no flag but those it is there to change, and no memory but what it names.

/** Where code is written: `view` of the same bytes; `address` of the first byte, below 2 GiB. */
export interface WrittenCode {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly address: number;
}

/** Where the stubs are, and the area that they load registers from and store them in: addresses below 2 GiB. */
export interface StubPlaces {
  /** Loads all registers and jumps to the address in `start`. */
  readonly stubs: number;
  /** Stores all registers and jumps to `until`. */
  readonly out: number;
  readonly until: number;
  /** Keeps all registers; the code that `keep` writes goes there. */
  readonly keep: number;
  /** Registers, 8 bytes each in the order of their numbers. */
  readonly area: number;
  readonly start: number;
  /** Two more words for keeping. */
  readonly scratch: readonly [number, number];
}

/** Each writes at an index and returns the index behind. */
export interface CodeWriter {
  /** The page of stubs. */
  stubs(places: StubPlaces, size: number): Uint8Array;
  jump(code: WrittenCode, at: number, to: number): number;
  /** Stores a register. */
  store(code: WrittenCode, at: number, register: number, to: number): number;
  /**
   * Keeps all registers from `slot` on: 8 bytes each, and behind them where to go on, which the caller has to put
   * there.
   */
  keep(code: WrittenCode, at: number, places: StubPlaces, slot: number): number;
  /** Pushes an address, sign-extended. */
  push(code: WrittenCode, at: number, value: number): number;
  /** Takes bytes off the stack, less than 128. */
  takeOff(code: WrittenCode, at: number, size: number): number;
  /** A jump to what is behind it. */
  readonly jumpOn: Readonly<Uint8Array>;
  /** Puts a value into each of some registers. */
  clobber(registers: readonly number[], value: number): Uint8Array;
  /** Makes an operand that is relative to the program counter another: `end` and `fromEnd` of its instruction. */
  redirect(code: WrittenCode, end: number, fromEnd: number, to: number): void;
}
