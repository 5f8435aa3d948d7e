// What klpdemo_warn_trap makes a machine say.

import { expect } from 'vitest';
import type { Machine } from '../../src/machine/machine.ts';

/** The lines of the log, without their times, from where the module is loaded on. */
export function warningOf(machine: Machine, module: Uint8Array, how: string): string[] {
  machine.addFile('/klpdemo_warn_trap.ko', module);
  const before = machine.dmesg().length;
  const task = machine.insmod('/klpdemo_warn_trap.ko', `how=${how}`);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 20e9);
  const lines = machine
    .dmesg()
    .slice(before)
    .map((line) => line.replace(/^\[ *[\d.]+\] /, ''));
  expect([machine.exitStatus(task), lines]).toEqual([0, lines]);
  return lines;
}
