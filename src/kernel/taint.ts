// Marking the kernel tainted, and its taints as a line of an oops shows them. Mirrors add_taint(), print_tainted() and
// taint_flags[] of kernel/panic.c, and lib/debug_locks.c.
//
// Invariant: the line about lock debugging comes once, with the first taint after which lockdep could not be
// trusted, unless an oops turned lock debugging off before, which says nothing.

import type { KernelCore } from './core.ts';

/** What the kernel still believes of its locks: enum lockdep_ok. */
type LockdepOk = 'still ok' | 'now unreliable';

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

/** Letter when set, letter when not, by bit. */
const TAINT_FLAGS: readonly (readonly [string, string])[] = [
  ['P', 'G'],
  ...[...'FSRMBUDAWCIOELKXTN'].map((letter) => [letter, ' '] as const),
];

export function printTainted(taints: number): string {
  if (taints === 0) return 'Not tainted';
  const letters = TAINT_FLAGS.map(([set, clear], bit) => (taints & (1 << bit) ? set : clear));
  return `Tainted: ${letters.join('')}`;
}
