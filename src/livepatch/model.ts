// How livepatches meet modules that come and go. The livepatch core, the module loader and the machine ask a model
// wherever those that there are differ: the kernel's own (classic.ts), bundles (src/bundle), submodules (src/submodules).
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
  /** klp_remove_module_work_fn(): @param work its work_struct */
  removeModuleWork(work: Addr): HostGenerator<void>;
  /** A patch has left the livepatch core; not under klp_mutex. */
  freed(patch: KlpPatch, forced: boolean): HostGenerator<void>;
  /** The system states that a patch stands for. */
  states(patch: KlpPatch): Iterable<KlpState>;
  /** The object of a patch is there: what is resolved against it only then. 0, or -errno with the reason in the log. */
  applyObjectRelocs(patchModule: Addr, objectName: string): number;
  /** klp_find_object_module(): the module that a named object of a patch is for, where it counts as loaded. */
  findObjectModule(name: string): Addr | undefined;
  /** The object goes: undoes that. */
  clearObjectRelocs(patchModule: Addr, objectName: string): void;
}

/** What loads and unloads of modules ask. */
interface ModuleModel {
  /** klp_gate_try(): 1, or 0 where the task has to wait; -errno. */
  tryGate(call: HostCall): HostResult | HostGenerator;
  /** A module's text is not executable before moduleComing() has returned. */
  readonly pausesComing: boolean;
  /** The livepatch relocations of a module are resolved with all others, for its object is there. */
  readonly resolvesAtLoad: boolean;
  /** A livepatch module keeps no module whose symbols it uses. */
  readonly livepatchesKeepNone: boolean;
  /** Whether a load under the name of a module that is loading fails at once, instead of waiting for that one. */
  breaksRecursion(module: string): boolean;
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
