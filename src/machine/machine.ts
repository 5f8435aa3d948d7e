// A machine: memory, CPUs and the kernel model, put together, and its public face.
// The one place that knows all subsystems; none of them knows it.
//
// Invariant: the constructor is a list of steps, each over parts that are whole. Who wants to know of a later part's
// doings is registered afterwards (boot/hooks.ts); what runs at boot is boot/start_kernel.ts. The order is part of the
// trace: it is that of the seeded generators' draws and of guest memory.

import type { Arch } from '../arch/arch.ts';
import type { ArchEngine } from '../arch/engine.ts';
import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { BUILT_IN, type KernelDescription } from '../kernel/description.ts';
import type { EventLog } from '../kernel/events.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { imageLookup, userPrograms, userText } from './boot/boot.ts';
import { makeChance } from './boot/chance.ts';
import { fileSystem } from './boot/files.ts';
import { type MadeMemory, makeCore, makeMemory } from './boot/hardware.ts';
import { onExit, onFork, onStackGone } from './boot/hooks.ts';
import { type KernelImage, loadKernelImage, loadRealImage } from './boot/image.ts';
import { kernelParts } from './boot/kernel_parts.ts';
import { keepLoadavg } from './boot/loadavg.ts';
import { patchingParts, useBundles, useSubmodules } from './boot/patching.ts';
import { startKernel } from './boot/start_kernel.ts';
import { makeSteering } from './boot/steering.ts';
import { trapParts } from './boot/trap_parts.ts';
import { oopsLimitFile } from './control_files.ts';
import { Executor } from './cpu/executor.ts';
import { HostCallDispatch } from './cpu/hostcall_dispatch.ts';
import type { Pace } from './cpu/pace.ts';
import { RunLoop } from './cpu/run_loop.ts';
import { Smp } from './cpu/smp.ts';
import { blockSink, watchedExecutor } from './cpu/watched_exec.ts';
import type { Inspect } from './inspect.ts';
import { fromOutside } from './machine_error.ts';
import { ModuleCalls } from './modules/module_calls.ts';
import { openKernel } from './native/cache.ts';
import { defineInitcalls } from './native/initcalls.ts';
import { completeOptions, IMAGES, type MachineOptions } from './options.ts';
import { peekSysfs } from './peek_sysfs.ts';
import { parseSchedule } from './schedule.ts';
import { checksMade, type TruthCheck } from './truth/checks.ts';
import { Traces } from './truth/traces.ts';
import { TransitionTruth } from './truth/transition_truth.ts';
import { VersionTruth } from './truth/version_truth.ts';
import { UserTasks } from './user/user_tasks.ts';
import { type Explanation, explainTransition } from './why.ts';

export type { MachineOptions };

export class Machine {
  readonly options: Required<MachineOptions>;
  /** Everything that happens, as it happens. */
  readonly events: EventLog;
  /** The parts. */
  readonly inspect: Inspect;
  readonly #engine: ArchEngine;

  /**
   * Makes a machine and boots it: idle tasks run, init, kthreadd and the workers exist.
   * @param kernel whose structures the image is assembled for, where the options name no kernel's file
   * @param arch the instruction set's port
   * @throws MachineOptionError, ScheduleError, KernelFileError, EngineError, UnicornNotFoundError, InstallationError, AsmError, ObjtoolError, HostCallError
   */
  static async boot(
    options: MachineOptions = {},
    kernel: KernelDescription = BUILT_IN,
    arch: Arch = X86_64,
  ): Promise<Machine> {
    const all = completeOptions(options);
    const flavour = IMAGES[all.unwinder];
    const image =
      all.kernel === ''
        ? await loadKernelImage(flavour, kernel, arch)
        : await loadRealImage(openKernel(all.kernel, arch), arch, flavour);
    const mem = makeMemory(arch, image, all);
    try {
      return new Machine(image, arch, all, mem);
    } catch (error) {
      mem.engine.close();
      throw error;
    }
  }

  private constructor(image: KernelImage, arch: Arch, options: Required<MachineOptions>, made: MadeMemory) {
    const { memory, engine } = made;
    const schedule = options.schedule === '' ? undefined : parseSchedule(options.schedule);
    const chance = makeChance(schedule?.seed ?? options.seed);
    const smp = new Smp(chance.choices);
    const core = makeCore(image, arch, made, smp, chance, options);
    const lookup = imageLookup(image);
    const traces = new Traces(core, engine, lookup, options, smp.cpus);
    const kernel = kernelParts(core, smp, image, options);
    const patching = patchingParts(core, smp, kernel, traces, lookup, options, image.real !== undefined);
    const { ftrace, livepatch, loader, kobjects } = patching;

    const fs = fileSystem(core, kernel, patching, traces, options.cmdline);
    const bundles = options.model === 'bundle' ? useBundles(core, patching, fs, traces, kernel) : undefined;
    const modules = new ModuleCalls(core, kernel.format, loader, livepatch, fs);
    const users = new UserTasks(core, kernel, fs, userPrograms(image.asm), userText(image.asm));
    if (options.model === 'per-object modules')
      useSubmodules(core, patching, modules, { fs, users, ...kernel });

    const versions = new VersionTruth(core, livepatch);
    const truth = new TransitionTruth(core, livepatch, traces, smp.cpus, versions.gaps, ftrace);
    const trapping = trapParts(core, smp, kernel, patching, traces, image);
    oopsLimitFile(fs, trapping.oops);
    const { oops, traps, watchdog } = trapping;

    const initcalls = defineInitcalls(core);
    const [stubs, native] = [arch.hostStubs.find(image.asm), image.real?.hosting.places];
    const host = new HostCallDispatch(core, stubs, options.unwinder === 'frame pointer', native);
    const pace: Pace = { ns: options.instructionNs };
    const watched = traces.shadow && watchedExecutor(core, engine, traces.shadow, lookup, versions, pace);
    if (!watched) memory.attach(arch.execution.sweep(engine, memory));
    const executor = new Executor(engine, core, host, pace, arch.findIdleLoop(image.asm), watched);
    const loop = new RunLoop(core, smp, kernel.timers, watchdog, oops, executor, pace);

    onStackGone(traps, [host, versions]);
    onFork(kernel.fork, fs, [host, versions], livepatch, traces);
    onExit(core, kernel.exit, livepatch, users, oops);
    keepLoadavg(core, fs, kernel.sched, kernel.fork);

    const files = { fs, modules, bundles, users };
    const checks = { traces, truth, versions };
    const steering = makeSteering(core, kernel, livepatch, { smp, host, executor });
    const running = { smp, host, executor, loop, steering, onBlocks: blockSink(watched) };
    this.inspect = { core, ...kernel, ...patching, ...files, ...checks, ...trapping, ...running };
    this.options = options;
    this.events = core.events;
    this.#engine = engine;
    if (schedule) steering.follow(schedule);
    startKernel({ ...this.inspect, kobjects, initcalls, pace }, image, engine, options);
  }

