// What a port has of ORC: how its kernels lay entries out, and which registers they go by.
// Mirrors asm/orc_types.h and arch/*/orc.c of tools/objtool.
//
// Invariant: tables in memory are of one form (src/elf/orc.ts), whatever the layout they were read from.

import type { OrcEntry, OrcLayout } from '../elf/orc.ts';

/** A layout, by the kernel that had it first: `6.4`. */
export type OrcFormat = string;

export interface OrcFormatRule extends OrcLayout {
  /** What .orc_header of an object has for it (scripts/orc_hash.sh); undefined where objects have no header. */
  readonly hash: string | undefined;
  /** An entry says itself whether it is an interrupt frame's; else those with registers are. */
  readonly saysSignal: boolean;
  /** Whether a kernel's objtool could have made the entry at an offset. */
  isPossible(bytes: DataView, at: number): boolean;
  /** Whether it is the one of a function's first instruction: nothing of the caller's was saved or moved yet. */
  isStart(bytes: DataView, at: number): boolean;
  /** What a hint of an object means by the number of a register, as `hintBase()` of CodeArch takes it. */
  hintName(register: number): string;
}

export interface OrcPort {
  /** By the kernel, the oldest first. */
  readonly formats: ReadonlyMap<OrcFormat, OrcFormatRule>;
  /** The one of the kernel that machines have, by which their modules' tables are read. */
  readonly own: OrcFormat;
  /** The one of a kernel by what its .orc_header has; of one without a header its own. Undefined for an unknown hash. */
  byHash(hash: string | undefined): OrcFormatRule | undefined;
  /** The one of an object without header, by the version of its kernel (601 is 6.1); undefined for one too new to know. */
  byVersion(version: number): OrcFormat | undefined;
  /** Numbers in rows of the stack pointer and of the frame pointer. */
  readonly sp: number;
  readonly fp: number;
  /** Numbers for where the caller's stack pointer, and the caller's frame pointer, are based; undefined: ORC has none. */
  spBase(base: number): number | undefined;
  fpBase(base: number): number | undefined;
  /** What objtool's warnings call the frame pointer. */
  readonly fpTitle: string;
  /** An entry as `objtool --dump=orc` prints it. */
  text(entry: OrcEntry): string;
}
