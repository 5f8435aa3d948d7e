// At every kernel instruction of every path, the reliable trace from the live registers is the truth, or
// the unwinder says itself that it cannot tell, and then for a reason that the kernel has too.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootWithModules, Stepper, sum } from '../../src/check/stepper.ts';
import { lo32 } from '../../src/guest/addr.ts';
import type { Machine } from '../../src/machine/machine.ts';

let machine: Machine;
let stepper: Stepper;

async function boot(cpus: number, seed: number): Promise<void> {
  machine = await bootWithModules({ cpus, seed });
  stepper = new Stepper(machine);
}
afterEach(() => machine.close());

function run(program: string, ...args: string[]): string {
  const task = machine.spawn(program, args);
  expect(stepper.toEnd(task)).toBe(0);
  return machine.stdout(task);
}

function untilSaid(text: string): void {
  const said = () => machine.dmesg().some((line) => line.endsWith(text));
  expect(stepper.until(said, 2_000_000)).toBe(true);
}

/**
 * Where even the kernel's unwinder gives up, and why:
 * - the first instructions of a system call are on the user's stack, and then on an empty one;
 * - a return address that is the start of a function is looked up one byte too low. Such ones are put
 *   on a stack by a retpoline, by a trampoline whose call is redirected, and for a task that has never run.
 */
const EXPLAINED = [
  /^entry_SYSCALL_64: on the user's stack$/,
  /^entry_SYSCALL_64_safe_stack: the stack pointer is not on the task stack$/,
  /^__x86_indirect_thunk_\w+: (undefined unwind state at|no ORC data for) \w+$/,
  /^trampoline: undefined unwind state at klpdemo_new_\w+$/,
  /^__switch_to(_asm)?: undefined unwind state at ret_from_fork$/,
];

function expectTruth(): void {
  expect(stepper.wrong).toEqual([]);
  const unexplained = [...stepper.unreliable.keys()].filter((key) => !EXPLAINED.some((e) => e.test(key)));
  expect(unexplained).toEqual([]);
  expect(sum(stepper.unreliable.values())).toBeLessThan(stepper.total * 0.05);
}

/** Functions of which fewer instructions were compared. */
function missing(names: readonly string[], atLeast = 1): string[] {
  return names.filter((name) => (stepper.compared.get(name) ?? 0) < atLeast);
}

