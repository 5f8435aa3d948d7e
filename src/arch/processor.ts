// One CPU's hardware: how it enters the kernel, and in which state it starts. Mirrors what an architecture's manual says
// of exceptions, and what its kernel's vectors and secondary_startup make of that.
//
// Invariant: an entry changes the context, and the guest's stack where the hardware pushes a frame, and nothing else;
// everything from the first instruction of the handler on is guest code.

import type { Addr } from '../guest/addr.ts';
import type { CpuContext, Stop } from '../guest/engine.ts';
import type { KernelSide } from './kernel_side.ts';

export interface ProcessorParts {
  readonly id: number;
  readonly context: CpuContext;
  readonly kernel: KernelSide;
  /**
   * To be told of every entry but that of a system call, once the context stands at the handler: where the struct
   * pt_regs begins that the handler is going to fill.
   */
  readonly interrupted: (regs: Addr) => void;
}

/** The timer, and the other CPU that wants this one to look at need_resched. */
export type Interrupt = 'timer' | 'reschedule';

/** What an idle task of a CPU that comes up stands on. */
export interface FirstStack {
  /** Stack pointer at the first instruction: below a struct pt_regs that nothing fills. */
  readonly sp: Addr;
  /** Where an entry from user mode starts. */
  readonly top: Addr;
  /** Another stack, for exceptions that the current one may be too small for. @returns its top */
  makeStack(): Addr;
}

export interface Processor {
  /** Whether interrupts are let in. */
  interruptsOn: boolean;
  /** The address that the last page fault was about; kept until the next one. */
  faultAddress: Addr;
  /** Puts a context of kernel mode at the kernel's entry for CPUs that come up, with interrupts off. */
  start(stack: FirstStack): void;
  /** An interrupt is taken: the caller has seen that it is let in. None are in the handler, until guest code says so. */
  interrupt(which: Interrupt): void;
  /**
   * What ended a run leads into the kernel, as an interrupt does, or, for `refused`, is done by the processor itself;
   * never for `halt`, `budget`, `breakpoint` or `watchpoint`.
   */
  enter(stop: Stop): void;
  /** A read by the kernel at the PC found nothing at `addr`: a page fault. */
  readFault(addr: Addr): void;
}
