// Thousands of modules, and a thousand livepatches on one function: they load, and the last costs the guest what an
// early one did.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { MODULES } from './observed.ts';

let machine: Machine;
afterEach(() => machine?.close());

/** The module under another name of the same length: six digits in place of its last letters. */
function renamed(base: string, number: number): { name: string; bytes: Buffer } {
  const name = base.slice(0, -6) + String(number).padStart(6, '0');
  const bytes = readFileSync(join(MODULES, `${base}.ko`));
  for (let at = bytes.indexOf(base); at >= 0; at = bytes.indexOf(base, at)) bytes.write(name, at, 'latin1');
  return { name, bytes };
}

/** Loads it and waits until it is in force. @returns instructions that the guest executed */
function load(base: string, number: number): number {
  const before = machine.inspect.executor.instructions;
  const { name, bytes } = renamed(base, number);
  machine.addFile('/module.ko', bytes);
  const task = machine.insmod('/module.ko');
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 60e9);
  expect(machine.exitStatus(task), name).toBe(0);
  if (base.includes('patch')) {
    const inForce = () => machine.readText(`/sys/kernel/livepatch/${name}/transition`) === '0\n';
    expect(machine.runUntil(inForce, 60e9), name).toBe(true);
  }
  return machine.inspect.executor.instructions - before;
}

describe.each([
  ['modules', 'klpbundle_core', 5000],
  ['livepatches stacked on one function', 'klpdemo_patch_vmlinux', 1000],
])('%s', (_what, base, count) => {
  it('are loaded by the thousand, at the same cost in the guest', async () => {
    machine = await Machine.boot({ cpus: 1 });
    const work = Array.from({ length: count }, (_, i) => load(base, i));
    const tenth = count / 10;
    const sum = (part: readonly number[]) => part.reduce((a, b) => a + b, 0);
    expect(sum(work.slice(-tenth))).toBeLessThan(1.1 * sum(work.slice(tenth, 2 * tenth)));
    expect(machine.inspect.modules.loader.modules.visible).toHaveLength(count);
    const top = machine.inspect.livepatch.patches();
    expect(top).toHaveLength(base.includes('patch') ? count : 0);
  });
});