describe.each([
  [1, 1],
  [2, 7],
])('on %i CPU(s) with seed %i, trace and truth are the same', (cpus, seed) => {
  beforeEach(() => boot(cpus, seed));

  it('from boot to idle, and in the files that the kernel itself serves', () => {
    stepper.until(() => machine.inspect.smp.cpus.every((cpu) => cpu.halted));
    expect(run('cat', '/proc/cmdline')).toBe(`${machine.options.cmdline}\n`);
    expect(run('cat', '/proc/meminfo')).toMatch(/^MemTotal:/);
    expect(run('cat', '/proc/self/stack')).toContain('proc_pid_stack');
    expectTruth();
    const boot = [
      'start_secondary',
      'cpu_startup_entry',
      'do_idle',
      'default_idle',
      'ret_from_fork',
      'kthreadd',
    ];
    const paths = [
      'entry_SYSCALL_64_after_hwframe',
      'do_syscall_64',
      'ksys_read',
      'vfs_read',
      'seq_read_iter',
    ];
    const shows = ['cmdline_proc_show', 'meminfo_proc_show', 'proc_pid_stack', 'syscall_exit_to_user_mode'];
    expect(missing([...boot, ...paths, ...shows])).toEqual([]);
  });

  it('in tasks that sleep, fork, wait, are signalled and end', () => {
    const paused = machine.spawn('pause');
    run('sleep', '5', '2');
    run('forker', '5', '2');
    machine.inspect.exit.sendSignal(paused, 15);
    expect(stepper.toEnd(paused)).toBe(128 + 15);
    expectTruth();
    const sleeping = [
      'do_nanosleep',
      'schedule',
      '__schedule',
      '__switch_to_asm',
      '__switch_to',
      'finish_task_switch',
    ];
    const births = [
      'kernel_clone',
      'copy_process',
      'wake_up_new_task',
      'schedule_tail',
      'do_wait',
      'do_exit',
    ];
    const signals = ['exit_to_user_mode_loop', 'arch_do_signal_or_restart', 'get_signal', 'do_group_exit'];
    const ticks = ['asm_sysvec_apic_timer_interrupt', 'sysvec_apic_timer_interrupt', 'error_return'];
    expect(missing([...sleeping, ...births, ...signals, ...ticks])).toEqual([]);
  });

  it('through the life of a module and of a livepatch, whose tasks go on all the while', () => {
    run('insmod', '/klpdemo_target.ko');
    expect(run('cat', '/proc/klpdemo')).toMatch(/^klpdemo version 1\n/);
    run('insmod', '/klpdemo_patch_both.ko');
    // Nobody else has switched yet: this reader is new, and the thread is in an old function.
    expect(run('cat', '/proc/klpdemo')).toMatch(/^klpdemo version [13] /);
    untilSaid(': patching complete');
    expect(run('cat', '/proc/klpdemo')).toMatch(/^klpdemo version 3 \(livepatched\)\n/);
    run('cat', '/proc/cmdline');
    run('echo', '0\n', '/sys/kernel/livepatch/klpdemo_patch_both/enabled');
    untilSaid('unpatching complete');
    stepper.until(() => false, 20_000); // the last line is written before the module is let go
    run('rmmod', 'klpdemo_patch_both');
    run('rmmod', 'klpdemo_target');
    expectTruth();
    const stages = ['saved', 'locals', 'aligned', 'drap', 'alloca'].map((s) => `klpdemo_stage_${s}`);
    const deep = [...stages, 'klpdemo_descend', 'klpdemo_wait', 'klpdemo_work_fn', 'klpdemo_new_check'];
    expect(missing(deep, 20)).toEqual([]);
    expect(missing(['trampoline', 'klp_ftrace_handler'], 100)).toEqual([]);
    const workers = [
      'worker_thread',
      'process_one_work',
      'klp_transition_work_fn',
      'klp_sync',
      'schedule_timeout',
    ];
    const modules = [
      'do_init_module',
      'do_one_initcall',
      'klp_enable_patch',
      'mutex_lock',
      'wait_for_completion',
    ];
    expect(missing([...workers, ...modules])).toEqual([]);
    expect(stepper.total).toBeGreaterThan(50_000);
  });
});

function isNew(seen: Set<string>, stack: readonly number[]): boolean {
  const before = seen.size;
  return seen.add(stack.join()).size > before;
}

describe('an interrupt that interrupts an interrupt', () => {
  it('has both sets of registers walked, wherever the second one comes', async () => {
    await boot(1, 1);
    const spins = machine.spawn('spin');
    machine.spawn('reader', ['/proc/meminfo', '0']);
    const [cpu] = machine.inspect.smp.cpus;
    const interruptsOnStack = () => {
      const frames = stepper.shadow.frames(cpu.stackSlot(), lo32(cpu.sp));
      return frames.filter((f) => f.kind === 'regs').length;
    };
    const places = new Set<string>();
    const seen = new Set<string>();
    for (let i = 0; i < 40_000; i++) {
      const kernel = !cpu.context.userMode && cpu.stackSlot() >= 0;
      // A second one once at each stack where there is a first, or the task would never get on.
      const inside =
        kernel && cpu.processor.interruptsOn && interruptsOnStack() === 1 && isNew(seen, stepper.truth(cpu));
      if (inside) places.add(stepper.place(lo32(cpu.pc)).name);
      const first = kernel && interruptsOnStack() === 0 && i % 10 === 0;
      const spinning = !kernel && machine.inspect.core.current(0) === spins;
      if (!cpu.halted && (inside || first || spinning)) cpu.tickPending = true;
      stepper.step(cpu);
    }
    expectTruth();
    expect([...places]).toEqual(
      expect.arrayContaining(['preempt_schedule_irq', 'finish_task_switch', '__schedule']),
    );
    expect(stepper.nested).toBeGreaterThan(2000);
  });
});
