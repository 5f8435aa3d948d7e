// A module that does what no kernel code should, on the machine and on the real kernel: line by line the same.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { GuestMemoryError } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { GuestPanic } from '../../src/machine/traps/oops.ts';
import {
  ACCEPTED,
  alignCode,
  type CompareOptions,
  comparable,
  MODULES,
  ONLY_ONE,
  readObserved,
  withoutTime,
} from './observed.ts';

const LAYOUT = BUILT_IN.structs;

const MS = 1e6;
const SECOND = 1e9;
const observed = readObserved('observed-faults-6.1.txt');
const bytes = readFileSync(join(MODULES, 'klpdemo_fault.ko'));

let machine: Machine;
afterEach(() => machine?.close());

async function boot(): Promise<void> {
  // The CPU of that run had no SMAP (protection.test.ts has one that did).
  machine = await Machine.boot({ protection: false });
  machine.addFile('/fault.ko', bytes);
}

function wait(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  return machine.exitStatus(task);
}
const insmod = (what: string, where = 'init') =>
  wait(machine.insmod('/fault.ko', `what=${what} where=${where}`));
const write = () => wait(machine.spawn('echo', ['x\n', '/proc/klpdemo_fault']));

/** The log from a record on is that of a step of the real run. */
function expectLog(step: string, from = 0, options: CompareOptions = {}): void {
  const log = machine.dmesg().slice(from).map(withoutTime);
  const ours = comparable(log, options);
  const real = comparable(observed.get(step)?.log ?? [], options);
  expect(real.length).toBeGreaterThan(0);
  expect(ours).toEqual(alignCode(ours, real));
}

function expectUsable(): void {
  const task = machine.spawn('cat', ['/proc/cmdline']);
  expect(wait(task)).toBe(0);
  expect(machine.stdout(task)).toBe(`${machine.options.cmdline}\n`);
}

function modules(): string[] {
  const task = machine.spawn('cat', ['/proc/modules']);
  wait(task);
  return machine.stdout(task).trim().split('\n').filter(Boolean);
}

describe('what is not compared', () => {
  it('has a reason each', () => {
    for (const { why } of [...ACCEPTED, ...ONLY_ONE]) expect(why).toMatch(/^[a-z].{8,}/);
  });
});

describe('an oops in init', () => {
  it.each([
    'null_read',
    'null_write',
    'null_call',
    'bad_read',
    'nx_call',
    'text_write',
    'noncanonical',
    'ud2',
    'bug',
    'divide',
    'preempt',
    'noirq',
  ])('%s is told as on the real kernel, ends insmod alone, and leaves the module loading', async (what) => {
    await boot();
    const bystander = machine.spawn('sleep', ['10']);
    const step = `${what} init`;
    expect(insmod(what)).toBe(observed.get(step)?.rc);
    expectLog(step);
    expect(modules()).toEqual(observed.get(step)?.output.slice(-1));
    expectUsable();
    expect(machine.exitStatus(bystander)).toBeUndefined();
  });

  it('of a function that TypeScript implements happens in that function, called from the module', async () => {
    await boot();
    expect(insmod('bad_string')).toBe(observed.get('bad_string init')?.rc);
    const log = machine.dmesg().map(withoutTime);
    expect(log).toContain('BUG: kernel NULL pointer dereference, address: 0000000000000010');
    expect(log.find((line) => line.startsWith('RIP: 0010'))).toMatch(/^RIP: 0010:kstrtoint\+/);
    const frames = log.filter((line) => /^ \w/.test(line));
    expect(frames[0]).toMatch(/^ klpdemo_bad_string\+0x\w+\/0x\w+ \[klpdemo_fault\]$/);
    expectUsable();
  });
});

describe('an oops elsewhere', () => {
  it('in a kernel thread ends the thread', async () => {
    await boot();
    expect(insmod('null_write', 'thread')).toBe(0);
    machine.runFor(100 * MS);
    expectLog('null_write thread');
    expect([...machine.inspect.core.tasks.processes()].some((t) => t.comm === 'klpdemo_fault')).toBe(false);
    expect(wait(machine.rmmod('klpdemo_fault'))).toBe(0);
    expect(modules()).toEqual([]);
    expectUsable();
  });

  it('in a system call ends the task that made it', async () => {
    await boot();
    expect(insmod('null_write', 'write')).toBe(0);
    expect(write()).toBe(137);
    expectLog('null_write write');
    expectUsable();
  });

  it('the second one prints the registers of the first again', async () => {
    await boot();
    insmod('null_write', 'write');
    write();
    const first = machine.dmesg().length;
    expect(write()).toBe(137);
    expectLog('second oops', first);
    const summary = (lines: string[]) =>
      lines
        .slice(-10)
        .map(withoutTime)
        .filter((l) => /^R/.test(l));
    expect(summary(machine.dmesg())).toEqual(summary(machine.dmesg().slice(0, first)));
  });

  it('in an exiting task is a recursive fault: the task is left alone for ever', async () => {
    await boot();
    insmod('null_write', 'release');
    const from = machine.dmesg().length;
    const task = machine.spawn('echo', ['x\n', '/proc/klpdemo_fault']);
    machine.runFor(SECOND);
    expect(machine.exitStatus(task)).toBeUndefined();
    expectLog('null_write release', from, { frames: 'modules' });
    expect(machine.inspect.core.tasks.byPid(machine.inspect.users.pidOf(task))).toBe(task);
    expectUsable();
  });
});

