// Marking the kernel tainted. Mirrors add_taint() of kernel/panic.c and lib/debug_locks.c.
//
// Invariant: the line about lock debugging comes once, with the first taint after which lockdep could not be
// trusted, unless an oops turned lock debugging off before, which says nothing.

import type { KernelCore } from './core.ts';

/** What the kernel still believes of its locks: enum lockdep_ok. */
export type LockdepOk = 'still ok' | 'now unreliable';

/** @param flag a TAINT_ constant, the number of the bit. */
export function addTaint(core: KernelCore, flag: number, lockdep: LockdepOk): void {
  if (lockdep === 'now unreliable' && debugLocksOff(core)) {
    core.printk.warn('Disabling lock debugging due to kernel taint');
  }
  core.taints |= 1 << flag;
}

/** debug_locks_off(): whether lock debugging was on until now. */
export function debugLocksOff(core: KernelCore): boolean {
  const was = core.debugLocks !== false;
  core.debugLocks = false;
  return was;
}
