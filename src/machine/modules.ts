// Modules of a machine: the loader wired to ftrace, livepatch and the unwinder, the two system calls,
// and /sys/module. Mirrors kernel/module/main.c (finit_module, delete_module) and sysfs.c.

import { ElfError } from '../elf/error.ts';
import { fileOfModule, unpack } from '../elf/unpack.ts';
import type { FileSystem } from '../fs/filesystem.ts';
import type { Ftrace } from '../ftrace/ftrace.ts';
import { lo32 } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { negErrno } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import type { Sysfs } from '../kernel/sysfs.ts';
import { type FormatContext, vsprintfGuest } from '../kernel/vsprintf.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { ModuleModel, ModuleWait } from '../livepatch/model.ts';
import type { Kmalloc } from '../mm/kmalloc.ts';
import { LivepatchModules } from '../module/livepatch.ts';
import {
  type LoadRequest,
  MODULE_INIT_IGNORE_MODVERSIONS,
  MODULE_INIT_IGNORE_VERMAGIC,
} from '../module/load_info.ts';
import { ModuleLoader } from '../module/main.ts';
import type { Module } from '../module/module.ts';
import type { ModuleArea } from '../module/module_alloc.ts';
import { ReservedChunk } from '../module/percpu.ts';
import type { ModuleLoaderPorts } from '../module/ports.ts';
import { refcountFunctions } from '../module/refcount.ts';
import type { OrcLookup, TextHandle } from '../unwind/orc_lookup.ts';
import { makeModuleDirectory } from './module_sysfs.ts';
import { MODULE_INIT_PAUSED, PausedModules } from './paused_modules.ts';

const { EFAULT, ENOENT } = CONSTANTS;
/** Longest argument string of a module that is read from user memory. */
const ARGS_MAX = 4096;
/** Where request_module() looks. */
const MODULES_DIR = '/lib/modules';
/** Of delete_module(); in the bundle model of finit_module() too: do not wait at the gate. */
const O_NONBLOCK = 0x800n;
const ERESTARTSYS = 512;
/** finit_module()'s flags that the loader goes by. */
const IGNORE = BigInt(MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC);

interface ModuleParts {
  readonly core: KernelCore;
  readonly area: ModuleArea;
  readonly ftrace: Ftrace;
  readonly lookup: OrcLookup;
  readonly mm: Kmalloc;
  readonly sysfs: Sysfs;
  readonly fs: () => FileSystem;
  readonly livepatch: () => Livepatch;
  readonly model: ModuleModel;
  readonly format: FormatContext;
  /** module_blacklist= and module.sig_enforce are taken from it. */
  readonly commandLine: string;
}

export class Modules {
  readonly loader: ModuleLoader;
  /** The same modules as the livepatch core sees them. */
  readonly forLivepatch: LivepatchModules;
  /** Where their per-CPU variables are. */
  readonly percpu: ReservedChunk;
  /** Why the last load of a task failed, beyond its errno. */
  readonly reasons = new Map<number, string>();
  /** Tasks whose load returned a positive number: the module is not there, and libc and kmod see no error. */
  readonly unnoticed = new Set<number>();
  readonly #parts: ModuleParts;
  readonly #paused: PausedModules;
  /** Names of the objects that a livepatch module patches. */
  readonly #patched = new Map<Module, string[]>();
  readonly #text = new Map<Module, { core?: TextHandle; init?: TextHandle }>();

