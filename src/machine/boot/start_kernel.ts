// The steps of boot, over parts that are whole: what start_kernel() and rest_init() of init/main.c do.

import type { ArchEngine } from '../../arch/engine.ts';
import type { Ftrace } from '../../ftrace/ftrace.ts';
import { PROT_WRITE } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Kobjects } from '../../kernel/kobject.ts';
import { RealSysfs } from '../../kernel/real_sysfs.ts';
import type { Sysfs } from '../../kernel/sysfs.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Fork } from '../../sched/fork.ts';
import type { Timers } from '../../sched/timer.ts';
import type { Workqueue } from '../../sched/workqueue.ts';
import type { Executor } from '../cpu/executor.ts';
import type { HostCallDispatch } from '../cpu/hostcall_dispatch.ts';
import type { Pace } from '../cpu/pace.ts';
import type { RunLoop } from '../cpu/run_loop.ts';
import type { Smp } from '../cpu/smp.ts';
import { MachineError } from '../machine_error.ts';
import { keptKernels } from '../native/cache.ts';
import { type Initcalls, stateOf } from '../native/initcalls.ts';
import { isJoined, joinedSites, kernelSites, untracedSites } from '../native/join.ts';
import { KeptBoot, keptBootName } from '../native/kept_boot.ts';
import { MACHINE_OPTIONS } from '../option_table.ts';
import type { MachineOptions } from '../options.ts';
import type { Traces } from '../truth/traces.ts';
import type { UserTasks } from '../user/user_tasks.ts';
import type { KernelImage, RealKernel } from './image.ts';
import { firstTick, startCpu } from './start_cpu.ts';

interface Booting {
  readonly core: KernelCore;
  readonly smp: Smp;
  readonly sched: Sched;
  readonly fork: Fork;
  readonly ftrace: Ftrace;
  readonly traces: Traces;
  readonly users: UserTasks;
  readonly workqueue: Workqueue;
  readonly loop: RunLoop;
  readonly timers: Timers;
  readonly executor: Executor;
  readonly host: HostCallDispatch;
  readonly initcalls: Initcalls;
  readonly pace: Pace;
  readonly kobjects: Kobjects;
  readonly sysfs: Sysfs;
}

/** From a kernel in memory to one that runs: fentry sites, CPUs with their idle tasks, init, kthreadd, the workers. */
export function startKernel(
  parts: Booting,
  image: KernelImage,
  engine: ArchEngine,
  options: Required<MachineOptions>,
): void {
  const { core, smp, sched, fork, ftrace, traces, users, workqueue } = parts;
  if (isJoined(image)) {
    ftrace.init(joinedSites(image), untracedSites(image));
    ftrace.records.showAs(kernelSites(image, core.arch.fentry.maxOffset));
  } else ftrace.init(image.asm.fentrySites);
  for (let id = 0; id < core.cpus; id++)
    smp.add(startCpu(id, core, engine, fork, (regs) => traces.shadow?.interrupt(regs)));
  const wake = (task: TaskStruct): void => {
    traces.firstFrame(task);
    sched.wakeUpNewTask(task);
  };
  wake(users.create('pause', [], 'init'));
  wake(fork.createKernelThread(core.symbols.require('kthreadd'), 0n, 'kthreadd', undefined));
  workqueue.start();
  smp.current = smp.cpus[0];
  if (isJoined(image)) startReal(parts, image, engine, options, wake);
}

/** Who is told of no core has their states kept here. */
function keepsAll({ core, smp, executor, host, initcalls }: Booting): void {
  core.host.keeps('slab', core.slab);
  core.host.keeps('choices', core.choices);
  core.host.keeps('smp', smp);
  core.host.keeps('executor', executor);
  core.host.keeps('host calls', host);
  core.host.keeps('initcalls', stateOf(initcalls));
}

/** Instructions that they may take: they take four million. */
const MOST_INSTRUCTIONS = 50e6;

/** What they leave to threads and workers is over in this time, ns; where it is not, the machine begins with it under way. */
const REST_NS = 1e9;
/** Of what a kernel says as it dies. */
const MOST_LINES = 40;

/** Pointers to kobjects that boot has made, and their directories. */
const KOBJECTS = [
  ['kernel_kobj', '/kernel'],
  ['klp_root_kobj', '/kernel/livepatch'],
] as const;

