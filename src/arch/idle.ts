// The idle loop's last two instructions: interrupts are let in, and the CPU halts.

import type { Addr } from '../guest/addr.ts';
import type { GuestImage } from './kernel_side.ts';

export interface IdleLoop {
  /**
   * The instruction that halts. None is between it and the one that lets interrupts in, and a CPU that stands at it
   * takes no interrupt: it would halt with work to do.
   */
  readonly halt: Addr;
  /** Behind it: where a CPU without work stands. */
  readonly woken: Addr;
}

/** @throws Error for an image without one */
export type FindIdleLoop = (image: GuestImage) => IdleLoop;
