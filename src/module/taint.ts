// Taint flags: which a module brings, and their letters.
// Mirrors taint_flags[] of kernel/panic.c and module_flags_taint() of kernel/module/main.c.

import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';

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
const MODULE_LETTERS: readonly (readonly [number, string])[] = [
  [CONSTANTS.TAINT_PROPRIETARY_MODULE, 'P'],
  [CONSTANTS.TAINT_FORCED_MODULE, 'F'],
  [CONSTANTS.TAINT_CRAP, 'C'],
  [CONSTANTS.TAINT_OOT_MODULE, 'O'],
  [CONSTANTS.TAINT_UNSIGNED_MODULE, 'E'],
  [CONSTANTS.TAINT_LIVEPATCH, 'K'],
  [CONSTANTS.TAINT_AUX, 'X'],
  [CONSTANTS.TAINT_RANDSTRUCT, 'T'],
  [CONSTANTS.TAINT_TEST, 'N'],
];

export function taintBit(name: TaintName): number {
  return 1 << CONSTANTS[name];
}

export function testTaint(core: KernelCore, name: TaintName): boolean {
  return (core.taints & taintBit(name)) !== 0;
}

/** The letters of a module's taints, as in /proc/modules: `OEK`. */
export function moduleTaintLetters(taints: number): string {
  return MODULE_LETTERS.filter(([bit]) => taints & (1 << bit))
    .map(([, letter]) => letter)
    .join('');
}