/** The real kernel's own init functions, and then its init memory is gone (free_initmem()). */
function startReal(
  parts: Booting,
  { real }: KernelImage & { readonly real: RealKernel },
  engine: ArchEngine,
  options: Required<MachineOptions>,
  wake: (task: TaskStruct) => void,
): void {
  const { core, kobjects, sysfs, workqueue, smp, timers, pace } = parts;
  const { init } = real.native;
  workqueue.startReal();
  // Constants that are known as it boots are written into its text and its read-only data, until mark_rodata_ro().
  const readOnly = real.native.segments.filter(({ protection }) => (protection & PROT_WRITE) === 0);
  for (const { start, size, protection } of readOnly) core.mem.protect(start, size, protection | PROT_WRITE);
  keepsAll(parts);
  const name = keptBootName(real.hash, core.arch.name, options);
  const kept = name === undefined ? undefined : new KeptBoot(core, engine, keptKernels, name);
  if (!kept?.restore()) {
    kept?.begin();
    // On slow CPUs they would not be done before the timeouts of those who wait: their time does not count.
    const { ns } = pace;
    pace.ns = MACHINE_OPTIONS.instructionNs.default;
    const called = runInitcalls(parts, wake);
    pace.ns = ns;
    kept?.end(called);
  }
  // What it took is no time of the machine's: that begins with a kernel that has booted.
  const took = smp.now();
  smp.beginAgain(took, (cpu) => firstTick(core, cpu.id));
  timers.beginAgain(took);
  for (const { start, size, protection } of readOnly) core.mem.protect(start, size, protection);
  for (const [symbol, path] of KOBJECTS)
    kobjects.register(core.mem.readU64(core.symbols.require(symbol)), path);
  const { kset } = core.kernel.structs;
  const modules = core.mem.readU64(core.symbols.require('module_kset'));
  kobjects.register(modules + BigInt(kset.fields.kobj), '/module');
  sysfs.root.guest = new RealSysfs(core);
  for (const { start, size } of real.native.segments)
    if (start >= init.addr && start < init.addr + BigInt(init.size)) core.mem.unmap(start, size);
}

/**
 * A task of its own executes them, and then all that they started comes to rest.
 * @returns the host functions that were called
 * @throws MachineError where one does not come back, or the kernel has an oops: half a boot is none
 */
function runInitcalls(
  { core, fork, loop, initcalls, executor, host }: Booting,
  wake: (task: TaskStruct) => void,
): ReadonlySet<string> {
  const { tasks, printk } = core;
  const before = [...tasks.known()].length;
  const task = fork.createKernelThread(core.symbols.require('kernel_init'), 0n, 'kernel_init', undefined);
  wake(task);
  printk.booting = [];
  const called = new Set<string>();
  const { onServed } = host;
  host.onServed = (cpu, name) => {
    called.add(name);
    onServed?.(cpu, name);
  };
  const died = (): boolean => (core.taints & (1 << core.kernel.constants.TAINT_DIE)) !== 0;
  const isOver = (): boolean =>
    initcalls.done ||
    died() ||
    tasks.byPid(task.pid) === undefined ||
    executor.instructions > MOST_INSTRUCTIONS;
  const isAtRest = (): boolean =>
    died() || ([...tasks.known()].length === before && tasks.curr.every(({ isIdle }) => isIdle));
  loop.runUntil(isOver, Number.MAX_SAFE_INTEGER);
  if (initcalls.done) loop.runUntil(isAtRest, REST_NS);
  if (!initcalls.done || died()) {
    const what = died() ? `had an oops:\n${wordsOf(printk.booting)}` : 'did not come back';
    throw new MachineError(
      `kernel ${core.kernel.release} cannot be booted here: ${initcalls.current}() ${what}`,
    );
  }
  host.onServed = onServed;
  const said = printk.booting;
  printk.booting = undefined;
  // What made the kernel tainted is told as it told it.
  if (core.taints !== 0) for (const { level, text } of said) printk.log(level, text);
  return called;
}

/** Lines of the log from the oops on. */
function wordsOf(said: readonly { readonly text: string }[]): string {
  const lines = said.map(({ text }) => text.trimEnd());
  const end = lines.findIndex((line) => line.startsWith('---[ end trace'));
  return lines.slice(Math.max(0, end - MOST_LINES), end < 0 ? undefined : end).join('\n');
}
