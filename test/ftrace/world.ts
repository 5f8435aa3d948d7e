// A kernel without a CPU: the guest text of ftrace and livepatch, real fixture modules loaded into it,
// tasks that are only data. Guest functions that a host generator asks for are answered here.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assembleImage } from '../../src/arch/x86_64/asm/assembler.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { AsmImage } from '../../src/asm/assembler.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import { Ftrace } from '../../src/ftrace/ftrace.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { type HostCall, HostFunctions, type HostGenerator } from '../../src/guest/hostcall.ts';
import { GuestMemory, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import type { KernelCore } from '../../src/kernel/core.ts';
import { BUILT_IN, type KernelDescription, tickNs } from '../../src/kernel/description.ts';
import { EventLog, type KernelEvent } from '../../src/kernel/events.ts';
import { FaultInject } from '../../src/kernel/fault_inject.ts';
import { Kallsyms } from '../../src/kernel/kallsyms.ts';
import { Kobjects } from '../../src/kernel/kobject.ts';
import { Printk } from '../../src/kernel/printk.ts';
import { Slab } from '../../src/kernel/slab.ts';
import { Sysfs, type SysfsNode } from '../../src/kernel/sysfs.ts';
import { TaskStruct, TaskTable } from '../../src/kernel/task_struct.ts';
import { Livepatch } from '../../src/livepatch/core.ts';
import type { LivepatchOptions } from '../../src/livepatch/ports.ts';
import { KlpPatch } from '../../src/livepatch/structs.ts';
import { asmDefines } from '../../src/machine/boot/image.ts';
import { type LoadResult, ModuleLoader } from '../../src/module/main.ts';
import { ModuleArena } from '../../src/module/module_alloc.ts';

const CONSTANTS = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

const ROOT = join(import.meta.dirname, '../..');
/** Room for modules: few tests load much, and each world has a buffer of its own, which V8 collects its heap for. */
const MODULES = 4 << 20;
/** And for the image, with the stubs that are made behind its text. */
const IMAGE_ROOM = 2 << 20;

/** Functions of the image that nothing of ours defines, each with an fentry site. */
const TRACED = ['cmdline_proc_show', 'meminfo_proc_show', 'vfs_read', 'do_idle', 'exit_to_user_mode_loop'];
/** The same without: what ftrace and livepatch themselves call. */
const PLAIN = [
  'mutex_lock',
  'mutex_unlock',
  'delayed_work_timer_fn',
  'sched_dynamic_klp_enable',
  'sched_dynamic_klp_disable',
  'preempt_schedule_notrace',
  'schedule_timeout_uninterruptible',
  '__x86_return_thunk',
  'notrace_function',
];

const STUBS = `
${TRACED.map((n) => `SYM_FUNC_START(${n})\nFENTRY\nret\nSYM_FUNC_END(${n})`).join('\n')}
${PLAIN.map((n) => `SYM_FUNC_START(${n})\nret\nSYM_FUNC_END(${n})`).join('\n')}
SYM_FUNC_START(__x86_indirect_thunk_rax)
jmp rax
SYM_FUNC_END(__x86_indirect_thunk_rax)
.section .data..percpu
SYM_DATA_START(current_task)
.quad 0
SYM_DATA_END(current_task)
SYM_DATA_START(__preempt_count)
.quad 0
SYM_DATA_END(__preempt_count)
.section .data
SYM_DATA_START(two_static_ops)
    MEMBERS
    MEMBERS_END sizeof_ftrace_ops
    MEMBERS
    MEMBERS_END sizeof_ftrace_ops
SYM_DATA_END(two_static_ops)
`;

let assembled: Promise<AsmImage> | undefined;

function assemble(): Promise<AsmImage> {
  const defines = asmDefines(BUILT_IN);
  const files = [
    'host.inc',
    'struct.inc',
    'bug.inc',
    'frame.inc',
    'trace_recursion.inc',
    'ftrace_64.s',
    'livepatch.s',
  ];
  const sources = files.map((f) => ({
    path: `asm/x86_64/${f}`,
    text: readFileSync(join(ROOT, 'asm/x86_64', f), 'utf8'),
  }));
  return assembleImage([...sources, { path: 'stubs.s', text: STUBS }], { defines });
}

export interface WorldOptions extends Partial<LivepatchOptions> {
  readonly cpus?: number;
  readonly tasks?: number;
  readonly kernel?: KernelDescription;
}

/** What a task's stack check is told: return addresses, or an error. */
export type FakeStack = readonly Addr[] | number;

export class World {
  readonly image: AsmImage;
  readonly core: KernelCore;
  readonly ftrace: Ftrace;
  readonly livepatch: Livepatch;
  readonly loader: ModuleLoader;
  readonly sysfs = new Sysfs();
  readonly area: ModuleArena;
  readonly events: KernelEvent[] = [];
  /** Guest functions that were called, by name. */
  readonly calls: string[] = [];
  readonly returns = new Map<string, bigint>();
  /** Runs in the place of a guest function, by name. */
  readonly guest = new Map<string, (args: readonly (bigint | number)[]) => bigint | void>();
  /** At each sync of cores, each wait of RCU tasks, each work on all CPUs: what other CPUs do meanwhile. */
  readonly during: { sync?: () => void; rcu?: (what: string) => void; eachCpu?: () => void } = {};
  /** What a livepatch module's init does to its struct klp_patch before it enables it. */
  beforeEnable: (patch: KlpPatch) => void = () => {};
  readonly stacks = new Map<TaskStruct, FakeStack>();
  readonly running = new Set<TaskStruct>();
  readonly queued: { work: Addr; delay: number }[] = [];
  readonly signalled: string[] = [];
  readonly trampolines = new Map<number, { start: number; size: number; template: number }>();
  now = 0;
  current: TaskStruct;
  readonly #nextStub: { addr: Addr };

  static async boot(options: WorldOptions = {}): Promise<World> {
    assembled ??= assemble();
    return new World(await assembled, options);
  }

  private constructor(image: AsmImage, options: WorldOptions) {
    this.image = image;
    const cpus = options.cpus ?? 2;
    const tasks = options.tasks ?? 3;
    const heap = (2 << 20) + (tasks + cpus) * 12288;
    const mem = new GuestMemory({ image: IMAGE_ROOM, heap, stacks: 1, modules: MODULES, users: false });
    this.core = this.#makeCore(mem, cpus, options.kernel ?? BUILT_IN);
    this.#mapImage(mem);
    this.#nextStub = { addr: 0xffffffff81100000n };
    mem.map(this.#nextStub.addr, 0x4000, PROT_READ | PROT_EXEC);
    this.area = new ModuleArena(mem);
    const { core } = this;
    this.ftrace = new Ftrace(core, {
      smp: { syncCores: () => this.#sync() },
      memory: this.area,
      rcu: {
        synchronizeRcuTasksRude: () => this.#rcu('rude'),
        synchronizeRcuTasks: () => this.#rcu('tasks'),
      },
      trampolines: {
        addTrampoline: (spec) => {
          this.trampolines.set(spec.start, spec);
          return spec.start;
        },
        remove: (handle: number) => void this.trampolines.delete(handle),
      },
    });
    if (this.ftrace.init(image.fentrySites) !== 0) throw new Error('ftrace_init');
    this.loader = this.#makeLoader();
    this.livepatch = this.#makeLivepatch(options);
    for (let pid = 1; pid <= tasks; pid++) core.tasks.add(this.#task(pid, `task${pid}`));
    for (let cpu = 0; cpu < cpus; cpu++) {
      const idle = this.#task(0, `swapper/${cpu}`);
      idle.flags = CONSTANTS.PF_IDLE | CONSTANTS.PF_KTHREAD;
      core.tasks.addIdle(cpu, idle);
    }
    this.current = core.tasks.byPid(1) as TaskStruct;
  }

  #makeCore(mem: GuestMemory, cpus: number, kernel: KernelDescription): KernelCore {
    const events = new EventLog(() => ({ t: this.now, cpu: 0 }));
    events.subscribe((e) => this.events.push(e));
    const symbols = new Kallsyms();
    const core = {
      kernel,
      arch: X86_64,
      mem,
      clock: { now: () => this.now },
      events,
      printk: new Printk(events, () => this.now),
      symbols,
      slab: new Slab(mem),
      tasks: new TaskTable(),
      host: new HostFunctions(),
      faults: new FaultInject(() => undefined),
      cpus,
      taints: 0,
      here: () => 0,
      current: () => this.current,
      currentOf: () => this.current,
      sym: (addr: Addr) => symbols.format(addr),
    };
    return core as unknown as KernelCore;
  }

  #mapImage(mem: GuestMemory): void {
    for (const { name, addr, size, bytes } of this.image.sections) {
      if (name === '.data..percpu') continue;
      const pages = (size + 4095) & ~4095;
      mem.map(addr, pages, name === '.text' ? PROT_READ | PROT_EXEC : PROT_READ | PROT_WRITE);
      mem.pokeText(addr, bytes);
    }
    const symbols = this.image.symbols.filter((s) => s.section !== '.data..percpu');
    this.core.symbols.add(
      undefined,
      symbols.map(({ name, addr, size, section }) => ({
        name,
        addr,
        size,
        type: section === '.text' ? 'T' : 'D',
      })),
    );
    for (const { name, gpl } of this.image.exports) {
      this.core.symbols.addExport(name, { addr: this.core.symbols.require(name), gpl });
    }
    this.core.symbols.addExport('__x86_return_thunk', { addr: this.sym('__x86_return_thunk'), gpl: false });
  }

  #task(pid: number, comm: string): TaskStruct {
    const task = new TaskStruct(this.core, this.core.slab.alloc(LAYOUT.task_struct.size, 'task_struct'), 0);
    task.pid = pid;
    task.comm = comm;
    task.patchState = CONSTANTS.KLP_UNDEFINED;
    return task;
  }

  *#sync(): HostGenerator<void> {
    this.during.sync?.();
    yield { relax: true };
  }
  *#rcu(what: string): HostGenerator<void> {
    this.during.rcu?.(what);
    yield { relax: true };
  }

  #makeLoader(): ModuleLoader {
    return new ModuleLoader(this.core, {
      area: this.area,
      pokeText: (addr, bytes) => this.core.mem.pokeText(addr, bytes),
      hooks: {
        ftraceModuleInit: (mod) => this.ftrace.moduleInit(mod.name, mod.fentrySites),
        ftraceModuleEnable: (mod) => this.ftrace.moduleEnable(mod.name),
        ftraceFreeMem: (mod, start, end) => void this.ftrace.freeMem(mod.name, start, end),
        ftraceReleaseMod: (mod) => void this.ftrace.releaseMod(mod.name),
        klpModuleComing: (mod) => this.livepatch.moduleComing(mod.addr),
        klpModuleGoing: (mod) => this.livepatch.moduleGoing(mod.addr),
      },
    });
  }

  #makeLivepatch(options: WorldOptions): Livepatch {
    const world = this;
    const { modules } = this.loader;
    const by = (addr: Addr) => modules.byAddr(addr);
    return new Livepatch(
      this.core,
      this.ftrace,
      new Kobjects(this.core, this.sysfs),
      {
        sched: {
          taskCurr: (task) => this.running.has(task),
          wakeUpState: (task) => {
            this.signalled.push(`wake ${task}`);
            return true;
          },
          setNotifySignal: (task) => void this.signalled.push(`signal ${task}`),
          wakeUpIfIdle: (cpu) => void this.signalled.push(`idle ${cpu}`),
        },
        workqueue: {
          queueWork: (work) => this.queued.push({ work, delay: 0 }) > 0,
          queueDelayedWork: (work, delay) => this.queued.push({ work, delay }) > 0,
          *scheduleOnEachCpu(fn) {
            world.calls.push(`each cpu: ${world.core.symbols.nameOf(fn)}`);
            world.during.eachCpu?.();
            yield { relax: true };
          },
        },
        modules: {
          findModule: (name) => modules.find(name)?.addr,
          sectionOf: (mod, name) => modules.byAddr(mod)?.sections.get(name),
          symbolsNamed: (mod, name) => by(mod)?.symbolsNamed(name) ?? [],
          tryModuleGet: (mod) => {
            const found = by(mod);
            return found !== undefined && modules.tryGet(found);
          },
          modulePut: (mod) => {
            const found = by(mod);
            if (found) modules.put(found);
          },
          // The loader has resolved them.
          applyObjectRelocs: () => 0,
          clearObjectRelocs: () => {},
        },
        stack: {
          saveReliable: (task, entries) => {
            const stack = this.stacks.get(task) ?? [];
            if (typeof stack === 'number') return stack;
            stack.forEach((addr, i) => {
              entries[i] = Number(addr & 0xffffffffn);
            });
            return stack.length;
          },
          format: (task) => {
            const stack = this.stacks.get(task) ?? [];
            return typeof stack === 'number' ? [] : stack.map((a) => this.core.symbols.format(a));
          },
        },
      },
      { reliableStacktrace: true, debug: true, ...options },
    );
  }

  sym(name: string): Addr {
    return this.core.symbols.require(name);
  }

  task(pid: number): TaskStruct {
    return this.core.tasks.byPid(pid) as TaskStruct;
  }

  call(...args: bigint[]): HostCall {
    return { cpu: 0, args, sp: 0n, caller: 0n };
  }

  /** Runs a host generator to its end, answering its calls of guest functions. */
  run<T>(generator: HostGenerator<T>): T {
    let answer = 0n;
    for (let i = 0; i < 100_000; i++) {
      const step = generator.next(answer);
      if (step.done) return step.value;
      answer = 'relax' in step.value ? 0n : this.#guestCall(step.value.call, step.value.args ?? []);
    }
    throw new Error('the generator does not end');
  }

  #guestCall(addr: Addr, args: readonly (bigint | number)[]): bigint {
    if (typeof addr !== 'bigint') throw new Error('a call of nothing');
    const name = this.core.symbols.nameOf(addr) ?? '?';
    if (!name.startsWith('mutex_')) this.calls.push(name);
    const stub = this.guest.get(name);
    if (stub) return stub(args) ?? 0n;
    // The init of a livepatch module does one thing.
    if (name.includes('_patch_') && name.endsWith('_init')) return this.#enableFrom(addr);
    if (/^klpdemo_bad_.*_init$/.test(name)) return this.#enableFrom(addr);
    return this.returns.get(name) ?? 0n;
  }

  #enableFrom(init: Addr): bigint {
    const module = this.core.symbols.lookup(init)?.module as string;
    const patch = this.core.symbols.matches('patch', module)[0].addr;
    this.beforeEnable(new KlpPatch(this.core, patch));
    const host = this.core.host.get('klp_enable_patch');
    return this.run(host?.(this.call(patch)) as HostGenerator<bigint>);
  }

  /** Loads a fixture module, with whatever it imports exported by the image. */
  load(name: string, args = ''): LoadResult {
    const bytes = new Uint8Array(readFileSync(join(ROOT, 'fixtures/modules', `${name}.ko`)));
    this.#exportAll(undefinedSymbols(parseElf(bytes, name, X86_64.elf)).map((s) => s.name));
    return this.run(this.loader.loadModule({ file: `${name}.ko`, bytes, args }));
  }

  unload(name: string): number {
    return this.run(this.loader.deleteModule(name, 0));
  }

  #exportAll(names: Iterable<string>): void {
    const { symbols } = this.core;
    const known = [...symbols.all()].filter((s) => s.module === undefined);
    for (const name of names) {
      if (symbols.findExport(name)) continue;
      const found = known.find((s) => s.name === name);
      const addr = found?.addr ?? this.#nextStub.addr;
      if (!found) {
        known.push({ name, addr, size: 16, type: 'T' });
        this.#nextStub.addr += 16n;
      }
      symbols.addExport(name, { addr, gpl: false });
    }
    symbols.add(undefined, known);
  }

  /** Runs work items that are queued, delayed ones too, until none is or `limit` ran. */
  work(limit = 20): void {
    for (let i = 0; i < limit && this.queued.length > 0; i++) {
      const { work, delay } = this.queued.shift() as { work: Addr; delay: number };
      this.now += delay * tickNs(BUILT_IN);
      const fn = this.core.mem.readU64(work + BigInt(LAYOUT.work_struct.fields.func));
      const host = this.core.host.get(this.core.symbols.nameOf(fn) ?? '');
      const result = host?.(this.call(work));
      if (typeof result === 'object') this.run(result as HostGenerator<unknown>);
    }
  }

  node(path: string): SysfsNode | undefined {
    return this.sysfs.lookup(path);
  }
  /** replace=1 of the next patches that are loaded. */
  replacing(): void {
    this.beforeEnable = (patch) => {
      this.core.mem.writeU8(patch.addr + BigInt(LAYOUT.klp_patch.fields.replace), 1);
    };
  }

  cat(path: string): string | number {
    const node = this.node(path);
    if (node?.kind !== 'file') throw new Error(`${path} is no file`);
    return this.run(node.show());
  }
  echo(text: string, path: string): number {
    const node = this.node(path);
    if (node?.kind !== 'file') throw new Error(`${path} is no file`);
    return this.run(node.store(`${text}\n`, this.call()));
  }

  bytesAt(addr: Addr, count = 5): string {
    return [...this.core.mem.readBytes(addr, count)].map((b) => b.toString(16).padStart(2, '0')).join(' ');
  }

  get dmesg(): string[] {
    return this.core.printk.records.map((r) => r.text);
  }
  /** Only what the livepatch core itself said. */
  get klpLog(): string[] {
    return this.dmesg.filter((l) => l.startsWith('livepatch: ')).map((l) => l.slice('livepatch: '.length));
  }
}
