// What the assembler's front end asks of a port: registers, instructions, unwind hints and padding. Lines, macros,
// expressions, symbols, sections and layout are the front end's.
//
// Invariant: the length of an instruction does not depend on an address, but for branches that have a short form.

import type { Place } from './error.ts';
import type { Lookup } from './expr.ts';
import type { Hint } from './hint.ts';
import type { BranchItem, BytesItem } from './program.ts';

export interface AsmPort {
  /** A name that is no symbol. */
  isRegister(name: string): boolean;
  /** Instructions by names of the kernel's macros, which stand for exactly these bytes. */
  readonly bytes: Readonly<Record<string, readonly number[]>>;
  /** The instruction at an fentry site. */
  readonly fentryCall: string;
  isCall(text: string): boolean;
  /** Directives of GNU as that say what is always so here. */
  readonly ignored: ReadonlySet<string>;
  /** Between functions: a byte that traps. */
  readonly codeFill: number;
  /** In functions: padding that may be executed. */
  fillNops(gap: Uint8Array): void;
  isHint(word: string): boolean;
  /** @throws AsmError for arguments that the hint does not take. */
  readHint(place: Place, word: string, operands: string, number: (text: string) => bigint): Hint;
  /** @throws AsmError for what is no instruction. */
  readInstruction(place: Place, text: string, lookup: Lookup): BytesItem | BranchItem;
}
