// A check of the guest kernel itself, on the machine that boots it: the reliable trace at every instruction that is
// executed, as it would be after an interrupt there, and again of the task that was preempted there, with its
// registers on its stack and another task running.
//
// Invariant: the workload is the same each time, so two checks of one image give the same report.

import { CONSTANTS, LAYOUT } from '../kernel/layout.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { KernelImage } from '../machine/image.ts';
import type { Machine } from '../machine/machine.ts';
import { type LiveReport, LiveTally } from './live_tally.ts';
import { Preempter } from './preempter.ts';
import { bootWithModules, Stepper } from './stepper.ts';

const MS = 1e6;
const SIGTERM = 15;
const MAX_STEPS = 2_000_000;

export interface ImageReport {
  /** Code that no function of ftrace or livepatch's handler is, and theirs. */
  readonly interrupted: LiveReport;
  readonly preempted: LiveReport;
  readonly ftraceInterrupted: LiveReport;
  readonly ftracePreempted: LiveReport;
}

const NOT_EXECUTED = 'not executed by the workload';
const NOT_PREEMPTED = 'not executed there with interrupts and preemption on';

export async function checkImage(image: KernelImage, seed: number): Promise<ImageReport> {
  const interrupted = new LiveTally(image);
  await interruptEverywhere(interrupted, seed);
  const preempted = new LiveTally(image);
  await preemptEverywhere(preempted, seed);
  return {
    interrupted: interrupted.report(false, NOT_EXECUTED),
    preempted: preempted.report(false, NOT_PREEMPTED),
    ftraceInterrupted: interrupted.report(true, NOT_EXECUTED),
    ftracePreempted: preempted.report(true, NOT_PREEMPTED),
  };
}

async function interruptEverywhere(tally: LiveTally, seed: number): Promise<void> {
  const machine = await bootWithModules({ cpus: 2, seed });
  const stepper = new Stepper(machine);
  stepper.observe = (lo, verdict, why) => tally.note(machine, lo, verdict, why);
  const run = (program: string, ...args: string[]): void => {
    stepper.toEnd(machine.spawn(program, args));
  };
  try {
    stepper.until(() => machine.smp.cpus.every((cpu) => cpu.halted));
    const paused = machine.spawn('pause');
    for (const file of ['cmdline', 'meminfo', 'version', 'uptime', 'modules', 'self/stack'])
      run('cat', `/proc/${file}`);
    run('sleep', '5', '2');
    run('forker', '5', '2');
    machine.exit.sendSignal(paused, SIGTERM);
    stepper.toEnd(paused);
    run('insmod', '/klpdemo_target.ko');
    run('cat', '/proc/klpdemo');
    run('insmod', '/klpdemo_patch_both.ko');
    run('cat', '/proc/klpdemo');
    stepper.until(() => hasSaid(machine, ': patching complete'), MAX_STEPS);
    run('cat', '/proc/klpdemo');
    run('cat', '/proc/meminfo');
    for (const regs of [true, false]) {
      traceFunctions(machine, regs);
      for (const file of ['meminfo', 'cmdline', 'klpdemo']) run('cat', `/proc/${file}`);
    }
    run('echo', '0\n', '/sys/kernel/livepatch/klpdemo_patch_both/enabled');
    stepper.until(() => hasSaid(machine, 'unpatching complete'), MAX_STEPS);
    run('rmmod', 'klpdemo_patch_both');
    run('rmmod', 'klpdemo_target');
  } finally {
    machine.close();
  }
}

async function preemptEverywhere(tally: LiveTally, seed: number): Promise<void> {
  const machine = await bootWithModules({ cpus: 1, seed });
  const ended = (task: TaskStruct): boolean => machine.exitStatus(task) !== undefined;
  /** A program, preempted wherever it can be. */
  const preempt = (program: string, ...args: string[]): void => {
    const preempter = new Preempter(machine);
    const victim = machine.spawn(program, args);
    preempter.run(victim, () => ended(victim), MAX_STEPS);
    preempter.close();
    for (const { lo, unreliable, wrong } of preempter.preemptions) {
      if (wrong) tally.note(machine, lo, 'wrong, declared reliable', wrong);
      else if (unreliable) tally.note(machine, lo, 'wrong, declared unreliable', unreliable);
      else tally.note(machine, lo, 'right', '');
    }
  };
  const load = (name: string): void => {
    const task = machine.insmod(`/${name}.ko`);
    machine.runUntil(() => ended(task), 5000 * MS);
  };
  try {
    for (const file of ['cmdline', 'meminfo', 'self/stack']) preempt('cat', `/proc/${file}`);
    preempt('sleep', '5', '2');
    preempt('forker', '5', '1');
    load('klpdemo_target');
    preempt('insmod', '/klpdemo_patch_both.ko');
    machine.runUntil(() => hasSaid(machine, ': patching complete'), 30_000 * MS);
    for (const file of ['klpdemo', 'meminfo']) preempt('cat', `/proc/${file}`);
    for (const regs of [true, false]) {
      machine.runFor(20 * MS);
      traceFunctions(machine, regs);
      for (const file of ['meminfo', 'cmdline', 'klpdemo']) preempt('cat', `/proc/${file}`);
    }
    preempt('echo', '0\n', '/sys/kernel/livepatch/klpdemo_patch_both/enabled');
  } finally {
    machine.close();
  }
}

function hasSaid(machine: Machine, text: string): boolean {
  return machine.dmesg().some((line) => line.endsWith(text));
}

/**
 * Listeners beside the livepatch: two calls of ftrace are shared by two of them, which sends both through the
 * trampoline that all have in common, and one at another function has a copy of its own. With all registers, and
 * without.
 */
function traceFunctions(machine: Machine, regs: boolean): void {
  const { core, ftrace } = machine;
  const names = regs
    ? ['meminfo_proc_show', 'vfs_read']
    : ['cmdline_proc_show', 'cmdline_proc_show', 'seq_read_iter'];
  for (const name of names) {
    const ops = ftrace.ops(core.slab.alloc(LAYOUT.ftrace_ops.size, 'ops of the check'));
    ops.func = core.symbols.require('ftrace_stub');
    ops.flags = regs ? CONSTANTS.FTRACE_OPS_FL_SAVE_REGS : 0;
    settle(ftrace.setFilterIp(ops.addr, core.symbols.require(name), false));
    settle(ftrace.registerFunction(ops.addr));
  }
}

/** A host function's work while nothing else runs: its locks are free, and no CPU has to be waited for. */
function settle(work: Generator<unknown, number, bigint>): void {
  let step = work.next(0n);
  while (!step.done) step = work.next(0n);
  if (step.value !== 0) throw new Error(`ftrace: ${step.value}`);
}
