// Per-CPU variables of modules: where they are, what they begin with, who counts into them, what goes with the module.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { MODULES } from './observed.ts';

const SECOND = 1e9;
const ENOMEM = 12;
const ko = () => new Uint8Array(readFileSync(join(MODULES, 'klpdemo_tallies.ko')));

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.boot({ cpus: 3 });
});
afterEach(() => machine.close());

function wait(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  return machine.exitStatus(task);
}

function load(bytes: Uint8Array = ko()): number | undefined {
  machine.addFile('/module.ko', bytes);
  const status = wait(machine.insmod('/module.ko'));
  machine.runFor(20e6);
  return status;
}

function read(path: string): string[] {
  const task = machine.spawn('cat', [path]);
  wait(task);
  return machine.stdout(task).trimEnd().split('\n');
}

const COUNTED = [0, 1, 2].map((cpu) => `cpu ${cpu}: rounds 101 on ${cpu} alone 10 shared ${41 + cpu}`);
const owners = () => machine.inspect.modulePercpu.owners();
const OWNER = 'per-CPU data of klpdemo_tallies';

/** The module with another header of its per-CPU section. */
function withSection(field: 'size' | 'align', value: bigint): Uint8Array {
  const bytes = ko();
  const view = new DataView(bytes.buffer);
  const section = parseElf(bytes, 'module', X86_64.elf).sections.find((s) => s.name === '.data..percpu');
  const header = Number(view.getBigUint64(40, true)) + 64 * (section?.index ?? 0);
  view.setBigUint64(header + { size: 32, align: 48 }[field], value, true);
  return bytes;
}

describe('per-CPU variables of a module', () => {
  it('have a copy for each CPU, begin with their initial values, and are counted by the CPU itself', () => {
    expect(load()).toBe(0);
    expect(read('/proc/klpdemo_tallies')).toEqual(COUNTED);
    expect(owners()).toEqual([OWNER]);
  });

  it('are one offset in every area, which kallsyms shows as an absolute symbol and the export gives', () => {
    load();
    const { core } = machine.inspect;
    const offset = core.symbols.findExport('klpdemo_shared')?.addr ?? 0n;
    expect(core.percpu.base.map((area) => core.mem.readU64(area + offset))).toEqual([41n, 42n, 43n]);
    const alone = core.symbols.matches('klpdemo_alone', 'klpdemo_tallies')[0]?.addr ?? 1n;
    expect(Number(alone) % 64).toBe(0);
    expect(core.percpu.base.map((area) => core.mem.readU64(area + alone))).toEqual([10n, 10n, 10n]);
    const shown = read('/proc/kallsyms').filter((line) => / klpdemo_(shared|alone)\t/.test(line));
    expect(shown.map((line) => line.split(/\s+/))).toEqual(
      expect.arrayContaining([
        [offset.toString(16).padStart(16, '0'), 'a', 'klpdemo_shared', '[klpdemo_tallies]'],
        [alone.toString(16).padStart(16, '0'), 'a', 'klpdemo_alone', '[klpdemo_tallies]'],
      ]),
    );
  });

  it('go with the module, and begin anew with the next one', () => {
    load();
    expect(wait(machine.rmmod('klpdemo_tallies'))).toBe(0);
    expect(owners()).toEqual([]);
    expect(load()).toBe(0);
    expect(read('/proc/klpdemo_tallies')).toEqual(COUNTED);
  });

  it('are taken back when memory for what comes after them is missing', () => {
    const arm = (of: string) => machine.inspect.core.faults.arm({ point: 'kmalloc', of });
    arm('arguments of klpdemo_tallies');
    expect(load()).toBe(ENOMEM);
    expect(owners()).toEqual([]);
    expect(load()).toBe(0);
  });

  it('that cannot be had fail the load with ENOMEM, and leave the heap as it was', () => {
    const heap = () => machine.inspect.core.slab.live().map(({ size, owner }) => `${size} ${owner}`);
    load(withSection('size', 8193n));
    const before = heap();
    machine.inspect.core.faults.arm({ point: 'kmalloc', of: OWNER });
    expect(load()).toBe(ENOMEM);
    expect(load(withSection('size', 8193n))).toBe(ENOMEM);
    const lines = machine.dmesg().filter((line) => line.includes('Could not allocate'));
    expect(lines.map((line) => line.replace(/^\[.*?\] /, ''))).toEqual([
      'klpdemo_tallies: Could not allocate 8193 bytes percpu data',
      'klpdemo_tallies: Could not allocate 96 bytes percpu data',
      'klpdemo_tallies: Could not allocate 8193 bytes percpu data',
    ]);
    expect(heap()).toEqual(before);
    expect(owners()).toEqual([]);
  });

  it('that ask for more than a page of alignment get a page and a line in the log', () => {
    expect(load(withSection('align', 8192n))).toBe(0);
    expect(machine.dmesg().join('\n')).toContain('klpdemo_tallies: per-cpu alignment 8192 > 4096');
    const offset = machine.inspect.core.symbols.matches('klpdemo_shared', 'klpdemo_tallies')[0]?.addr ?? 1n;
    expect(read('/proc/klpdemo_tallies')).toEqual(COUNTED);
    expect(owners()).toHaveLength(1);
    expect(Number(offset) >> 12).toBe(1);
  });
});
