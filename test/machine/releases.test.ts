// What kernels after 6.1 do otherwise, by their release: the built-in kernel under later names shows it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { compareSeries } from '../../src/kernel/release.ts';
import { taintNames } from '../../src/kernel/taint.ts';
import { Machine } from '../../src/machine/machine.ts';

const NAME = 'klpdemo_patch_vmlinux';
const PATCH = readFileSync(join(import.meta.dirname, `../../fixtures/modules/${NAME}.ko`));
const SMALL = { heap: 4 << 20, moduleArea: 2 << 20, maxTasks: 32, instructionNs: 20_000 };
const EOPNOTSUPP = 95;

let machine: Machine;
afterEach(() => machine?.close());

function run(
  program: string,
  ...args: string[]
): { readonly status: number | undefined; readonly text: string } {
  const task = machine.spawn(program, args);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 20e9);
  return { status: machine.exitStatus(task), text: machine.stdout(task) };
}

async function patched(release: string): Promise<void> {
  machine = await Machine.boot(SMALL, { ...BUILT_IN, release });
  machine.addFile('/patch.ko', new Uint8Array(PATCH));
  const task = machine.insmod('/patch.ko');
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 20e9);
  expect(machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, 60e9)).toBe(true);
}

const fileOf = (name: string): string => run('cat', `/sys/kernel/livepatch/${NAME}/${name}`).text;

describe.each([
  { release: '6.1.0-56-amd64', replace: '', order: '', column: '(1)   I  \t', off: 16 },
  { release: '6.12.117', replace: '0\n', order: '', column: '(1)   I     M \t', off: 16 },
  { release: '7.3.4', replace: '0\n', order: '1\n', column: '(1)   I     M \t', off: EOPNOTSUPP },
])('a livepatch on $release', ({ release, replace, order, column, off }) => {
  it('has the files of that kernel, and sites and ftrace_enabled are told as it tells them', async () => {
    await patched(release);
    expect([fileOf('replace'), fileOf('stack_order')]).toEqual([replace, order]);
    expect(run('cat', '/sys/kernel/debug/tracing/enabled_functions').text).toContain(
      `cmdline_proc_show ${column}`,
    );
    const deprecated = (): number =>
      machine.dmesg().filter((line) => line.endsWith('deprecated and no longer disables ftrace')).length;
    // Only a 0 is told so.
    expect(run('echo', '1', '/proc/sys/kernel/ftrace_enabled').status).toBe(0);
    expect(deprecated()).toBe(0);
    for (let i = 0; i < 2; i++) expect(run('echo', '0', '/proc/sys/kernel/ftrace_enabled').status).toBe(off);
    expect(deprecated()).toBe(off === EOPNOTSUPP ? 1 : 0);
    expect(run('cat', '/proc/sys/kernel/ftrace_enabled').text).toBe('1\n');
    run('echo', '0', `/sys/kernel/livepatch/${NAME}/enabled`);
    run('echo', '1', `/sys/kernel/livepatch/${NAME}/enabled`);
    expect(machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, 60e9)).toBe(true);
    expect(run('cat', '/proc/cmdline').text).toBe('klpdemo: this command line was livepatched\n');
    expect(taintNames(machine.inspect.core)).toEqual([
      '[O]=OOT_MODULE',
      '[E]=UNSIGNED_MODULE',
      '[K]=LIVEPATCH',
    ]);
  });
});

describe('a dump', () => {
  it.each([
    ['6.12.117', '#1  Debian 6.1.192-2'],
    ['7.3.4', '#1 PREEMPT(lazy)  Debian 6.1.192-2 '],
  ])('on %s ends the line of who it is with what that kernel has there', async (release, end) => {
    machine = await Machine.boot(SMALL, { ...BUILT_IN, release });
    machine.inspect.oops.dumpStack(0);
    const line = machine.dmesg().find((one) => one.includes(' Comm: '));
    expect(line?.slice(line.indexOf('#1'))).toBe(end);
  });
});

describe('releases', () => {
  it('are compared by their first two numbers', () => {
    expect(compareSeries('6.12.117+deb13-amd64', '6.2-rc1')).toBeGreaterThan(0);
    expect(compareSeries('6.1.0-56-amd64', '6.1')).toBe(0);
    expect(compareSeries('6.18.15', '7.3.4')).toBeLessThan(0);
  });
});
