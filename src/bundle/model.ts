// The model of patch bundles: what src/livepatch and the loader ask, answered by bundles and the gate.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { LivepatchModel, ModuleWait } from '../livepatch/model.ts';
import { statesIn } from '../livepatch/state.ts';
import type { KlpPatch, KlpState } from '../livepatch/structs.ts';
import type { ModuleLoader } from '../module/main.ts';
import type { Module } from '../module/module.ts';
import { type BundleParts, Bundles } from './core.ts';
import { GATE } from './gate.ts';

/** What a load or unload asks the gate for. */
const HOW: Readonly<Record<ModuleWait, number>> = {
  restart: GATE.load,
  'no restart': GATE.noRestart,
  nonblock: GATE.nonblock,
};

export class BundleModel implements LivepatchModel {
  readonly synchronous = true;
  readonly #parts: Omit<BundleParts, 'livepatch' | 'loader'>;
  #bundles!: Bundles;

  constructor(parts: Omit<BundleParts, 'livepatch' | 'loader'>) {
    this.#parts = parts;
  }

  start(livepatch: Livepatch, loader: ModuleLoader): void {
    this.#bundles = new Bundles({ ...this.#parts, livepatch, loader });
  }

  /** Once it is started. */
  get bundles(): Bundles {
    return this.#bundles;
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

  /** A bundle stands for the states of all its members. */
  states(patch: KlpPatch): Iterable<KlpState> {
    const { core } = this.#parts;
    return this.#bundles.of(patch)?.states(core) ?? statesIn(core, patch);
  }

  /** Nothing is late: the loader has resolved everything, and takes a member away with its object. */
  applyObjectRelocs(): number {
    return 0;
  }

  clearObjectRelocs(): void {}

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
