// A machine with the frame pointer unwinder: its kernel keeps frames, and its traces are held against the shadow
// stack as those of ORC are. fixtures/scenarios/frame_pointer.yaml has the transitions, with several seeds.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { REG } from '../../src/arch/x86_64/context.ts';
import { count, Stepper } from '../../src/check/stepper.ts';
import { lo32 } from '../../src/guest/addr.ts';
import { packageRoot } from '../../src/guest/package_root.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { Cpu } from '../../src/machine/cpu/cpu.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { GroundTruthError } from '../../src/machine/truth/traces.ts';
import type { ShadowStacks } from '../../src/unwind/shadow.ts';
import { MAX_STACK_ENTRIES } from '../../src/unwind/stacktrace.ts';

const LAYOUT = BUILT_IN.structs;

const MODULES = join(packageRoot(), 'fixtures/modules');
const MS = 1e6;
const RET_ADDR = LAYOUT.inactive_task_frame.fields.ret_addr;

let machine: Machine;
afterEach(() => machine.close());

async function boot(options: MachineOptions = {}): Promise<void> {
  machine = await Machine.boot({ cpus: 2, unwinder: 'frame pointer', ...options });
}

/** @param path from fixtures/modules. */
function load(path: string, args = ''): void {
  machine.addFile(`/${path}`, readFileSync(join(MODULES, path)));
  const task = machine.insmod(`/${path}`, args);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1000 * MS);
  expect(machine.exitStatus(task)).toBe(0);
}

const shadow = (): ShadowStacks => machine.inspect.traces.shadow as ShadowStacks;

