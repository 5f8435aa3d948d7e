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

/** Letter when set; when not, one has another, and the others none. */
const TAINT_LETTERS = {
  TAINT_PROPRIETARY_MODULE: 'P',
  TAINT_FORCED_MODULE: 'F',
  TAINT_CPU_OUT_OF_SPEC: 'S',
  TAINT_FORCED_RMMOD: 'R',
  TAINT_MACHINE_CHECK: 'M',
  TAINT_BAD_PAGE: 'B',
  TAINT_USER: 'U',
  TAINT_DIE: 'D',
  TAINT_OVERRIDDEN_ACPI_TABLE: 'A',
  TAINT_WARN: 'W',
  TAINT_CRAP: 'C',
  TAINT_FIRMWARE_WORKAROUND: 'I',
  TAINT_OOT_MODULE: 'O',
  TAINT_UNSIGNED_MODULE: 'E',
  TAINT_SOFTLOCKUP: 'L',
  TAINT_LIVEPATCH: 'K',
  TAINT_AUX: 'X',
  TAINT_RANDSTRUCT: 'T',
  TAINT_TEST: 'N',
} as const;

/** The flags of a kernel in the order of their bits. */
export function printTainted({ kernel, taints }: Pick<KernelCore, 'kernel' | 'taints'>): string {
  if (taints === 0) return 'Not tainted';
  const letters = Array.from({ length: kernel.constants.TAINT_FLAGS_COUNT }, () => ' ');
  for (const [name, letter] of Object.entries(TAINT_LETTERS)) {
    const bit = kernel.constants[name as keyof typeof TAINT_LETTERS];
    if (taints & (1 << bit)) letters[bit] = letter;
    else if (name === 'TAINT_PROPRIETARY_MODULE') letters[bit] = 'G';
  }
  return `Tainted: ${letters.join('')}`;
}

/** print_tainted_verbose(): `[O]=OOT_MODULE` of each that is set, in the order of their bits. */
export function taintNames({ kernel, taints }: Pick<KernelCore, 'kernel' | 'taints'>): string[] {
  return Object.entries(TAINT_LETTERS)
    .map(([name, letter]) => ({ name, letter, bit: kernel.constants[name as keyof typeof TAINT_LETTERS] }))
    .filter(({ bit }) => taints & (1 << bit))
    .sort((a, b) => a.bit - b.bit)
    .map(({ name, letter }) => `[${letter}]=${name.replace('TAINT_', '')}`);
}