describe('a panic', () => {
  it.each([
    ['int3', 'init', 'all'],
    ['overflow', 'init', 'all'],
    ['null_write', 'timer', 'modules'],
  ] as const)('follows %s in %s, and the machine runs nothing more', async (what, where, frames) => {
    await boot();
    const run = () => {
      insmod(what, where);
      machine.runFor(SECOND);
    };
    expect(run).toThrow(GuestPanic);
    expectLog(`${what} ${where}`, 0, { frames });
    expect(machine.dmesg().map(withoutTime).at(-1)).toBe(
      '---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---',
    );
    const at = machine.now();
    expect(() => machine.runFor(SECOND)).toThrow('Fatal exception in interrupt');
    expect(machine.now()).toBe(at);
  });
});

describe('a warning', () => {
  it('is told as on the real kernel and changes nothing but the taint', async () => {
    await boot();
    for (const what of ['warn', 'warn_once', 'warn_text']) {
      const from = machine.dmesg().length;
      expect(insmod(what)).toBe(0);
      expectLog(`${what} init`, from);
      expect(wait(machine.rmmod('klpdemo_fault'))).toBe(0);
    }
    expect(modules()).toEqual([]);
    expectUsable();
  });
});

describe('the end of a machine', () => {
  it('is an oops of an idle task', async () => {
    await boot();
    machine.runFor(100 * MS);
    const cpu = machine.inspect.smp.cpus[1];
    cpu.pc = 0x10n;
    machine.inspect.smp.wake(cpu);
    expect(() => machine.runFor(SECOND)).toThrow(
      /Attempted to kill the idle task! \(CPU 1, swapper\/1:0 at /,
    );
    const log = machine.dmesg().map(withoutTime);
    expect(log).toContain('BUG: kernel NULL pointer dereference, address: 0000000000000010');
    expect(log.at(-1)).toBe('---[ end Kernel panic - not syncing: Attempted to kill the idle task! ]---');
  });

  it('is the end of init', async () => {
    await boot();
    machine.runFor(100 * MS);
    const init = machine.inspect.core.tasks.byPid(1) as TaskStruct;
    machine.inspect.exit.sendSignal(init, 11);
    expect(() => machine.runFor(SECOND)).toThrow('Attempted to kill init! exitcode=0x0000000b');
    const log = machine.dmesg().map(withoutTime);
    expect(log.some((line) => / Comm: init Not tainted 6\.1\.0-/.test(line))).toBe(true);
    expect(log).toContain('Call Trace:');
  });

  it('is a stack whose canary is gone', async () => {
    await boot();
    machine.addFile('/target.ko', readFileSync(join(MODULES, 'klpdemo_target.ko')));
    wait(machine.insmod('/target.ko'));
    const worker = [...machine.inspect.core.tasks.processes()].find(
      (t) => t.comm === 'klpdemo_worker',
    ) as TaskStruct;
    machine.runUntil(
      () => machine.stack(worker).some((line) => line.includes('klpdemo_stage_locals')),
      SECOND,
    );
    machine.inspect.core.mem.writeU64(
      worker.addr + BigInt(LAYOUT.task_struct.fields.stack_canary),
      0x1234500n,
    );
    expect(() => machine.runFor(SECOND)).toThrow(
      /stack-protector: Kernel stack is corrupted in: klpdemo_\w+\+0x\w+\/0x\w+ \[klpdemo_target\]/,
    );
  });
});

describe('a pointer that is none', () => {
  it('given to a function that TypeScript implements is a page fault at what the kernel would read', async () => {
    await boot();
    const wakeUp = machine.inspect.core.host.get('wake_up_process');
    const call = { cpu: 0, args: [0x1000n], sp: 0n, caller: 0n };
    expect(() => wakeUp?.(call)).toThrow(GuestMemoryError);
  });
});
