// What a machine does while the guest kernel's code is checked: system calls, a livepatch and ftrace, modules that use
// memory and locks, and faults.
//
// Invariant: the same each time, so that two checks of one image give the same report.

import { UAPI } from '../kernel/uapi.ts';
import type { Machine } from '../machine/machine.ts';

/** What is executed, and at the end all of it that matters once more with preemption. */
export const IMAGE_PARTS = ['system', 'livepatch', 'modules', 'faults', 'preempted'] as const;
export type ImagePart = (typeof IMAGE_PARTS)[number];

export const MAX_STEPS = 2_000_000;

interface Workplace {
  readonly machine: Machine;
  /** A program, to its end. */
  run(program: string, ...args: string[]): void;
  until(condition: () => boolean, maxSteps: number): void;
}

/** Each of them on a machine that was just booted. */
export function partSteps(part: ImagePart): readonly ((at: Workplace) => void)[] {
  switch (part) {
    case 'system':
      return [system];
    case 'livepatch':
      return [livepatch];
    case 'modules':
      return [modules];
    case 'preempted':
      return [];
    case 'faults':
      return FAULTS.map((what) => ({ machine, run }) => {
        machine.runUntil(() => machine.inspect.smp.cpus.every((cpu) => cpu.halted), BOOT_NS);
        run('insmod', '/klpdemo_fault.ko', `what=${what} where=init`);
      });
  }
}

const BOOT_NS = 1e9;
/** All but the first end the process that loads the module. */
const FAULTS = ['warn', 'null_write', 'null_call', 'divide', 'int3', 'bug', 'noncanonical'];
const HEAP = ['what=clean', 'what=shadow', 'what=list_twice', 'what=refcount', 'what=files'];
const LOCK_STEPS = 20_000;

function system({ machine, run, until }: Workplace): void {
  until(() => machine.inspect.smp.cpus.every((cpu) => cpu.halted), MAX_STEPS);
  const paused = machine.spawn('pause');
  const files = ['cmdline', 'meminfo', 'version', 'uptime', 'modules', 'self/stack', 'self/status'];
  for (const file of [...files, 'self/patch_state', 'sys/kernel/ftrace_enabled']) run('cat', `/proc/${file}`);
  run('sleep', '5', '2');
  run('forker', '5', '2');
  machine.inspect.exit.sendSignal(paused, UAPI.SIGTERM);
  until(() => machine.exitStatus(paused) !== undefined, MAX_STEPS);
}

function livepatch({ machine, run, until }: Workplace): void {
  run('insmod', '/klpdemo_target.ko');
  run('cat', '/proc/klpdemo');
  run('insmod', '/klpdemo_patch_both.ko');
  run('cat', '/proc/klpdemo');
  until(() => hasSaid(machine, ': patching complete'), MAX_STEPS);
  run('cat', '/proc/klpdemo');
  run('cat', '/proc/meminfo');
  for (const regs of [true, false]) {
    traceFunctions(machine, regs);
    for (const file of ['meminfo', 'cmdline', 'klpdemo']) run('cat', `/proc/${file}`);
  }
  run('cat', '/sys/kernel/livepatch/klpdemo_patch_both/enabled');
  run('cat', '/sys/module/klpdemo_target/parameters/period_ms');
  run('echo', '0\n', '/sys/kernel/livepatch/klpdemo_patch_both/enabled');
  until(() => hasSaid(machine, 'unpatching complete'), MAX_STEPS);
  run('rmmod', 'klpdemo_patch_both');
  run('rmmod', 'klpdemo_target');
}

function modules({ run, until }: Workplace): void {
  for (const args of HEAP) {
    run('insmod', '/klpdemo_heap.ko', args);
    run('cat', '/sys/kernel/debug/klpdemo/value');
    run('rmmod', 'klpdemo_heap');
  }
  run('insmod', '/klpdemo_locks.ko');
  until(() => false, LOCK_STEPS);
  run('rmmod', 'klpdemo_locks');
}

export function hasSaid(machine: Machine, text: string): boolean {
  return machine.dmesg().some((line) => line.endsWith(text));
}

/**
 * Listeners beside the livepatch: two calls of ftrace are shared by two of them, which sends both through the
 * trampoline that all have in common, and one at another function has a copy of its own. With all registers, and
 * without.
 */
export function traceFunctions(machine: Machine, regs: boolean): void {
  const { core, ftrace } = machine.inspect;
  const names = regs
    ? ['meminfo_proc_show', 'vfs_read']
    : ['cmdline_proc_show', 'cmdline_proc_show', 'seq_read_iter'];
  for (const name of names) {
    const ops = ftrace.ops(core.slab.alloc(core.kernel.structs.ftrace_ops.size, 'ops of the check'));
    ops.func = core.symbols.require('ftrace_stub');
    ops.flags = regs ? core.kernel.constants.FTRACE_OPS_FL_SAVE_REGS : 0;
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
