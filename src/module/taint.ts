// Taint flags: which a module brings, and their letters.
// Mirrors taint_flags[] of kernel/panic.c and module_flags_taint() of kernel/module/main.c.

import type { KernelCore } from '../kernel/core.ts';
import type { KernelDescription } from '../kernel/description.ts';

export type TaintName =
  | 'TAINT_PROPRIETARY_MODULE'
  | 'TAINT_FORCED_MODULE'
  | 'TAINT_FORCED_RMMOD'
  | 'TAINT_CRAP'
  | 'TAINT_OOT_MODULE'
  | 'TAINT_UNSIGNED_MODULE'
  | 'TAINT_LIVEPATCH'
  | 'TAINT_TEST';

/** Letters of the flags that a module can carry, in bit order. */
const MODULE_LETTERS = [
  ['TAINT_PROPRIETARY_MODULE', 'P'],
  ['TAINT_FORCED_MODULE', 'F'],
  ['TAINT_CRAP', 'C'],
  ['TAINT_OOT_MODULE', 'O'],
  ['TAINT_UNSIGNED_MODULE', 'E'],
  ['TAINT_LIVEPATCH', 'K'],
  ['TAINT_AUX', 'X'],
  ['TAINT_RANDSTRUCT', 'T'],
  ['TAINT_TEST', 'N'],
] as const;

export function taintBit({ constants }: KernelDescription, name: TaintName): number {
  return 1 << constants[name];
}

export function testTaint(core: KernelCore, name: TaintName): boolean {
  return (core.taints & taintBit(core.kernel, name)) !== 0;
}

/** The letters of a module's taints, as in /proc/modules: `OEK`. */
export function moduleTaintLetters({ constants }: KernelDescription, taints: number): string {
  return MODULE_LETTERS.filter(([name]) => taints & (1 << constants[name]))
    .map(([, letter]) => letter)
    .join('');
}