  constructor(parts: ModuleParts) {
    this.#parts = parts;
    const { core, ftrace } = parts;
    this.percpu = new ReservedChunk(core);
    const ports: ModuleLoaderPorts = {
      area: parts.area,
      waitEvent: (condition, timeoutNs) => this.#waitEvent(condition, timeoutNs),
      pokeText: (addr, bytes) => ftrace.textPoke.early(addr, bytes),
      blacklist: bootParam(parts.commandLine, 'module_blacklist')?.split(',') ?? [],
      sigEnforce: /^(|1|y|on)$/i.test(bootParam(parts.commandLine, 'module.sig_enforce') ?? 'no'),
      klpFindObjectSymbol: (object, name, sympos) => parts.livepatch().findObjectSymbol(object, name, sympos),
      synchronous: parts.model.synchronous,
      percpu: this.percpu,
      hooks: {
        ftraceModuleInit: (mod) => ftrace.moduleInit(mod.name, mod.fentrySites),
        ftraceModuleEnable: (mod) => ftrace.moduleEnable(mod.name),
        ftraceReleaseMod: (mod) => ftrace.releaseMod(mod.name),
        ftraceFreeMem: (mod, start, end) => ftrace.freeMem(mod.name, start, end),
        klpModuleComing: (mod) => parts.model.moduleComing(mod, this.#paused.has(mod)),
        klpModuleGoing: (mod) => parts.model.moduleGoing(mod),
        unwindModuleInit: (mod) => this.#addText(mod),
        unwindModuleFree: (mod) => this.#removeText(mod),
        modSysfsSetup: (mod) => this.#sysfsSetup(mod),
        modSysfsTeardown: (mod) => this.#sysfsTeardown(mod),
        notify: (mod, state) => {
          if (state === 'LIVE') this.#moduleLive(mod);
          // Its exit function has run: what it still has, nobody will free.
          if (state === 'GOING') parts.mm.moduleGone(mod.name, this.#heir(mod));
        },
      },
    };
    this.loader = new ModuleLoader(core, ports);
    this.#paused = new PausedModules(parts, this.loader, (call, wait, work) => this.#gated(call, wait, work));
    this.forLivepatch = new LivepatchModules(core, this.loader.modules, ports);
    const finit = (call: HostCall) => this.#finitModule(call);
    const del = (call: HostCall) => this.#deleteModule(call);
    core.host.defineAll({
      __do_sys_finit_module: finit,
      __do_sys_delete_module: del,
      __do_sys_module_unpause: (call) => this.#paused.moduleUnpause(call),
      __request_module: (call) => this.#requestModule(call),
      ...refcountFunctions(this.loader.modules),
    });
  }

  #moduleLive(mod: Module): void {
    this.#removeInitText(mod);
    const patch = this.#parts
      .livepatch()
      .patches()
      .find((p) => p.mod === mod.addr);
    if (patch)
      this.#patched.set(
        mod,
        patch.objects().map((object) => object.displayName),
      );
  }

  /** Whose code goes on with what a livepatch's functions allocated: an object that it patched. */
  #heir(mod: Module): string | undefined {
    const objects = mod.patches ? [mod.patches] : (this.#patched.get(mod) ?? []);
    this.#patched.delete(mod);
    return objects.find((name) => this.find(name)) ?? objects.find((name) => name === 'vmlinux');
  }

