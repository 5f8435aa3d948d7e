// What a port supplies: everything that klpemu knows of an instruction set and of how a kernel uses it. Types only;
// docs/porting.md says what each member must guarantee. Mirrors the seam between kernel/ and arch/, and objtool's arch.h.
//
// Invariant: outside of a port's own folder nothing names a register, an opcode, an offset in pt_regs or a constant
// of the architecture; whatever is needed of them is asked of the Arch that the machine's core holds.

import type { ContextRegisters } from './context.ts';
import type { MakeEngine } from './engine.ts';
import type { FentrySite } from './fentry.ts';
import type { Poking } from './poking.ts';
import type { PtRegsLayout } from './pt_regs.ts';
import type { TrampolineCode } from './trampoline.ts';

/** One port. Members are grouped by who asks for them, in the order in which a porter needs them. */
export interface Arch {
  /** As uname -m prints it. */
  readonly name: string;

  /** What executes. */
  readonly makeEngine: MakeEngine;
  readonly context: ContextRegisters;

  /** What is saved of an interrupted task. */
  readonly ptRegs: PtRegsLayout;

  /** The place at a function's start that becomes a call. */
  readonly fentry: FentrySite;
  /** What that call leads to. */
  readonly trampoline: TrampolineCode;
  /** How live text is changed. */
  readonly poking: Poking;
}
