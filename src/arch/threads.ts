// What a task is made of besides its task_struct: the registers at the top of its kernel stack, and the frame that is
// switched to when it first runs. Mirrors copy_thread(), start_thread() and __switch_to_asm of an architecture.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';

/** How a new task starts. */
interface ThreadEntry {
  /** Where the frame that is switched to returns: ret_from_fork. */
  readonly returnTo: Addr;
  /** The function of a kernel thread and its argument; 0 for a user task, which goes to its registers. */
  readonly fn: Addr;
  readonly arg: Addr;
  /** Whether frames are chained, so that this one has to say that registers come after it. */
  readonly framePointers: boolean;
}

export interface Threads {
  /**
   * Lays the frame that is switched to below the registers: when it has returned, the stack pointer is at `regs`.
   * @param regs where they begin @returns thread.sp
   */
  firstFrame(mem: GuestMemory, regs: Addr, entry: ThreadEntry): Addr;
  /** Where its return address lies in it, and in that of any task that was switched away from; bytes from thread.sp. */
  readonly firstReturn: number;
  /** start_thread(): the registers with which a new program starts, in user mode, interrupts let in; they are 0. */
  startUser(mem: GuestMemory, regs: Addr, entry: Addr, sp: Addr): void;
  /** The registers of a child, a copy of its parent's, in which fork() returns 0. @param sp 0: it stays as it is */
  forked(mem: GuestMemory, regs: Addr, sp: Addr): void;
  /** The user stack of a child is a copy elsewhere: the stack pointer moves with it, and what else is known to point there. */
  moveUserStack(mem: GuestMemory, regs: Addr, from: Addr, size: number, to: Addr): void;
}
