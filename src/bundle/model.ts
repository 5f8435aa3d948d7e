// The model of patch bundles: what src/livepatch and the loader ask, answered by bundles and the gate.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator, HostResult } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { aliveModule } from '../livepatch/context.ts';
import type { LivepatchModel, ModuleWait } from '../livepatch/model.ts';
import { statesIn } from '../livepatch/state.ts';
import type { KlpPatch, KlpState } from '../livepatch/structs.ts';
import type { Module } from '../module/module.ts';
import type { Bundles } from './core.ts';
import { GATE } from './gate.ts';

/** What a load or unload asks the gate for. */
const HOW: Readonly<Record<ModuleWait, number>> = {
  restart: GATE.load,
  'no restart': GATE.noRestart,
  nonblock: GATE.nonblock,
};

export class BundleModel implements LivepatchModel {
  readonly pausesComing = true;
  readonly resolvesAtLoad = true;
  /** Only of its own object, which outlives a member. */
  readonly livepatchesKeepNone = false;
  readonly #core: KernelCore;
  readonly #bundles: Bundles;

  constructor(core: KernelCore, bundles: Bundles) {
    this.#core = core;
    this.#bundles = bundles;
  }

  tryGate(call: HostCall): HostResult | HostGenerator {
    return this.#bundles.gate.try(call);
  }

  forget(task: TaskStruct): HostGenerator<void> {
    return this.#bundles.gate.forget(task);
  }

  enable(patch: Addr, call: HostCall): HostGenerator<number> {
    return this.#bundles.enablePatch(patch, call);
  }

  transitionBegin(): HostGenerator<number> {
    return this.#bundles.gate.lock(GATE.transition);
  }

  transitionEnd(): HostGenerator<void> {
    return this.#bundles.transitionEnd();
  }

  freed(patch: KlpPatch, forced: boolean): HostGenerator<void> {
    return this.#bundles.freed(patch, forced);
  }

  *removeModuleWork(): HostGenerator<void> {}

  /** A bundle stands for the states of all its members. */
  states(patch: KlpPatch): Iterable<KlpState> {
    return this.#bundles.of(patch)?.states(this.#core) ?? statesIn(this.#core, patch);
  }

  /** Nothing is late: the loader has resolved everything, and takes a member away with its object. */
  applyObjectRelocs(): number {
    return 0;
  }

  clearObjectRelocs(): void {}

  findObjectModule(name: string): Addr | undefined {
    return aliveModule(this.#bundles.context, name);
  }

  breaksRecursion(): boolean {
    return false;
  }

  lockModules(wait: ModuleWait): HostGenerator<number> {
    return this.#bundles.gate.lock(HOW[wait]);
  }

  unlockModules(task: TaskStruct): HostGenerator<void> {
    return this.#bundles.gate.unlockLoad(task);
  }

  moduleComing(mod: Module, paused: boolean): HostGenerator<number> {
    return this.#bundles.moduleComing(mod, paused);
  }

  moduleGoing(mod: Module): HostGenerator<void> {
    return this.#bundles.moduleGoing(mod);
  }

  pausing(): number {
    return 0;
  }

  mayUnpause(mod: Module): number {
    return this.#bundles.mayUnpause(mod);
  }

  joins(object: string, module: string, bytes: Uint8Array): number {
    return this.#bundles.joins(object, module, bytes);
  }
}
