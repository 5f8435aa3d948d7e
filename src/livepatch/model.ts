// How livepatches meet modules that come and go. The livepatch core, the module loader and the machine ask a model
// wherever the two that there are differ: the kernel's own (classic.ts) and that of bundles (src/bundle).
//
// Invariant: every question has an answer in every model; who asks does not know which one it is.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator, HostResult } from '../guest/hostcall.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Module } from '../module/module.ts';
import type { KlpPatch, KlpState } from './structs.ts';

/** What a load or unload does that cannot begin at once: it waits, and a signal restarts or ends it; or it does not. */
export type ModuleWait = 'restart' | 'no restart' | 'nonblock';

export interface LivepatchModel extends PatchModel, ModuleModel {
  /** A task dies. */
  forget(task: TaskStruct): HostGenerator<void>;
}

/** What the livepatch core asks. */
interface PatchModel {
  /** klp_enable_patch(): 0 or -errno. */
  enable(patch: Addr, call: HostCall): HostGenerator<number>;
  /** Before a transition is begun, not under klp_mutex: 0 or -errno. transitionEnd() also when none came of it. */
  transitionBegin(): HostGenerator<number>;
  /** A transition has come to its end. */
  transitionEnd(): HostGenerator<void>;
  /** A patch has left the livepatch core; not under klp_mutex. */
  freed(patch: KlpPatch, forced: boolean): HostGenerator<void>;
  /** The system states that a patch stands for. */
  states(patch: KlpPatch): Iterable<KlpState>;
  /** The object of a patch is there: what is resolved against it only then. 0, or -errno with the reason in the log. */
  applyObjectRelocs(patchModule: Addr, objectName: string): number;
  /** The object goes: undoes that. */
  clearObjectRelocs(patchModule: Addr, objectName: string): void;
}

/** What loads and unloads of modules ask. */
interface ModuleModel {
  /** klp_gate_try(): 1, or 0 where the task has to wait; -errno. */
  tryGate(call: HostCall): HostResult | HostGenerator;
  /**
   * A module's text is not executable before moduleComing() has returned, and its livepatch relocations are resolved
   * with all others.
   */
  readonly synchronous: boolean;
  /** Before a load or an unload: 0 or -errno; unlockModules() of the same task after it. */
  lockModules(wait: ModuleWait): HostGenerator<number>;
  unlockModules(task: TaskStruct): HostGenerator<void>;
  /** klp_module_coming(). @param paused by user space. @returns 0, or -errno: it must not be loaded */
  moduleComing(mod: Module, paused: boolean): HostGenerator<number>;
  /** klp_module_going() */
  moduleGoing(mod: Module): HostGenerator<void>;
  /** 0, or -errno where user space cannot pause modules: that of finit_module() or of module_unpause(). */
  pausing(call: 'finit_module' | 'module_unpause'): number;
  /** 0, or -errno: the paused module is not to run yet. */
  mayUnpause(mod: Module): number;
  /** 0, or -errno: a patch module that user space loads for a module that it has paused may not be its. */
  joins(object: string, module: string, bytes: Uint8Array): number;
}
