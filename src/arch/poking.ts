// How live text is changed under the eyes of other CPUs. Mirrors text_poke_bp_batch() of
// arch/x86/kernel/alternative.c, and what aarch64_insn_patch_text_nosync() may do in one store.
//
// Invariant: what a CPU can fetch between two steps is the old instruction, the new one, or the breakpoint; never a
// mixture of their bytes.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';

/** What was done for a CPU that came to a site in between. */
interface Carried {
  /** For the trace: the instruction that was emulated. */
  readonly text: string;
  /** What it called, if it was a call. */
  readonly callee?: Addr;
}

/** Does what a new instruction would have done, to a CPU that ran into the breakpoint in its place. */
export type CarryOver = (mem: GuestMemory, regs: Addr) => Carried;

export interface Breakpoint {
  /** Stands at a site from the first step to the last; not longer than any instruction that is poked. */
  readonly insn: Readonly<Uint8Array>;
  /** The site of a breakpoint whose trap left this pc in pt_regs. */
  site(pc: Addr): Addr;
  /**
   * How CPUs are carried over a site that is to hold `insn`. It changes pt_regs, and the stack above it, exactly as
   * `insn` would have; called before the first step, so that what cannot be emulated is never begun.
   * @throws RangeError for such an instruction
   */
  carryOver(site: Addr, insn: Uint8Array): CarryOver;
}

export interface Poking {
  /** Undefined where the hardware takes an instruction of any size that is poked in one store. */
  readonly breakpoint: Breakpoint | undefined;
}
