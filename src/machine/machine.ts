// A machine: memory, CPUs and the kernel model, put together, and the loop that runs them.
// The one place that knows all subsystems; none of them knows it.

import type { Arch } from '../arch/arch.ts';
import type { ArchEngine } from '../arch/engine.ts';
import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { BundleModel } from '../bundle/model.ts';
import { FileSystem } from '../fs/filesystem.ts';
import { Ftrace } from '../ftrace/ftrace.ts';
import type { KernelCore } from '../kernel/core.ts';
import { BUILT_IN, type KernelDescription } from '../kernel/description.ts';
import type { EventLog } from '../kernel/events.ts';
import { Kobjects } from '../kernel/kobject.ts';
import { SeededRandom } from '../kernel/random.ts';
import { Sysfs } from '../kernel/sysfs.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { ClassicModel } from '../livepatch/classic.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { LivepatchModel } from '../livepatch/model.ts';
import type { Kmalloc } from '../mm/kmalloc.ts';
import { FIRST_MODULE, ModuleArena } from '../module/module_alloc.ts';
import { procModules } from '../module/procfs.ts';
import type { Sched } from '../sched/core.ts';
import type { Exit } from '../sched/exit.ts';
import type { Fork } from '../sched/fork.ts';
import type { Kthreads } from '../sched/kthread.ts';
import type { Timers } from '../sched/timer.ts';
import type { Workqueue } from '../sched/workqueue.ts';
import { imageLookup, userPrograms } from './boot/boot.ts';
import { makeCore, makeMemory } from './boot/hardware.ts';
import { onExit, onFork, onStackGone, onTick } from './boot/hooks.ts';
import { type KernelImage, loadKernelImage } from './boot/image.ts';
import { kernelParts } from './boot/kernel_parts.ts';
import { startKernel } from './boot/start_kernel.ts';
import { makeControlFiles } from './control_files.ts';
import { Executor } from './cpu/executor.ts';
import { HostCallDispatch } from './cpu/hostcall_dispatch.ts';
import { RunLoop } from './cpu/run_loop.ts';
import { ShadowExecutor } from './cpu/shadow_exec.ts';
import { Smp } from './cpu/smp.ts';
import type { Inspect } from './inspect.ts';
import { makeLivepatch } from './livepatch_ports.ts';
import { Modules } from './modules.ts';
import { completeOptions, IMAGES, type MachineOptions, UNWINDERS } from './options.ts';
import { peekSysfs } from './peek_sysfs.ts';
import { ExceptionSites } from './traps/exception_sites.ts';
import { Oops } from './traps/oops.ts';
import { Traps } from './traps/traps.ts';
import { Watchdog } from './traps/watchdog.ts';
import { type Check, checksMade } from './truth/checks.ts';
import { Traces } from './truth/traces.ts';
import { TransitionTruth } from './truth/transition_truth.ts';
import { VersionTruth } from './truth/version_truth.ts';
import { UserTasks } from './user_tasks.ts';
import { type Explanation, explainTransition } from './why.ts';

export type { MachineOptions };

export class Machine {
  readonly options: Required<MachineOptions>;
  /** Everything that happens, as it happens. */
  readonly events: EventLog;
  /** The parts. */
  readonly inspect: Inspect;
  private readonly core: KernelCore;
  private readonly sched: Sched;
  private readonly fork: Fork;
  private readonly exit: Exit;
  private readonly timers: Timers;
  private readonly mm: Kmalloc;
  private readonly workqueue: Workqueue;
  private readonly kthreads: Kthreads;
  private readonly ftrace: Ftrace;
  private readonly modules: Modules;
  private readonly moduleArena: ModuleArena;
  private readonly livepatch: Livepatch;
  /** How livepatches meet modules that come and go. */
  private readonly model: LivepatchModel;
  private readonly fs: FileSystem;
  private readonly sysfs: Sysfs;
  private readonly traces: Traces;
  private readonly oops: Oops;
  private readonly traps: Traps;
  private readonly watchdog: Watchdog;
  private readonly smp: Smp;
  private readonly executor: Executor;
  private readonly loop: RunLoop;
  private readonly users: UserTasks;
  private readonly truth: TransitionTruth;
  private readonly versions: VersionTruth;
  private readonly onBlocks: Inspect['onBlocks'];
  readonly #engine: ArchEngine;

