// A machine: memory, CPUs and the kernel model, put together, and the loop that runs them.
// The one place that knows all subsystems; none of them knows it.

import type { Arch } from '../arch/arch.ts';
import type { ArchEngine } from '../arch/engine.ts';
import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { BundleModel } from '../bundle/model.ts';
import { FileSystem } from '../fs/filesystem.ts';
import { Ftrace } from '../ftrace/ftrace.ts';
import { type Addr, lo32 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { BUILT_IN, type KernelDescription } from '../kernel/description.ts';
import type { EventLog } from '../kernel/events.ts';
import { Kobjects } from '../kernel/kobject.ts';
import { defineLib, formatContext } from '../kernel/lib.ts';
import { defineParams } from '../kernel/params.ts';
import { SeededRandom } from '../kernel/random.ts';
import { defineRandom } from '../kernel/random_bytes.ts';
import { Sysfs } from '../kernel/sysfs.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { vsprintfGuest } from '../kernel/vsprintf.ts';
import { ClassicModel } from '../livepatch/classic.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { LivepatchModel } from '../livepatch/model.ts';
import type { Kmalloc } from '../mm/kmalloc.ts';
import { defineMm } from '../mm/mm.ts';
import { defineUsercopy } from '../mm/usercopy.ts';
import { FIRST_MODULE, ModuleArena, warnVmalloc } from '../module/module_alloc.ts';
import { printModules, procModules } from '../module/procfs.ts';
import { Sched } from '../sched/core.ts';
import { Exit } from '../sched/exit.ts';
import { Fork } from '../sched/fork.ts';
import { Kthreads } from '../sched/kthread.ts';
import { Locking } from '../sched/locking.ts';
import { defineTime } from '../sched/time.ts';
import { Timers } from '../sched/timer.ts';
import { defineWait } from '../sched/wait.ts';
import { Workqueue } from '../sched/workqueue.ts';
import { OrcLookup } from '../unwind/orc_lookup.ts';
import { hostStubs, idleWoken, userPrograms } from './boot/boot.ts';
import { makeCore, makeMemory } from './boot/hardware.ts';
import { type KernelImage, loadKernelImage } from './boot/image.ts';
import { startCpu } from './boot/start_cpu.ts';
import { makeControlFiles } from './control_files.ts';
import { Executor } from './cpu/executor.ts';
import { HostCallDispatch } from './cpu/hostcall_dispatch.ts';
import { RunLoop } from './cpu/run_loop.ts';
import { ShadowExecutor } from './cpu/shadow_exec.ts';
import { Smp } from './cpu/smp.ts';
import { TextGuard } from './cpu/text_guard.ts';
import type { Inspect } from './inspect.ts';
import { makeLivepatch } from './livepatch_ports.ts';
import { MachineError } from './machine_error.ts';
import { Modules } from './modules.ts';
import { completeOptions, IMAGES, type MachineOptions, UNWINDERS } from './options.ts';
import { peekSysfs } from './peek_sysfs.ts';
import { Rcu } from './rcu.ts';
import { Oops } from './traps/oops.ts';
import { printTainted } from './traps/tainted.ts';
import { trapPorts } from './traps/trap_ports.ts';
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
  readonly #host: HostCallDispatch;
  readonly #lookup = new OrcLookup();

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
    this.core = makeCore(image, arch, mem.memory, this.#engine, this.smp, options, (id) =>
      this.sched.curr(id),
    );
    const { core, smp } = this;
    const cpu = (id: number) => smp.cpus[id];
    const framePointers = options.unwinder === 'frame pointer';
    this.#host = new HostCallDispatch(core, framePointers);
    this.traces = new Traces(core, this.#lookup, UNWINDERS[options.unwinder], options.shadow, cpu);
    this.sched = new Sched(core, smp);
    const format = formatContext(core);
    defineLib(core, format);
    defineParams(core);
    this.timers = new Timers(core, this.sched);
    const rcu = new Rcu(core, this.sched, this.timers, cpu);
    this.mm = defineMm(core, format, {
      tainted: () => printTainted(core.taints),
      afterGracePeriod: (done) => rcu.afterGracePeriod(done),
    });
    const imageText = image.asm.sections.find((s) => s.name === '.text') ?? { addr: 0n, size: 0 };
    defineUsercopy(core, [imageText.addr, imageText.addr + BigInt(imageText.size)], (addr) =>
      this.mm.objectAt(addr),
    );
    defineRandom(core, options.seed ^ 0x72616e64);
    defineTime(core, this.timers);
    defineWait(core, this.sched);
    const locking = new Locking(core, this.sched);
    this.fork = new Fork(core, this.sched, framePointers);
    this.exit = new Exit(core, this.sched, this.fork, locking);
    this.kthreads = new Kthreads(core, this.sched, this.fork, this.exit, locking, (fmt, next) =>
      vsprintfGuest(format, fmt, next),
    );
    this.workqueue = new Workqueue(core, this.sched, this.timers, this.kthreads);
    const area = new ModuleArena(core.mem, FIRST_MODULE, options.moduleArea);
    this.moduleArena = area;
    area.full = (size) => warnVmalloc(core, size);
    area.fault = (size) => core.faults?.check('module_alloc', `${size} bytes`) !== 0;
    this.ftrace = new Ftrace(core, {
      smp,
      memory: area,
      rcu,
      trampolines: this.#lookup,
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
      lookup: this.#lookup,
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
    this.oops = new Oops(core, {
      cpu,
      modulesLinkedIn: () => printModules(this.modules.loader.modules),
      unwinder: () => this.traces.stackTrace.unwinder,
      worker: (task) => this.workqueue.info(task),
    });
    this.traps = new Traps(
      core,
      this.oops,
      trapPorts(core, image.asm, {
        cpu,
        ftrace: this.ftrace,
        exit: this.exit,
        modules: this.modules,
        shadow: this.traces.shadow,
        abandonStack: (cpu) => this.#forgetStack(cpu.stackSlot()),
      }),
    );
    this.watchdog = new Watchdog(core, this.sched, this.oops);
    this.versions = new VersionTruth(core, this.livepatch);
    const { gaps } = this.versions;
    const siteOf = (func: Addr): Addr => this.ftrace.location(func);
    this.truth = new TransitionTruth(core, this.livepatch, this.traces, cpu, gaps, siteOf);
    const shadow =
      this.traces.shadow &&
      new ShadowExecutor(this.#engine, core.mem, this.traces.shadow, {
        isTrampoline: (address) => this.#lookup.ftraceTrampoline(address) !== 0,
        entered: (id, slot, site) => this.versions.entered(id, slot, site),
        left: (id, slot, target) => this.versions.left(id, slot, target),
      });
    this.executor = new Executor(
      this.#engine,
      core,
      this.#host,
      options.instructionNs,
      idleWoken(image.asm),
      shadow,
    );
    this.loop = new RunLoop({
      core,
      smp,
      timers: this.timers,
      watchdog: this.watchdog,
      oops: this.oops,
      executor: this.executor,
      instructionNs: options.instructionNs,
    });
    this.onBlocks = (sink) => {
      if (shadow) shadow.onBlock = sink;
    };
    const swept = shadow ? undefined : new TextGuard(this.#engine, core.mem);
    core.mem.attach(
      mem.listener({
        changed: () => shadow?.textChanged(),
        executable: (base, size) => swept?.sweep(base, size),
        gone: (base, size) => swept?.forget(base, size),
      }),
    );
    core.host.define('hrtimer_interrupt', ({ cpu, args }) => {
      this.timers.run(smp.now());
      this.sched.tick(cpu);
      this.watchdog.tick(cpu, args[0]);
    });
    this.#host.bind(hostStubs(image.asm));
    this.#start(image);
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
  }

  #start(image: KernelImage): void {
    const { core, smp, options } = this;
    const text = image.asm.sections.find((s) => s.name === '.text');
    if (!text) throw new MachineError('the image has no text');
    this.#lookup.addText({
      name: 'vmlinux',
      ranges: [{ start: lo32(text.addr), size: text.size }],
      orc: image.orc,
    });
    this.ftrace.init(image.asm.fentrySites);
    this.fork.onFork.push((parent, child, copied) => {
      // The one step that can fail, before any that would have to be undone.
      if (copied) this.fs.copyFiles(parent, child);
      this.#forgetStack(child.stackSlot);
      this.livepatch.copyProcess(parent, child);
      this.#firstFrame(child);
    });
    this.exit.onExit.push((task) => this.model.forget(task));
    this.exit.onExit.push((task, code) => {
      this.users.exited(task, code);
      const exitcode = `0x${code.toString(16).padStart(8, '0')}`;
      if (task.pid === 1) this.oops.panic(core.here(), `Attempted to kill init! exitcode=${exitcode}`);
    });
    const cpuPorts = {
      core,
      engine: this.#engine,
      fork: this.fork,
      cpus: options.cpus,
      interrupted: (regs: number) => this.traces.shadow?.interrupt(regs),
    };
    for (let id = 0; id < options.cpus; id++) smp.add(startCpu(id, cpuPorts));
    const init = this.users.create('pause', [], 'init');
    this.#firstFrame(init);
    this.sched.wakeUpNewTask(init);
    const kthreadd = this.fork.createKernelThread(
      core.symbols.require('kthreadd'),
      0n,
      'kthreadd',
      undefined,
    );
    this.#firstFrame(kthreadd);
    this.sched.wakeUpNewTask(kthreadd);
    this.workqueue.start();
    smp.current = smp.cpus[0];
  }

  /** No call made a new task's first frame: it is the return address of the frame that is switched to. */
  #firstFrame(task: TaskStruct): void {
    const { ret_addr } = this.core.kernel.structs.inactive_task_frame.fields;
    this.traces.shadow?.fork(task.spLo + ret_addr, lo32(this.core.symbols.require('ret_from_fork')));
  }

  /** Nothing that was going on on a stack goes on. */
  #forgetStack(slot: number): void {
    this.#host.forget(slot);
    this.versions.forget(slot);
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
    const cpu = task.onCpu ? this.smp.cpus.find((c) => this.core.current(c.id) === task) : undefined;
    return this.traces.procStack(task, cpu);
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

/** ret_addr of struct inactive_task_frame. */
