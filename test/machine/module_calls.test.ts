// What ordinary modules call of the kernel, against what the real one returned and printed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { comparable, MODULES, readObserved, withoutTime } from './observed.ts';

const SECOND = 1e9;
const observed = readObserved('observed-edges-6.1.txt');

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.boot();
  machine.addFile('/calls.ko', readFileSync(join(MODULES, 'klpdemo_calls.ko')));
});
afterEach(() => machine.close());

function wait(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  return machine.exitStatus(task);
}
const insmod = (params: string) => wait(machine.insmod('/calls.ko', params));
const run = (program: string, ...args: string[]) => wait(machine.spawn(program, args));
const OWN = /^klpdemo_calls: |^-34'|^usercopy: /;
const own = (lines: readonly string[]): string[] =>
  lines.filter((line) => OWN.test(line) && !/taint/.test(line));
const dmesg = (): string[] => machine.dmesg().map(withoutTime);
const real = (step: string): string[] => own(observed.get(step)?.log ?? []);

describe('sscanf()', () => {
  it('finds, stores and counts what the kernel does, of every format', () => {
    expect(insmod('run=scan')).toBe(0);
    expect(real('scan').length).toBeGreaterThan(80);
    expect(own(dmesg())).toEqual(real('scan'));
  });
});

describe('copy_from_kernel_nofault()', () => {
  it('copies what is there, and has an errno for the rest', () => {
    expect(insmod('run=peek')).toBe(0);
    // A copy that faults leaves what the CPU's register held.
    const untilFault = (lines: string[]) => lines.map((line) => line.replace(/(: -14) .*/, '$1'));
    expect(untilFault(own(dmesg()))).toEqual(untilFault(real('peek')));
  });
});

describe('kobject_create_and_add()', () => {
  it('makes directories below a kobject, with files that the module shows, until kobject_put()', () => {
    expect(insmod('run=kobject')).toBe(0);
    expect(own(dmesg())).toEqual(real('kobjects'));
    const dir = '/sys/kernel/klpdemo_calls';
    expect(machine.inspect.fs.list('/sys/kernel/klpdemo_calls')).toEqual(['a!slash', 'word']);
    expect(machine.inspect.fs.stat(`${dir}/word`)).toMatchObject({ kind: 'file', mode: 0o444, size: 4096 });
    const reader = machine.spawn('cat', [`${dir}/word`]);
    expect(wait(reader)).toBe(0);
    expect(machine.stdout(reader)).toBe('word of klpdemo_calls\n');
    expect(run('rmmod', 'klpdemo_calls')).toBe(0);
    expect(machine.inspect.fs.stat(dir)).toBeUndefined();
  });

  it('fails for a name that is taken, and one that is empty, in the words of the kernel', () => {
    expect(insmod('run=twice')).toBe(0);
    const words = (lines: readonly string[]): string[] =>
      comparable(lines).filter((line) => /^(sysfs|kobject|klpdemo_calls|WARNING)/.test(line));
    const at = (line: string): string => line.replace(/\+0x\w+\/0x\w+$/, '');
    const step = observed.get('kobjects without a name of their own')?.log ?? [];
    expect(words(dmesg()).slice(-8).map(at)).toEqual(words(step).map(at));
    const frames = (lines: readonly string[]): string[] =>
      comparable(lines).filter((line) => /^ \w/.test(line) && !line.includes(']'));
    expect(frames(dmesg())).toEqual(frames(step));
    expect(run('rmmod', 'klpdemo_calls')).toBe(0);
  });
});

describe('__task_pid_nr_ns()', () => {
  it('knows the task and its thread group', () => {
    insmod('place=pids');
    expect(run('cat', '/proc/klpdemo_calls')).toBe(0);
    expect(own(dmesg())).toEqual(['klpdemo_calls: pid 0 tgid 0 pgrp 0 session 0']);
  });
});

describe('__check_object_size()', () => {
  // A byte behind the 64 of the stack is the canary's: zero there, where the bytes were zeros, an x here.
  const copies = [...observed.keys()].filter(
    (step) => /^copy_from_user \w+ \d+$/.test(step) && step !== 'copy_from_user stack 65',
  );
  // Where on a stack a caller is, is another matter.
  const said = (lines: readonly string[]): string[] =>
    own(lines).map((line) => line.replace(/stack \(offset \d+/, 'stack (offset *'));

  it.each(copies)('%s', (step) => {
    const [, place, count] = step.split(' ');
    insmod(`place=${place}`);
    const status = run('echo', 'x'.repeat(Number(count)), '/proc/klpdemo_calls');
    expect(said(dmesg())).toEqual(said(real(step)));
    const refused = real(step).some((line) => line.startsWith('usercopy'));
    expect(status).toBe(refused ? 139 : 0);
  });

  it('a copy to a user that is refused is an exposure, and a BUG of mm/usercopy.c', () => {
    insmod('place=middle');
    expect(run('cat', '/proc/klpdemo_calls')).toBe(139);
    const log = dmesg();
    const at = log.findIndex((line) => line.startsWith('usercopy: '));
    expect(log[at]).toMatch(
      /^usercopy: Kernel memory exposure attempt detected from SLUB object 'kmalloc-64' \(offset 40, size \d+\)!$/,
    );
    expect(log.slice(at + 1, at + 3)).toEqual([
      '------------[ cut here ]------------',
      'kernel BUG at mm/usercopy.c:101!',
    ]);
    expect(log.find((line) => line.startsWith('RIP: 0010'))).toMatch(/^RIP: 0010:usercopy_abort\+0x0\//);
    expect(
      log
        .filter((line) => /^ \w/.test(line))
        .slice(0, 3)
        .map((line) => line.split('+')[0]),
    ).toEqual([' __check_object_size', ' klpdemo_copy', ' klpdemo_read']);
  });
});
