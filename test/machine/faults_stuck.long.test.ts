// Endless loops and sleeps: others go on where they can, and none goes unnoticed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { GuestPanic } from '../../src/machine/traps/oops.ts';
import {
  alignCode,
  type CompareOptions,
  comparable,
  MODULES,
  readObserved,
  withoutTime,
} from './observed.ts';

const MS = 1e6;
const SECOND = 1e9;
const observed = readObserved('observed-faults-6.1.txt');
const bytes = readFileSync(join(MODULES, 'klpdemo_fault.ko'));

let machine: Machine;
afterEach(() => machine.close());

/** Instructions take long, so that seconds pass soon; a tick still has room for a thousand. */
async function boot(cpus: number): Promise<void> {
  machine = await Machine.boot({ cpus, shadow: false, instructionNs: 4_000 });
  machine.addFile('/fault.ko', bytes);
}
const insmod = (what: string, where = 'init') => machine.insmod('/fault.ko', `what=${what} where=${where}`);
const log = () => machine.dmesg().map(withoutTime);
const lockups = () => log().filter((line) => /lockup|LOCKUP|blocked for/.test(line));

function wait(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 10 * SECOND);
  return machine.exitStatus(task);
}
const cat = (path: string) => wait(machine.spawn('cat', [path]));
const unstick = () => wait(machine.spawn('echo', ['0\n', '/sys/module/klpdemo_fault/parameters/stuck']));

/** Where in the loop it was is chance. */
function inLoop(lines: readonly string[]): string[] {
  const at = lines.findIndex((line) => line.startsWith('RIP: 0010:klpdemo_spin+'));
  return lines.filter((_, i) => at < 0 || (i !== at && i !== at + 1));
}

function expectReport(step: string, from: number, length: number, options: CompareOptions = {}): void {
  const ours = inLoop(comparable(log().slice(from, from + length), options));
  const real = inLoop(comparable(observed.get(step)?.log ?? [], options)).filter(
    (line) => !/taints kernel|verification/.test(line),
  );
  expect(real.length).toBeGreaterThan(5);
  expect(ours.slice(0, real.length)).toEqual(alignCode(ours, real));
}

describe('a loop that others can interrupt', () => {
  it('in user mode harms nobody', async () => {
    await boot(1);
    for (let i = 0; i < 3; i++) machine.spawn('spin');
    machine.runFor(30 * SECOND);
    expect(cat('/proc/cmdline')).toBe(0);
    expect(lockups()).toEqual([]);
  });

  it('in the kernel with preemption on lets others run, and ends when told to', async () => {
    await boot(1);
    const task = insmod('loop');
    machine.runFor(30 * SECOND);
    expect(machine.exitStatus(task)).toBeUndefined();
    expect(cat('/proc/cmdline')).toBe(0);
    expect(lockups()).toEqual([]);
    expect(unstick()).toBe(0);
    expect(wait(task)).toBe(0);
  });
});

describe('a loop with preemption off', () => {
  it('is a soft lockup after 20 seconds, told as on the real kernel', async () => {
    await boot(2);
    const task = insmod('loop_nopreempt');
    machine.runFor(20 * SECOND);
    expect(lockups()).toEqual([]);
    const from = log().length;
    machine.runFor(6 * SECOND);
    expectReport('loop_nopreempt init', from, 60);
    expect(lockups()).toEqual([
      expect.stringMatching(/^watchdog: BUG: soft lockup - CPU#\d stuck for 2\ds!/),
    ]);
    expect(cat('/proc/cmdline')).toBe(0);
    expect(unstick()).toBe(0);
    expect(wait(task)).toBe(0);
    machine.runFor(60 * SECOND);
    expect(lockups()).toHaveLength(1);
  });

  it('is told again while it lasts, and taints the kernel', async () => {
    await boot(1);
    insmod('loop_nopreempt');
    machine.runFor(60 * SECOND);
    expect(lockups()).toHaveLength(2);
    expect(log().filter((line) => line.startsWith('CPU: '))[1]).toContain('Tainted: G           OEL ');
  });

  it('in a timer is one, too', async () => {
    await boot(2);
    insmod('loop', 'timer');
    machine.runFor(30 * SECOND);
    expect(lockups()).toEqual([expect.stringContaining('soft lockup')]);
  });
});

describe('a loop with interrupts off', () => {
  it.each([1, 2])('is a hard lockup: the machine of %i CPUs panics, and says where', async (cpus) => {
    await boot(cpus);
    insmod('loop_noirq');
    const run = () => machine.runFor(60 * SECOND);
    expect(run).toThrow(GuestPanic);
    expect(run).toThrow(/Hard LOCKUP \(CPU \d, insmod:\d+ at klpdemo_spin\+0x\w+\/0x\w+ \[klpdemo_fault\]\)/);
    expect(machine.now()).toBeLessThan(25 * SECOND);
    expect(lockups()[0]).toMatch(/^NMI watchdog: Watchdog detected hard LOCKUP on cpu \d$/);
    expect(log()).toContain(' klpdemo_loop_noirq+0xb/0x20 [klpdemo_fault]');
  });
});

describe('a sleep that nobody ends', () => {
  it('leaves a machine that has nothing to do', async () => {
    await boot(2);
    insmod('sleep');
    while (machine.step());
    expect(machine.now()).toBeLessThan(SECOND);
    expect(machine.inspect.loop.idle()).toBe(true);
  });

  it.each(['sleep', 'deadlock'])(
    '(%s) is reported once 120 seconds have passed, as on the real kernel',
    async (what) => {
      await boot(2);
      insmod(what);
      machine.runFor(SECOND);
      const from = log().length;
      machine.runFor(118 * SECOND);
      expect(lockups()).toEqual([]);
      machine.runFor(125 * SECOND);
      expect(lockups()).toEqual([
        expect.stringMatching(/^INFO: task insmod:\d+ blocked for more than 120 seconds\.$/),
      ]);
      // __mutex_lock() is one function in the image.
      expectReport(`${what} init`, from, 60, { frames: what === 'sleep' ? 'all' : 'modules' });
    },
  );

  it('is reported while the machine is busy, too, and ten times at most', async () => {
    await boot(1);
    insmod('sleep');
    machine.spawn('sleep', ['500']);
    machine.runFor(250 * SECOND);
    expect(lockups()).toHaveLength(1);
    machine.runFor(2000 * SECOND);
    expect(lockups()).toHaveLength(10);
  });

  it('of a task that sleeps in short turns is none', async () => {
    await boot(1);
    machine.addFile('/target.ko', readFileSync(join(MODULES, 'klpdemo_target.ko')));
    expect(wait(machine.insmod('/target.ko'))).toBe(0);
    machine.runFor(400 * SECOND);
    expect(lockups()).toEqual([]);
    machine.runFor(100 * MS);
  });
});