  /** wait_event_interruptible_timeout(module_wq, ...): looks once a jiffy. */
  *#waitEvent(condition: () => boolean, timeoutNs: number): HostGenerator<number> {
    const { core } = this.#parts;
    const end = core.clock.now() + timeoutNs;
    const sleep = core.symbols.require('schedule_timeout_interruptible');
    while (!condition()) {
      const task = core.current(core.here());
      if (core.clock.now() >= end) return -CONSTANTS.ETIME;
      if (task.testTif('TIF_SIGPENDING') || task.testTif('TIF_NOTIFY_SIGNAL')) return -ERESTARTSYS;
      yield { call: sleep, args: [1] };
    }
    return 0;
  }

  #addText(mod: Module): void {
    const { orc } = mod;
    const range = (region: 'core' | 'init') => ({
      start: lo32(mod.base(region)),
      size: mod.textSize(region),
    });
    const add = (region: 'core' | 'init') =>
      this.#parts.lookup.addText({ name: mod.name, ranges: [range(region)], ...(orc && { orc }) });
    const handles: { core?: TextHandle; init?: TextHandle } = {};
    if (mod.textSize('core') > 0) handles.core = add('core');
    if (mod.textSize('init') > 0) handles.init = add('init');
    this.#text.set(mod, handles);
  }

  #removeInitText(mod: Module): void {
    const handles = this.#text.get(mod);
    if (handles?.init) this.#parts.lookup.remove(handles.init);
    if (handles) delete handles.init;
  }

  #removeText(mod: Module): void {
    this.#removeInitText(mod);
    const handles = this.#text.get(mod);
    if (handles?.core) this.#parts.lookup.remove(handles.core);
    this.#text.delete(mod);
  }

  #sysfsSetup(mod: Module): number {
    const { core, sysfs } = this.#parts;
    makeModuleDirectory(core, sysfs, mod, this.loader.params.list(mod));
    return 0;
  }

  *#sysfsTeardown(mod: Module): HostGenerator<void> {
    const { sysfs, core } = this.#parts;
    const modules = sysfs.mkdirs('/module');
    const dir = modules.get(mod.name);
    modules.remove(mod.name);
    // A task may be in the functions of a parameter.
    if (dir?.kind === 'directory') yield* dir.drain(core.symbols.require('schedule_timeout_uninterruptible'));
  }

  *#finitModule(call: HostCall): HostGenerator<bigint> {
    const { core } = this.#parts;
    const task = core.currentOf(call);
    const [fd, uargs, flags] = call.args;
    const read = this.#parts.fs().bytesOfFd(task, Number(BigInt.asIntN(32, fd)));
    if (typeof read === 'number') return negErrno(-read);
    const bytes = this.#unpacked(read, 'the module');
    if (!bytes) return negErrno(CONSTANTS.ENOEXEC);
    const unread = core.faults?.check('kernel_read_file', `fd ${fd}`) ?? 0;
    if (unread !== 0) return negErrno(-unread);
    if (uargs !== 0n && !core.mem.isMapped(uargs)) return negErrno(EFAULT);
    const args = uargs === 0n ? '' : core.mem.readCString(uargs, ARGS_MAX);
    const file = `fd ${fd} of ${task}`;
    return yield* this.#gated(call, flags & O_NONBLOCK ? 'nonblock' : 'restart', () =>
      flags & MODULE_INIT_PAUSED
        ? this.#paused.load(call, { bytes, file, args })
        : this.#loadOrJoin(call, { bytes, file, args, flags: Number(flags & IGNORE) }),
    );
  }

  /** What kmod does before it hands a module over; undefined, and said why, where that fails. */
  #unpacked(bytes: Uint8Array, file: string): Uint8Array | undefined {
    try {
      return unpack(bytes, file);
    } catch (error) {
      if (!(error instanceof ElfError)) throw error;
      this.#parts.core.events.emit({ type: 'note', text: error.message });
      return undefined;
    }
  }

  *#loadOrJoin(call: HostCall, request: LoadRequest): HostGenerator<bigint> {
    const patches = this.#paused.patchedBy(request.file, request.bytes);
    if (typeof patches === 'number') return negErrno(-patches);
    return yield* this.#load(call, { ...request, patches });
  }

  *#load(call: HostCall, request: LoadRequest): HostGenerator<bigint> {
    const result = yield* this.loader.loadModule(request);
    if (result.ok) return 0n;
    const { pid } = this.#parts.core.currentOf(call);
    this.reasons.set(pid, result.reason);
    if (result.errno < 0) this.unnoticed.add(pid);
    return negErrno(result.errno);
  }

  /** request_module(): 0 also for a module that is there already. */
  *#requestModule(call: HostCall): HostGenerator<bigint> {
    const { core, format, fs } = this.#parts;
    const name = vsprintfGuest(
      format,
      call.args[1],
      core.arch.varargs.callArgs(core.mem, call, 2),
    ).replaceAll('-', '_');
    if (this.loader.modules.find(name)) return 0n;
    const found = fileOfModule(name, fs().list(MODULES_DIR) ?? []);
    const file = `${MODULES_DIR}/${found}`;
    const node = fs().ramfs.lookup(file);
    if (!found || !node) return negErrno(ENOENT);
    const bytes = this.#unpacked(node.bytes, file);
    if (!bytes) return negErrno(CONSTANTS.ENOEXEC);
    return yield* this.#gated(call, 'no restart', () => this.#load(call, { bytes, file }));
  }

  /** A load or unload, which the model may have wait. */
  *#gated(call: HostCall, wait: ModuleWait, work: () => HostGenerator<bigint>): HostGenerator<bigint> {
    const { core, model } = this.#parts;
    const waited = yield* model.lockModules(wait);
    if (waited !== 0) return negErrno(-waited);
    const result = yield* work();
    yield* model.unlockModules(core.currentOf(call));
    return result;
  }

  *#deleteModule(call: HostCall): HostGenerator<bigint> {
    const { core } = this.#parts;
    const [user, flags] = call.args;
    if (!core.mem.isMapped(user)) return negErrno(EFAULT);
    const name = core.mem.readCString(user, 56);
    if (name === '') return negErrno(ENOENT);
    return yield* this.#gated(call, flags & O_NONBLOCK ? 'nonblock' : 'restart', () =>
      this.#delete(name, Number(flags & 0xffffffffn)),
    );
  }

  *#delete(name: string, flags: number): HostGenerator<bigint> {
    return negErrno(-(yield* this.loader.deleteModule(name, flags)));
  }

  find(name: string): Module | undefined {
    return this.loader.modules.find(name);
  }
}

/** The value of a parameter of the kernel: empty without `=`, undefined when it is not there. The last one counts. */
function bootParam(commandLine: string, name: string): string | undefined {
  const words = commandLine.split(/\s+/).filter((word) => word === name || word.startsWith(`${name}=`));
  return words.at(-1)?.slice(name.length + 1);
}
