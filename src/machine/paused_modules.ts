// Modules that user space loads paused and brings to life itself: finit_module() with MODULE_INIT_PAUSED gives a
// handle, module_unpause() of it does the rest. The bundle model's variation; it has no counterpart in the kernel.
//
// Invariant: a handle that is closed before it was unpaused, also by its owner's death, takes the module with it.

import { BundleError } from '../bundle/error.ts';
import { patchModule } from '../bundle/format.ts';
import type { FileSystem } from '../fs/filesystem.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import { CONSTANTS } from '../kernel/layout.ts';
import type { ModuleModel, ModuleWait } from '../livepatch/model.ts';
import type { LoadRequest } from '../module/load_info.ts';
import type { ModuleLoader } from '../module/main.ts';
import type { Module } from '../module/module.ts';

/** Of finit_module(), in the bundle model. */
export const MODULE_INIT_PAUSED = 0x100n;

interface Parts {
  readonly core: KernelCore;
  readonly fs: () => FileSystem;
  readonly model: ModuleModel;
}

type Gated = (call: HostCall, wait: ModuleWait, work: () => HostGenerator<bigint>) => HostGenerator<bigint>;

export class PausedModules {
  readonly #parts: Parts;
  readonly #loader: ModuleLoader;
  readonly #gated: Gated;
  readonly #byFile = new Map<Addr, Module>();

  constructor(parts: Parts, loader: ModuleLoader, gated: Gated) {
    this.#parts = parts;
    this.#loader = loader;
    this.#gated = gated;
  }

  /** Is the module user space's to patch and to unpause? */
  has(mod: Module): boolean {
    return [...this.#byFile.values()].includes(mod);
  }

  /** The paused module that a patch module is for: it is loaded as a member of it; -errno when it may not be. */
  patchedBy(file: string, bytes: Uint8Array): string | number | undefined {
    if (this.#byFile.size === 0) return undefined;
    try {
      const { name, object } = patchModule(file, bytes);
      const target = this.#loader.modules.find(object);
      if (!target || !this.has(target)) return undefined;
      return this.#parts.model.joins(object, name, bytes) || object;
    } catch (error) {
      if (error instanceof BundleError) return undefined;
      throw error;
    }
  }

  /** @returns the handle, or -errno */
  *load(call: HostCall, request: LoadRequest): HostGenerator<bigint> {
    const { core, model } = this.#parts;
    const refused = model.pausing('finit_module');
    if (refused !== 0) return negErrno(-refused);
    const result = yield* this.#loader.loadPaused(request);
    if (!result.ok) return negErrno(result.errno);
    const { module } = result;
    module.klpAlive = true;
    const task = core.currentOf(call);
    const fd = this.#parts.fs().openHandle(task, (file) => this.#closed(file));
    const file = fd < 0 ? undefined : this.#parts.fs().files.file(task, fd);
    if (file === undefined) {
      yield* this.#loader.dropPaused(module);
      return negErrno(CONSTANTS.EMFILE);
    }
    this.#byFile.set(file, module);
    return BigInt(fd);
  }

  /** module_unpause() */
  *moduleUnpause(call: HostCall): HostGenerator<bigint> {
    const { core, fs, model } = this.#parts;
    const refused = model.pausing('module_unpause');
    if (refused !== 0) return negErrno(-refused);
    const file = fs().files.file(core.currentOf(call), Number(BigInt.asIntN(32, call.args[0])));
    const mod = file !== undefined ? this.#byFile.get(file) : undefined;
    if (file === undefined || !mod) return negErrno(CONSTANTS.EBADF);
    return yield* this.#gated(call, 'restart', () => this.#unpause(file, mod));
  }

  *#unpause(file: Addr, mod: Module): HostGenerator<bigint> {
    const refused = this.#parts.model.mayUnpause(mod);
    if (refused !== 0) return negErrno(-refused);
    const result = yield* this.#loader.unpause(mod);
    this.#byFile.delete(file);
    return result.ok ? 0n : negErrno(result.errno);
  }

  *#closed(file: Addr): HostGenerator<void> {
    const mod = this.#byFile.get(file);
    if (!mod) return;
    const { core, model } = this.#parts;
    const waited = yield* model.lockModules('no restart');
    yield* this.#loader.dropPaused(mod);
    this.#byFile.delete(file);
    // A task that is being killed does not wait.
    if (waited === 0) yield* model.unlockModules(core.current(core.here()));
  }
}
