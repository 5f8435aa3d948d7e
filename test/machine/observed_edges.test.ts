// What the kernel says of names that cannot be, of an init that returns a positive number, of a worker that hangs: line
// by line as on the real one, with the frames of both.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { alignCode, comparable, MODULES, readObserved, withoutTime } from './observed.ts';

const SECOND = 1e9;
const observed = readObserved('observed-edges-6.1.txt');

let machine: Machine;
afterEach(() => machine?.close());

async function boot(...names: string[]): Promise<void> {
  machine = await Machine.boot();
  for (const name of names) machine.addFile(`/${name}.ko`, readFileSync(join(MODULES, `${name}.ko`)));
}

function wait(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 5 * SECOND);
  return machine.exitStatus(task);
}
const insmod = (name: string, params = '') => wait(machine.insmod(`/${name}.ko`, params));
const cat = (path: string): string => {
  const task = machine.spawn('cat', [path]);
  wait(task);
  return machine.stdout(task);
};

/** Which module was the first to taint is another matter; programs are others; code bytes are those of other functions. */
const OTHERS = /taints kernel\.$|tainting kernel|^Code: |^Modules linked in|^CR2: /;
const said = (lines: readonly string[]): string[] =>
  comparable(lines.filter((line) => !OTHERS.test(line) && !/^(RIP: 0033|RSP: 002b|R\w\w: )/.test(line))).map(
    (line) => line.replace(/^(WARNING: .* \w+)\+0x\w+\/0x\w+$/, '$1'),
  );

function expectLog(step: string, from = 0): void {
  const real = said(observed.get(step)?.log ?? []);
  const ours = said(machine.dmesg().slice(from).map(withoutTime));
  expect(real.length).toBeGreaterThan(0);
  expect(ours).toEqual(alignCode(ours, real));
}

describe('an init that returns a positive number', () => {
  it('is told with the stack of its load, and the module is there', async () => {
    await boot('klpdemo_patch_both');
    expect(insmod('klpdemo_patch_both', 'pre_patch_ret=19')).toBe(0);
    expectLog('suspicious init');
    expect(cat('/proc/modules')).toMatch(/^klpdemo_patch_both 16384 0 - Live/);
    expect(wait(machine.rmmod('klpdemo_patch_both'))).toBe(0);
  });
});

describe('a name in sysfs', () => {
  it.each(['function', 'object'])('that is taken, of the second %s, is told with the stack', async (what) => {
    await boot('klpdemo_bad_names');
    expect(insmod('klpdemo_bad_names', `what=${what}`)).toBe(17);
    expectLog(`duplicate ${what}`);
    expect(machine.inspect.core.taints & 512).toBe(0);
    expect(machine.inspect.sysfs.lookup('/kernel/livepatch')).toMatchObject({ nlink: 2 });
  });

  it('that is empty is a warning of lib/kobject.c, and taints with W', async () => {
    await boot('klpdemo_bad_names');
    expect(insmod('klpdemo_bad_names', 'what=empty')).toBe(22);
    expectLog('empty name');
    expect(machine.inspect.core.taints & 512).toBe(512);
    expect(machine.inspect.sysfs.lookup('/kernel/livepatch')).toMatchObject({ nlink: 2 });
  });
});

describe('an ftrace bug', () => {
  it('is two warnings with their stacks, and what was found at the site between them', async () => {
    await boot('klpdemo_bad_site');
    expect(insmod('klpdemo_bad_site')).toBe(0);
    // The addresses of code; load_module() is part of __do_sys_finit_module() here.
    const part = (lines: readonly string[]): string[] =>
      said(lines)
        .map((line) => line.replace(/(expected: e8|expected tramp:).*/, '$1'))
        .filter((line) => line !== ' load_module' && !line.startsWith('[<'));
    expect(part(machine.dmesg().map(withoutTime))).toEqual(part(observed.get('bad site')?.log ?? []));
    expect(machine.inspect.core.taints & 512).toBe(512);
  });

  it('leaves a patch that cannot be taken off, with a warning for each step', async () => {
    await boot('klpdemo_bad_site', 'klpdemo_patch_vmlinux');
    expect(insmod('klpdemo_patch_vmlinux')).toBe(0);
    machine.runFor(3 * SECOND);
    expect(insmod('klpdemo_bad_site')).toBe(0);
    const from = machine.dmesg().length;
    wait(machine.spawn('echo', ['0', '/sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled']));
    machine.runFor(3 * SECOND);
    // What lies between the work's function and unpatching is TypeScript's.
    const inside = /^ (klp_unpatch_objects|klp_complete_transition|klp_try_complete_transition)$/;
    const part = (lines: readonly string[]): string[] =>
      said(lines)
        .map((line) => line.replace(/kworker\/\d:\d/, 'kworker/*'))
        .filter((line) => !inside.test(line));
    expect(part(machine.dmesg().slice(from).map(withoutTime))).toEqual(
      part(observed.get('unpatching after the ftrace bug')?.log ?? []),
    );
  });
});

describe('a worker', () => {
  it('that hangs is reported with its workqueue and function, and says in its name where it works', async () => {
    await boot('klpdemo_target');
    expect(insmod('klpdemo_target', 'work_ms=600000')).toBe(0);
    const from = machine.dmesg().length;
    machine.runFor(250 * SECOND);
    const worker = [...machine.inspect.core.tasks.processes()].find((t) =>
      machine.inspect.workqueue.info(t),
    ) as TaskStruct;
    const log = machine.dmesg().slice(from).map(withoutTime);
    const start = log.findIndex((line) => line.startsWith(`INFO: task ${worker.comm}:${worker.pid}`));
    const real = observed.get('hung worker')?.log ?? [];
    const first = real.findIndex((line) => line.startsWith('INFO: task'));
    const comparableReport = (lines: readonly string[]) =>
      comparable(lines).map((line) =>
        line.replace(/kworker\/\d:\d/, 'kworker/*').replace(/\*\s+state/, '* state'),
      );
    expect(comparableReport(log.slice(start))).toEqual(comparableReport(real.slice(first)));
    expect(cat(`/proc/${worker.pid}/comm`)).toBe(`${worker.comm}+events\n`);
    expect(cat(`/proc/${worker.pid}/status`)).toContain(`Name:\t${worker.comm}+events\n`);
    expect(cat(`/proc/${worker.pid}/stat`)).toMatch(`${worker.pid} (${worker.comm}+events) D `);
  });

  it('that worked says where it did, and one that never did has its name alone', async () => {
    await boot('klpdemo_target');
    insmod('klpdemo_target', 'work_ms=1');
    machine.runFor(SECOND);
    expect(wait(machine.rmmod('klpdemo_target'))).toBe(0);
    const names = [...machine.inspect.core.tasks.processes()]
      .filter((task) => task.comm.startsWith('kworker'))
      .map((task) => cat(`/proc/${task.pid}/comm`).trim().replace(task.comm, ''));
    expect(new Set(names)).toEqual(new Set(['-events', '']));
  });
});
