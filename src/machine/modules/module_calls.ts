// The system calls that load and unload modules, and request_module(). Mirrors finit_module(), delete_module() of
// kernel/module/main.c and kernel/module/kmod.c; what kmod does before it hands a module over is done here too.

import { ElfError } from '../../elf/error.ts';
import { fileOfModule, unpack } from '../../elf/unpack.ts';
import type { FileSystem } from '../../fs/filesystem.ts';
import type { HostCall, HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { negErrno } from '../../kernel/core.ts';
import { UAPI } from '../../kernel/uapi.ts';
import { type FormatContext, vsprintfGuest } from '../../kernel/vsprintf.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { ModuleWait } from '../../livepatch/model.ts';
import {
  type LoadRequest,
  MODULE_INIT_IGNORE_MODVERSIONS,
  MODULE_INIT_IGNORE_VERMAGIC,
} from '../../module/load_info.ts';
import type { ModuleLoader } from '../../module/main.ts';
import type { Module } from '../../module/module.ts';
import { refcountFunctions } from '../../module/refcount.ts';
import { MODULE_INIT_PAUSED, PausedModules } from './paused_modules.ts';
import type { UsermodeHelper } from './usermode_helper.ts';

const { EFAULT, ENOENT } = UAPI;
/** Longest argument string of a module that is read from user memory. */
const ARGS_MAX = 4096;
/** Where request_module() looks. */
const MODULES_DIR = '/lib/modules';
/** Of delete_module(); in the bundle model of finit_module() too: do not wait at the gate. */
/** finit_module()'s flags that the loader goes by. */
const IGNORE = BigInt(MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC);

export class ModuleCalls {
  readonly loader: ModuleLoader;
  /** Why the last load of a task failed, beyond its errno. */
  readonly reasons = new Map<number, string>();
  /** Tasks whose load returned a positive number: the module is not there, and libc and kmod see no error. */
  readonly unnoticed = new Set<number>();
  readonly #core: KernelCore;
  readonly #format: FormatContext;
  readonly #fs: FileSystem;
  readonly #livepatch: Livepatch;
  readonly #paused: PausedModules;
  /** request_module() is modprobe's; without it the calling task loads the module itself. */
  helper: UsermodeHelper | undefined;

  constructor(
    core: KernelCore,
    format: FormatContext,
    loader: ModuleLoader,
    livepatch: Livepatch,
    fs: FileSystem,
  ) {
    this.loader = loader;
    this.#core = core;
    this.#format = format;
    this.#fs = fs;
    this.#livepatch = livepatch;
    this.#paused = new PausedModules(core, loader, livepatch, fs);
    core.host.defineAll({
      __do_sys_finit_module: (call) => this.#finitModule(call),
      __do_sys_delete_module: (call) => this.#deleteModule(call),
      __do_sys_module_unpause: (call) => this.#moduleUnpause(call),
      __request_module: (call) => this.#requestModule(call),
      ...refcountFunctions(loader.modules),
    });
  }

  *#finitModule(call: HostCall): HostGenerator<bigint> {
    const core = this.#core;
    const task = core.currentOf(call);
    const [fd, uargs, flags] = call.args;
    const read = this.#fs.bytesOfFd(task, Number(BigInt.asIntN(32, fd)));
    if (typeof read === 'number') return negErrno(-read);
    const bytes = this.#unpacked(read, 'the module');
    if (!bytes) return negErrno(UAPI.ENOEXEC);
    const unread = core.faults.check('kernel_read_file', `fd ${fd}`);
    if (unread !== 0) return negErrno(-unread);
    const args = core.mem.readUserString(uargs, ARGS_MAX) ?? null;
    const file = `fd ${fd} of ${task}`;
    return yield* this.#gated(call, flags & BigInt(UAPI.O_NONBLOCK) ? 'nonblock' : 'restart', () =>
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
      this.#core.events.emit({ type: 'note', text: error.message });
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
    const { pid } = this.#core.currentOf(call);
    this.reasons.set(pid, result.reason);
    if (result.errno < 0) this.unnoticed.add(pid);
    return negErrno(result.errno);
  }

  /** module_unpause() of the bundle model. */
  *#moduleUnpause(call: HostCall): HostGenerator<bigint> {
    const held = this.#paused.named(call);
    if (typeof held === 'number') return negErrno(-held);
    return yield* this.#gated(call, 'restart', () => this.#paused.unpause(held));
  }

  /** request_module(): 0 also for a module that is there already. */
  *#requestModule(call: HostCall): HostGenerator<bigint> {
    const core = this.#core;
    const args = core.arch.varargs.callArgs(core.mem, call, 2);
    const name = vsprintfGuest(this.#format, call.args[1], args).replaceAll('-', '_');
    if (this.helper) return BigInt.asUintN(64, BigInt(yield* this.helper.modprobe(name)));
    if (this.loader.modules.find(name)) return 0n;
    const found = fileOfModule(name, this.#fs.list(MODULES_DIR) ?? []);
    const file = `${MODULES_DIR}/${found}`;
    const node = this.#fs.ramfs.lookup(file);
    if (!found || !node) return negErrno(ENOENT);
    const bytes = this.#unpacked(node.bytes, file);
    if (!bytes) return negErrno(UAPI.ENOEXEC);
    return yield* this.#gated(call, 'no restart', () => this.#load(call, { bytes, file }));
  }

  /** request_module() by the kernel's own code. @returns what it returns */
  *request(name: string): HostGenerator<number> {
    const { slab, mem, symbols } = this.#core;
    const fmt = slab.tryAlloc(name.length + 1, 'module name');
    if (fmt === 0n) return -UAPI.ENOMEM;
    mem.writeCString(fmt, name);
    const result = yield { call: symbols.require('__request_module'), args: [1, fmt] };
    slab.free(fmt);
    return Number(BigInt.asIntN(32, result));
  }

  /** module_put_and_delete() */
  *putAndDelete(mod: Module): HostGenerator<void> {
    this.loader.modules.put(mod);
    yield* this.loader.deleteModule(mod.name);
  }

  /** A load or unload, which the model may have wait. */
  *#gated(call: HostCall, wait: ModuleWait, work: () => HostGenerator<bigint>): HostGenerator<bigint> {
    const { model } = this.#livepatch;
    const waited = yield* model.lockModules(wait);
    if (waited !== 0) return negErrno(-waited);
    const result = yield* work();
    yield* model.unlockModules(this.#core.currentOf(call));
    return result;
  }

  *#deleteModule(call: HostCall): HostGenerator<bigint> {
    const core = this.#core;
    const [user, flags] = call.args;
    const name = core.mem.readUserString(user, 56);
    if (name === undefined) return negErrno(EFAULT);
    if (name === '') return negErrno(ENOENT);
    return yield* this.#gated(call, flags & BigInt(UAPI.O_NONBLOCK) ? 'nonblock' : 'restart', () =>
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
