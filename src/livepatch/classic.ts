// The kernel's own model: a patch is one module, an object that comes is patched as it comes, and its relocations are
// resolved then. Mirrors klp_module_coming() and klp_module_going() of kernel/livepatch/core.c in what it calls.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Module } from '../module/module.ts';
import type { KlpContext } from './context.ts';
import { aliveModule } from './context.ts';
import type { LivepatchModel } from './model.ts';
import { statesIn } from './state.ts';
import type { KlpPatch, KlpState } from './structs.ts';

const { EINVAL, ENOSYS } = UAPI;

/** What of kernel/livepatch/core.c this model leaves as it is. */
interface LivepatchCore {
  readonly context: KlpContext;
  enablePatch(patch: Addr, call: HostCall): HostGenerator<number>;
  moduleComing(mod: Addr): HostGenerator<number>;
  moduleGoing(mod: Addr): HostGenerator<void>;
  applyObjectRelocs(patchModule: Addr, objectName: string): number;
  clearObjectRelocs(patchModule: Addr, objectName: string): void;
}

export class ClassicModel implements LivepatchModel {
  readonly pausesComing: boolean = false;
  readonly resolvesAtLoad: boolean = false;
  readonly livepatchesKeepNone: boolean = false;
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

  /** No livepatch module goes by itself. */
  *removeModuleWork(_work: Addr): HostGenerator<void> {}

  states(patch: KlpPatch): Iterable<KlpState> {
    return statesIn(this.#livepatch.context.core, patch);
  }

  applyObjectRelocs(patchModule: Addr, objectName: string): number {
    return this.#livepatch.applyObjectRelocs(patchModule, objectName);
  }

  clearObjectRelocs(patchModule: Addr, objectName: string): void {
    this.#livepatch.clearObjectRelocs(patchModule, objectName);
  }

  /** Only a module that klp_module_coming() knows, and klp_module_going() does not. */
  findObjectModule(name: string): Addr | undefined {
    return aliveModule(this.#livepatch.context, name);
  }

  breaksRecursion(_module: string): boolean {
    return false;
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
export function* atOnce<T>(value: T): HostGenerator<T> {
  yield* [];
  return value;
}