  /** Virtual ns since boot. */
  now(): number {
    return this.inspect.smp.now();
  }

  /** A regular file of the guest. */
  addFile(path: string, bytes: Uint8Array): void {
    this.inspect.fs.addFile(path, bytes);
  }

  /**
   * Starts a program of asm/x86_64/user as a user task, as a shell would.
   * @throws MachineError for an unknown one, and where the kernel's memory is broken; KernelError, SlabError where there is no room for another task
   */
  spawn(program: string, args: readonly string[] = [], options: { comm?: string } = {}): TaskStruct {
    return fromOutside(`${program} cannot be started`, () =>
      this.inspect.users.spawn(program, args, options.comm ?? program),
    );
  }

  /** Names of the programs that can be started. */
  programs(): string[] {
    return this.inspect.users.programs();
  }

  /** A user task that loads a module from a file of the guest. @throws KernelError, SlabError as spawn() */
  insmod(path: string, params = ''): TaskStruct {
    return this.spawn('insmod', [path, params]);
  }

  /** A user task that unloads a module. @throws KernelError, SlabError as spawn() */
  rmmod(name: string): TaskStruct {
    return this.spawn('rmmod', [name]);
  }

  /**
   * Executes one slice of one CPU, or lets time pass to the next timer. @returns false when nothing is left to do.
   * @throws GuestPanic, GroundTruthError, HostCallError, MachineError
   */
  step(limitNs?: number): boolean {
    return this.inspect.loop.step(limitNs);
  }

  /** Runs for virtual ns. @throws GuestPanic, GroundTruthError, HostCallError, MachineError */
  runFor(ns: number): void {
    this.inspect.loop.runFor(ns);
  }

  /**
   * Runs until the condition holds or virtual ns have passed. @returns whether it holds.
   * @throws GuestPanic, GroundTruthError, HostCallError, MachineError
   */
  runUntil(condition: () => boolean, limitNs: number): boolean {
    return this.inspect.loop.runUntil(condition, limitNs);
  }

  /**
   * Runs to an exact number of instructions since boot, of all CPUs, and stops between two of them; what runs on from there
   * is as if it had not stopped. @returns false when nothing is left to execute before
   * @throws GuestPanic, GroundTruthError, HostCallError, MachineError
   */
  runToInstruction(count: number): boolean {
    return this.inspect.loop.runToInstruction(count);
  }

  /** The exit code of a task that has ended (0 to 255; 128 + n for signal n); undefined while it lives. */
  exitStatus(task: TaskStruct): number | undefined {
    return this.inspect.users.exitStatus(task);
  }

  /** What a task wrote to its standard output. */
  stdout(task: TaskStruct): string {
    const { fs, users } = this.inspect;
    return fs.terminal.outputOf(users.pidOf(task)).stdout;
  }

  /** Lines of /proc/PID/stack. */
  stack(task: TaskStruct): string[] {
    return fromOutside('the stack cannot be read', () => this.inspect.traces.format(task));
  }

  dmesg(): string[] {
    return this.inspect.core.printk.dmesg();
  }

  /** The text of a sysfs file, looked at from outside: no task reads it and no time passes. @throws MachineError */
  readText(path: string): string {
    return fromOutside(`${path} cannot be read`, () => peekSysfs(this.inspect.sysfs, path));
  }

  /** What was held against the ground truth so far. */
  checks(): TruthCheck[] {
    const { traces, truth, versions } = this.inspect;
    return checksMade(traces, truth, versions);
  }

  /** What of the machine's schedule has not come to pass, a sentence each. */
  unmetSchedule(): string[] {
    return this.inspect.steering.unmet();
  }

  /** Whether a CPU stands still, or a task is kept from one, as a schedule says. */
  holds(): boolean {
    return this.inspect.smp.holds || this.inspect.sched.holds;
  }

  /** Why the transition that is under way is not over; undefined when none is. */
  why(): Explanation | undefined {
    return fromOutside('the transition cannot be explained', () => explainTransition(this.inspect));
  }

  close(): void {
    this.#engine.close();
  }
}