describe.each([1, 2, 3])('with seed %i', (seed) => {
  it('a task that sleeps has a reliable trace, and one preempted by an interrupt has none', async () => {
    await boot({ cpus: 1, seed });
    load('frame-pointer/klpdemo_target.ko', 'hold_ms=20 period_ms=5 work_ms=5 show_ms=10');
    const readers = ['/proc/klpdemo', '/proc/meminfo', '/proc/cmdline'];
    for (const file of [...readers, ...readers]) machine.spawn('reader', [file, '0']);
    machine.spawn('spin');
    const entries = new Uint32Array(MAX_STACK_ENTRIES);
    const seen = { reliable: 0, preempted: 0 };
    const wrong: string[] = [];
    for (let i = 0; i < 600; i++) {
      machine.runFor(0.7 * MS);
      for (const task of machine.inspect.core.tasks.processes()) {
        if (task.onCpu !== 0) continue;
        const frames = shadow().frames(task.stackSlot, task.spLo + RET_ADDR);
        const kernelRegs = frames.some((f) => f.kind === 'regs');
        const n = machine.inspect.traces.stackTrace.stackTraceSaveTskReliable(task, entries);
        if (n < 0) {
          seen.preempted++;
          if (!kernelRegs) wrong.push(`${task}: ${machine.stack(task).join(' ')}`);
        } else {
          seen.reliable++;
          const truth = frames.map((f) => f.address >>> 0);
          if ([...entries.subarray(0, n)].join() !== truth.join()) wrong.push(`${task}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(seen.reliable).toBeGreaterThan(1000);
    expect(seen.preempted).toBeGreaterThan(20);
  });
});

describe('with frame pointers', () => {
  it('a task that was preempted in the kernel is skipped as unreliable, and switches at its exit', async () => {
    await boot({ cpus: 1, debug: true });
    const ways = new Map<number, string>();
    machine.events.subscribe((e) => {
      if (e.type === 'patch_state') ways.set(e.pid, e.way);
    });
    for (let i = 0; i < 6; i++) machine.spawn('reader', ['/proc/meminfo', '0']);
    machine.runFor(50 * MS);
    load('frame-pointer/klpdemo_patch_vmlinux.ko');
    const said = (text: string) => machine.dmesg().filter((line) => line.includes(text));
    expect(machine.runUntil(() => said('patching complete').length > 0, 3000 * MS)).toBe(true);
    const unreliable = said('has an unreliable stack').map((line) => Number(/:(\d+) has/.exec(line)?.[1]));
    expect(unreliable.length).toBeGreaterThan(2);
    expect(unreliable.map((pid) => ways.get(pid))).toEqual(unreliable.map(() => 'kernel exit'));
  });

  it('at each kernel instruction the frames are live ones; missing is at most what is being made or given up', async () => {
    await boot();
    const stepper = new Stepper(machine);
    stepper.compare = (cpu) => compareFrames(stepper, cpu);
    for (const file of ['/proc/meminfo', '/proc/self/stack']) {
      expect(stepper.toEnd(machine.spawn('cat', [file]))).toBe(0);
    }
    expect(stepper.wrong).toEqual([]);
    expect(stepper.total).toBeGreaterThan(5000);
  });

  it('a kernel thread that never ran has its first frame, which is its last one too: a reliable trace', async () => {
    await boot();
    machine.runFor(20 * MS);
    const entries = new Uint32Array(MAX_STACK_ENTRIES);
    const thread = machine.inspect.kthreads.create(
      machine.inspect.core.symbols.require('kthreadd'),
      0n,
      'thread',
    );
    const trace = () => machine.inspect.traces.stackTrace.stackTraceSaveTskReliable(thread, entries);
    expect(trace()).toBe(1);
    expect(machine.inspect.core.sym(0xffffffff00000000n | BigInt(entries[0]))).toMatch(/^ret_from_fork\+0x0/);
    machine.inspect.sched.wakeUpProcess(thread);
    machine.runFor(20 * MS);
    expect(trace()).toBe(shadow().frames(thread.stackSlot, thread.spLo + RET_ADDR).length);
  });

  it('an oops in a host function shows who called it', async () => {
    await boot();
    load('klpdemo_fault.ko', 'what=bad_string where=write');
    machine.spawn('echo', ['x', '/proc/klpdemo_fault']);
    machine.runFor(100 * MS);
    const trace = machine.dmesg().slice(machine.dmesg().findIndex((line) => line.endsWith('Call Trace:')));
    const functions = trace.map((line) => line.replace(/^\[.*?\] +/, '').replace(/\+.*/, ''));
    // The module keeps no frames: its own callers are guesses, what is above it is not.
    expect(functions.slice(2, 9)).toEqual([
      'klpdemo_bad_string',
      '? klpdemo_call',
      '? klpdemo_fault',
      '? klpdemo_write',
      '? proc_reg_write',
      'vfs_write',
      expect.any(String),
    ]);
    expect(functions).toContain('__x64_sys_write');
  });
});

/**
 * The porting question: an unwinder that is called reliable on code that does not keep to its rules. Debian's
 * modules, built for ORC, keep no frames, and the first thread that sleeps in one where rbp is nobody's variable
 * has a trace without its callers. Nothing in the kernel can notice; a transition would switch it. The truth does.
 */
describe('modules without frames on such a kernel', () => {
  const transition = () => {
    load('frame-pointer/klpdemo_patch_vmlinux.ko');
    machine.runFor(3000 * MS);
  };

  it('are caught: a trace called reliable misses live frames', async () => {
    await boot();
    load('klpdemo_fault.ko', 'what=sleep where=thread');
    machine.runFor(20 * MS);
    let caught: unknown;
    try {
      transition();
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(GroundTruthError);
    expect(String(caught)).toMatch(
      /reliable trace of klpdemo_fault:\d+: frame 3: trace misses klpdemo_call\+/,
    );
  });

  it('switch by a trace without their functions where the ground truth is not kept', async () => {
    await boot({ shadow: false });
    load('klpdemo_fault.ko', 'what=sleep where=thread');
    machine.runFor(20 * MS);
    transition();
    const task = [...machine.inspect.core.tasks.processes()].find((t) => t.comm === 'klpdemo_fault');
    expect(machine.stack(task as TaskStruct).join()).toMatch(/klpdemo_sleep.*ret_from_fork/);
    expect(machine.stack(task as TaskStruct).join()).not.toContain('klpdemo_thread_fn');
    expect(task?.patchState).toBe(-1);
  });

  it('are mostly unreliable instead, where the compiler uses rbp as a variable', async () => {
    await boot({ debug: true });
    load('klpdemo_target.ko', 'hold_ms=700 period_ms=10');
    machine.runFor(50 * MS);
    transition();
    expect(machine.dmesg().join('\n')).toMatch(/klpdemo_worker:\d+ has an unreliable stack/);
  });
});

/** Where rbp is of another stack than rsp, or no longer that of the code that was interrupted. */
const BETWEEN = /^(__switch_to_asm|asm_|entry_|error_return|restore_regs|swapgs_restore|rewind_)/;

/** The walk by frames from a CPU's registers, as an oops prints it, against the live frames. */
function compareFrames(stepper: Stepper, cpu: Cpu): void {
  const slot = cpu.stackSlot();
  if (slot < 0) return;
  const { stackTrace } = machine.inspect.traces;
  const entries = new Uint32Array(MAX_STACK_ENTRIES);
  const regs = machine.inspect.traces.cpuRegs(cpu);
  const n = stackTrace.stackTraceSaveRegs({ stackSlot: slot, onCpu: 1, spLo: 0 }, regs, entries);
  const frames = shadow().frames(slot, cpu.context.halves[2 * REG.rsp]);
  const truth = [lo32(cpu.pc), ...frames.map((f) => f.address)].map((lo) => lo >>> 0);
  let at = 0;
  for (const lo of entries.subarray(0, n)) {
    at = truth.indexOf(lo, at) + 1;
    if (at === 0) break;
  }
  const { name } = stepper.place(truth[0]);
  const interrupts = frames.filter((f) => f.kind === 'regs').length;
  const missing = truth.length - n;
  if (at === 0) stepper.wrong.push(`${name}: a frame that is not live`);
  else if (missing > 2 * (1 + interrupts) && !BETWEEN.test(name))
    stepper.wrong.push(`${name}: ${missing} missing`);
  else count(stepper.compared, name);
}
