// An emulated CPU as its registers, a part of the CPU port.

import type { Addr } from './addr.ts';

/** The state of one emulated CPU while the engine does something else. */
export interface CpuContext {
  /** Its registers as 64-bit values; the port says which is which (src/arch/context.ts). Reading is free. */
  readonly regs: BigUint64Array;
  /** The same as 32-bit halves: low half of register r at 2*r, high half at 2*r+1. */
  readonly halves: Uint32Array;
  /** Whether it executes at the privilege of user programs. */
  readonly userMode: boolean;
  /** Number of the address space that it is in, 0 for that of the kernel alone; where all is one space there is none. */
  readonly space?: number;
  /** Where the per-CPU data of the CPU begin. */
  perCpuBase: Addr;
  /** Marks registers written by the host, so that the engine loads them before it runs on. */
  touch(): void;
  /** Makes this context one of user mode or of the kernel (the hardware's part of a privilege change). */
  setUserMode(user: boolean): void;
}
