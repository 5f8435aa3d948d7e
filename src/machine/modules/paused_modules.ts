// Modules that user space loads paused and brings to life itself: finit_module() with MODULE_INIT_PAUSED gives a
// handle, module_unpause() of it does the rest. The bundle model's variation; it has no counterpart in the kernel.
//
// Invariant: a handle that is closed before it was unpaused, also by its owner's death, takes the module with it.

import { BundleError } from '../../bundle/error.ts';
import { patchModule } from '../../bundle/format.ts';
import type { FileSystem } from '../../fs/filesystem.ts';
import type { Addr } from '../../guest/addr.ts';
import type { HostCall, HostGenerator } from '../../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../../kernel/core.ts';
import { UAPI } from '../../kernel/uapi.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { LoadRequest } from '../../module/load_info.ts';
import type { ModuleLoader } from '../../module/main.ts';
import type { Module } from '../../module/module.ts';

/** Of finit_module(), in the bundle model. */
export const MODULE_INIT_PAUSED = 0x100n;

/** A module that user space holds, by the file of its handle. */
interface Held {
  readonly file: Addr;
  readonly mod: Module;
}

export class PausedModules {
  readonly #core: KernelCore;
  readonly #loader: ModuleLoader;
  readonly #livepatch: Livepatch;
  readonly #fs: FileSystem;
  readonly #byFile = new Map<Addr, Module>();

  constructor(core: KernelCore, loader: ModuleLoader, livepatch: Livepatch, fs: FileSystem) {
    this.#core = core;
    this.#loader = loader;
    this.#livepatch = livepatch;
    this.#fs = fs;
  }

  /** The paused module that a patch module is for: it is loaded as a member of it; -errno when it may not be. */
  patchedBy(file: string, bytes: Uint8Array): string | number | undefined {
    if (this.#byFile.size === 0) return undefined;
    try {
      const { name, object } = patchModule(file, bytes, this.#core.arch.elf, this.#core.kernel);
      const target = this.#loader.modules.find(object);
      if (!target?.held) return undefined;
      return this.#livepatch.model.joins(object, name, bytes) || object;
    } catch (error) {
      if (error instanceof BundleError) return undefined;
      throw error;
    }
  }

  /** @returns the handle, or -errno */
  *load(call: HostCall, request: LoadRequest): HostGenerator<bigint> {
    const refused = this.#livepatch.model.pausing('finit_module');
    if (refused !== 0) return negErrno(-refused);
    const result = yield* this.#loader.loadPaused(request);
    if (!result.ok) return negErrno(result.errno);
    const { module } = result;
    module.klpAlive = true;
    const task = this.#core.currentOf(call);
    const fd = this.#fs.openHandle(task, (file) => this.#closed(file));
    const file = fd < 0 ? undefined : this.#fs.files.file(task, fd);
    if (file === undefined) {
      yield* this.#loader.dropPaused(module);
      return negErrno(UAPI.EMFILE);
    }
    this.#byFile.set(file, module);
    module.held = true;
    return BigInt(fd);
  }

  /** The module that module_unpause() names by its handle; -errno where there is none. */
  named(call: HostCall): Held | number {
    const refused = this.#livepatch.model.pausing('module_unpause');
    if (refused !== 0) return refused;
    const file = this.#fs.files.file(this.#core.currentOf(call), Number(BigInt.asIntN(32, call.args[0])));
    const mod = file !== undefined ? this.#byFile.get(file) : undefined;
    return file === undefined || !mod ? -UAPI.EBADF : { file, mod };
  }

  /** module_unpause() */
  *unpause({ file, mod }: Held): HostGenerator<bigint> {
    // Somebody else was faster while this task waited on the gate.
    if (this.#byFile.get(file) !== mod) return negErrno(UAPI.EBADF);
    const refused = this.#livepatch.model.mayUnpause(mod);
    if (refused !== 0) return negErrno(-refused);
    // From here on it is a load as any other, and the handle has no part in it, though its init may fall over.
    this.#byFile.delete(file);
    const result = yield* this.#loader.unpause(mod);
    mod.held = false;
    return result.ok ? 0n : negErrno(result.errno);
  }

  *#closed(file: Addr): HostGenerator<void> {
    const mod = this.#byFile.get(file);
    if (!mod) return;
    const { model } = this.#livepatch;
    const waited = yield* model.lockModules('no restart');
    yield* this.#loader.dropPaused(mod);
    this.#byFile.delete(file);
    // A task that is being killed does not wait.
    if (waited === 0) yield* model.unlockModules(this.#core.current(this.#core.here()));
  }
}