  /**
   * Makes a machine and boots it: idle tasks run, init, kthreadd and the workers exist.
   * @param kernel whose structures the image is assembled for
   * @param arch the instruction set's port
   * @throws MachineOptionError, EngineError, AsmError
   */
  static async boot(
    options: MachineOptions = {},
    kernel: KernelDescription = BUILT_IN,
    arch: Arch = X86_64,
  ): Promise<Machine> {
    const all = completeOptions(options);
    const image = await loadKernelImage(IMAGES[all.unwinder], kernel);
    const mem = makeMemory(arch, all);
    try {
      return new Machine(image, arch, all, mem);
    } catch (error) {
      mem.engine.close();
      throw error;
    }
  }

  private constructor(
    image: KernelImage,
    arch: Arch,
    options: Required<MachineOptions>,
    mem: ReturnType<typeof makeMemory>,
  ) {
    this.options = options;
    this.#engine = mem.engine;
    this.smp = new Smp(new SeededRandom(options.seed ^ 0x5bd1e995));
    const { smp } = this;
    this.core = makeCore(image, arch, mem.memory, this.#engine, smp, options);
    const { core } = this;
    const lookup = imageLookup(image);
    this.traces = new Traces(core, lookup, UNWINDERS[options.unwinder], options.shadow, smp.cpus);
    const kernel = kernelParts(core, smp, image, options);
    const { format } = kernel;
    this.sched = kernel.sched;
    this.fork = kernel.fork;
    this.exit = kernel.exit;
    this.timers = kernel.timers;
    this.mm = kernel.mm;
    this.kthreads = kernel.kthreads;
    this.workqueue = kernel.workqueue;
    const area = new ModuleArena(core.mem, FIRST_MODULE, options.moduleArea, core);
    this.moduleArena = area;
    this.ftrace = new Ftrace(core, {
      smp,
      memory: area,
      rcu: kernel.rcu,
      trampolines: lookup,
    });
    this.sysfs = new Sysfs();
    const kobjects = new Kobjects(core, this.sysfs);
    kobjects.register(core.mem.readU64(core.symbols.require('kernel_kobj')), '/kernel');
    this.model =
      options.model === 'bundle'
        ? new BundleModel({
            core,
            stack: (task) => this.stack(task),
            bytesOfFile: (path) => this.fs.ramfs.lookup(path)?.bytes,
          })
        : new ClassicModel(core);
    this.modules = new Modules({
      core,
      area,
      ftrace: this.ftrace,
      lookup,
      mm: this.mm,
      sysfs: this.sysfs,
      fs: () => this.fs,
      livepatch: () => this.livepatch,
      model: this.model,
      format,
      commandLine: options.cmdline,
    });
    this.livepatch = makeLivepatch(kobjects, {
      core,
      ftrace: this.ftrace,
      sched: this.sched,
      workqueue: this.workqueue,
      modules: this.modules,
      model: this.model,
      traces: this.traces,
      stack: (task) => this.stack(task),
      debug: options.debug,
    });
    this.model.start(this.livepatch, this.modules.loader);
    this.fs = new FileSystem(core, format, {
      sysfs: this.sysfs,
      commandLine: options.cmdline,
      texts: {
        modules: () => procModules(this.modules.loader.modules),
        stack: (task) =>
          this.stack(task)
            .map((line) => `${line}\n`)
            .join(''),
        wchan: (task) => this.traces.wchan(task),
        workerSuffix: (task) => this.workqueue.suffix(task),
        trampolines: () => this.ftrace.trampolines.list().map(({ start }) => start),
      },
    });
    this.users = new UserTasks(core, this.sched, this.fork, this.fs, userPrograms(image.asm));
    makeControlFiles(core, this.fs, this.ftrace, this.livepatch);
    this.oops = new Oops(core, smp.cpus, this.modules.loader.modules, this.traces.stackTrace, this.workqueue);
    this.versions = new VersionTruth(core, this.livepatch);
    this.truth = new TransitionTruth(
      core,
      this.livepatch,
      this.traces,
      smp.cpus,
      this.versions.gaps,
      (func) => this.ftrace.location(func),
    );
    const sites = new ExceptionSites(
      core,
      image.asm,
      this.modules.loader.modules,
      this.ftrace,
      this.traces.shadow,
    );
    this.traps = new Traps(core, smp.cpus, sites, this.oops, this.exit);
    this.watchdog = new Watchdog(core, this.sched, this.oops);
    onTick(core, smp, this.timers, this.sched, this.watchdog);
    const host = new HostCallDispatch(
      core,
      arch.hostStubs.find(image.asm),
      options.unwinder === 'frame pointer',
    );
    const shadow =
      this.traces.shadow && new ShadowExecutor(core, this.#engine, this.traces.shadow, lookup, this.versions);
    core.mem.attach(shadow?.blocks ?? arch.execution.sweep(this.#engine, core.mem));
    this.executor = new Executor(
      this.#engine,
      core,
      host,
      options.instructionNs,
      arch.findIdleLoop(image.asm),
      shadow,
    );
    const { timers, watchdog, oops, executor } = this;
    this.loop = new RunLoop(core, smp, timers, watchdog, oops, executor, options.instructionNs);
    this.onBlocks = (sink) => {
      if (shadow) shadow.onBlock = sink;
    };
    onStackGone(this.traps, [host, this.versions]);
    onFork(this.fork, this.fs, [host, this.versions], this.livepatch, this.traces);
    this.exit.onExit.push((task) => this.model.forget(task));
    onExit(core, this.exit, this.users, this.oops);
    this.events = core.events;
    this.inspect = {
      core: this.core,
      sched: this.sched,
      fork: this.fork,
      exit: this.exit,
      timers: this.timers,
      mm: this.mm,
      workqueue: this.workqueue,
      kthreads: this.kthreads,
      ftrace: this.ftrace,
      modules: this.modules,
      moduleArena: this.moduleArena,
      livepatch: this.livepatch,
      bundles: this.model instanceof BundleModel ? this.model.bundles : undefined,
      fs: this.fs,
      sysfs: this.sysfs,
      traces: this.traces,
      oops: this.oops,
      traps: this.traps,
      watchdog: this.watchdog,
      smp: this.smp,
      executor: this.executor,
      loop: this.loop,
      users: this.users,
      truth: this.truth,
      versions: this.versions,
      onBlocks: this.onBlocks,
    };
    startKernel(this.inspect, image, this.#engine);
  }

  /** Virtual ns since boot. */
  now(): number {
    return this.smp.now();
  }

  /** A regular file of the guest. */
  addFile(path: string, bytes: Uint8Array): void {
    this.fs.addFile(path, bytes);
  }

  /** Starts a program of asm/x86_64/user as a user task, as a shell would. @throws MachineError for an unknown one. */
  spawn(program: string, args: readonly string[] = [], options: { comm?: string } = {}): TaskStruct {
    return this.users.spawn(program, args, options.comm ?? program);
  }

  /** Names of the programs that can be started. */
  programs(): string[] {
    return this.users.programs();
  }

  /** A user task that loads a module from a file of the guest. */
  insmod(path: string, params = ''): TaskStruct {
    return this.spawn('insmod', [path, params]);
  }

  /** A user task that unloads a module. */
  rmmod(name: string): TaskStruct {
    return this.spawn('rmmod', [name]);
  }

  /** Executes one slice of one CPU, or lets time pass to the next timer. @returns false when nothing is left to do. */
  step(limitNs?: number): boolean {
    return this.loop.step(limitNs);
  }

  /** Runs for virtual ns. */
  runFor(ns: number): void {
    this.loop.runFor(ns);
  }

  /** Runs until the condition holds or virtual ns have passed. @returns whether it holds. */
  runUntil(condition: () => boolean, limitNs: number): boolean {
    return this.loop.runUntil(condition, limitNs);
  }

  /** The exit code of a task that has ended (0 to 255; 128 + n for signal n); undefined while it lives. */
  exitStatus(task: TaskStruct): number | undefined {
    return this.users.exitStatus(task);
  }

  /** What a task wrote to its standard output. */
  stdout(task: TaskStruct): string {
    return this.fs.terminal.outputOf(this.users.pidOf(task)).stdout;
  }

  /** Lines of /proc/PID/stack. */
  stack(task: TaskStruct): string[] {
    return this.traces.procStack(task);
  }

  dmesg(): string[] {
    return this.core.printk.dmesg();
  }

  /** The text of a sysfs file, looked at from outside: no task reads it and no time passes. @throws MachineError */
  readText(path: string): string {
    return peekSysfs(this.sysfs, path);
  }

  /** What was held against the ground truth so far. */
  checks(): Check[] {
    return checksMade(this.traces, this.truth, this.versions);
  }

  /** Why the transition that is under way is not over; undefined when none is. */
  why(): Explanation | undefined {
    return explainTransition(this);
  }

  close(): void {
    this.#engine.close();
  }
}
