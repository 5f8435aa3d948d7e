// The kernel's own model: a patch is one module, an object that comes is patched as it comes, and its relocations are
// resolved then. Mirrors klp_module_coming() and klp_module_going() of kernel/livepatch/core.c in what it calls.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Module } from '../module/module.ts';
import type { LivepatchModel } from './model.ts';
import { statesIn } from './state.ts';
import type { KlpPatch, KlpState } from './structs.ts';

const { EINVAL, ENOSYS } = UAPI;

/** What of kernel/livepatch/core.c this model leaves as it is. */
interface LivepatchCore {
  readonly context: { readonly core: KernelCore };
  enablePatch(patch: Addr, call: HostCall): HostGenerator<number>;
  moduleComing(mod: Addr): HostGenerator<number>;
  moduleGoing(mod: Addr): HostGenerator<void>;
  applyObjectRelocs(patchModule: Addr, objectName: string): number;
  clearObjectRelocs(patchModule: Addr, objectName: string): void;
}

export class ClassicModel implements LivepatchModel {
  readonly synchronous = false;
  readonly #livepatch: LivepatchCore;

  constructor(livepatch: LivepatchCore) {
    this.#livepatch = livepatch;
  }

  /** Nobody is kept waiting. */
  tryGate(): number {
    return 1;
  }

  *forget(): HostGenerator<void> {}

  enable(patch: Addr, call: HostCall): HostGenerator<number> {
    return this.#livepatch.enablePatch(patch, call);
  }

  transitionBegin(): HostGenerator<number> {
    return atOnce(0);
  }

  *transitionEnd(): HostGenerator<void> {}

  *freed(): HostGenerator<void> {}

  states(patch: KlpPatch): Iterable<KlpState> {
    return statesIn(this.#livepatch.context.core, patch);
  }

  applyObjectRelocs(patchModule: Addr, objectName: string): number {
    return this.#livepatch.applyObjectRelocs(patchModule, objectName);
  }

  clearObjectRelocs(patchModule: Addr, objectName: string): void {
    this.#livepatch.clearObjectRelocs(patchModule, objectName);
  }

  lockModules(): HostGenerator<number> {
    return atOnce(0);
  }

  *unlockModules(): HostGenerator<void> {}

  moduleComing(mod: Module): HostGenerator<number> {
    return this.#livepatch.moduleComing(mod.addr);
  }

  moduleGoing(mod: Module): HostGenerator<void> {
    return this.#livepatch.moduleGoing(mod.addr);
  }

  /** The flag is unknown to finit_module(), and the system call is not there. */
  pausing(call: 'finit_module' | 'module_unpause'): number {
    return call === 'finit_module' ? -EINVAL : -ENOSYS;
  }

  /** No module is paused: none may be made to run, and nothing is loaded for one. */
  mayUnpause(): number {
    return -EINVAL;
  }

  joins(): number {
    return -EINVAL;
  }
}

/** An answer that nobody sleeps for. */
function* atOnce<T>(value: T): HostGenerator<T> {
  yield* [];
  return value;
}
