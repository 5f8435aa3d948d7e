// The model of the proof of concept of 2020, "livepatch: Split livepatch module per-object": a livepatch is a module for
// vmlinux, PATCH, and one for each module that it patches, PATCH__OBJECT, which the kernel has modprobe load when the
// object comes. docs/submodules.md tells where this is the proposal, and what of it the races do not need.
//
// Invariant: klp_mutex is not held while a helper runs, for what that loads takes it; so whatever was looked at before
// is looked at again.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { UAPI } from '../kernel/uapi.ts';
import { atOnce, ClassicModel } from '../livepatch/classic.ts';
import type { KlpContext } from '../livepatch/context.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { LivepatchModel } from '../livepatch/model.ts';
import { KlpPatch } from '../livepatch/structs.ts';
import type { Module } from '../module/module.ts';
import type { ModuleList } from '../module/modules.ts';
import { submoduleName } from './names.ts';
import { Submodules } from './submodules.ts';

const { EBUSY, EINVAL } = UAPI;

/** What of other parts this model needs. */
interface SubmodulePorts {
  readonly modules: ModuleList;
  /** request_module(): 0, -errno where no helper could be run, or its wait status. */
  requestModule(name: string): HostGenerator<number>;
  /** module_put_and_delete() */
  deleteModule(mod: Module): HostGenerator<void>;
}

export class SubmodulesModel extends ClassicModel implements LivepatchModel {
  override readonly resolvesAtLoad = true;
  override readonly livepatchesKeepNone = true;
  readonly #livepatch: Livepatch;
  readonly #ports: SubmodulePorts;
  readonly #submodules: Submodules;

  constructor(livepatch: Livepatch, ports: SubmodulePorts) {
    super(livepatch);
    this.#livepatch = livepatch;
    this.#ports = ports;
    this.#submodules = new Submodules(livepatch, ports);
  }

  get #klp(): KlpContext {
    return this.#livepatch.context;
  }

  /** klp_enable_patch() of a module for vmlinux, klp_add_object() of others: a module here tells which by its object. */
  override *enable(addr: Addr, call: HostCall): HostGenerator<number> {
    const patch = new KlpPatch(this.#klp.core, addr);
    if (addr === 0n || patch.mod === 0n || patch.objsPointer === 0n) return -EINVAL;
    const objects = patch.staticObjects();
    const [object] = objects;
    if (objects.length !== 1 || !object) {
      this.#klp.err(`patch '${patch.name}' has ${objects.length} objects: a module of this model is for one`);
      return -EINVAL;
    }
    return object.name === undefined
      ? yield* this.#livepatch.enablePatch(addr, call, (main) => this.#gather(main))
      : yield* this.#submodules.add(patch, object);
  }

  /** klp_load_objects_livepatches(): of all objects that are there. Under klp_mutex, but for while helpers run. */
  *#gather(patch: KlpPatch): HostGenerator<number> {
    const klp = this.#klp;
    const submodules = this.#submodules;
    const busy = submodules.loading ?? klp.transitionPatch;
    if (busy) {
      klp.err(`Already enabling livepatch: ${busy.name}`);
      return -EBUSY;
    }
    submodules.begin(patch);
    yield* klp.unlock();
    let ret = 0;
    for (const name of submodules.objectNames(patch)) {
      if (!this.#ports.modules.find(name)?.klpAlive) continue;
      ret = yield* this.#load(patch.name, name);
      if (ret !== 0) break;
    }
    yield* klp.lock();
    submodules.end();
    return ret;
  }

  /** klp_try_load_object(): modprobe exits with 1 whatever went wrong, so that is EINVAL. */
  *#load(patch: string, object: string): HostGenerator<number> {
    const name = submoduleName(patch, object);
    const ret = yield* this.#ports.requestModule(name);
    if (ret === 0) return 0;
    this.#klp.core.printk.info(`livepatch: Module load failed: ${name}`);
    return ret > 0 ? -EINVAL : ret;
  }

  /** klp_module_coming(): the list is searched anew after each helper, for patches may have come and gone. */
  override *moduleComing(mod: Module): HostGenerator<number> {
    const klp = this.#klp;
    if (mod.name === 'vmlinux') return -EINVAL;
    klp.core.events.emit({ type: 'klp_module', what: 'coming', module: mod.name });
    yield* klp.lock();
    const ret = yield* this.#loadFor(mod);
    if (ret === 0) mod.klpAlive = true;
    yield* klp.unlock();
    // As posted, submodules of other patches would stay with an object that goes.
    if (ret !== 0) yield* this.moduleGoing(mod);
    return ret;
  }

  /** Under klp_mutex, but for while helpers run. */
  *#loadFor({ name }: Module): HostGenerator<number> {
    const klp = this.#klp;
    const submodules = this.#submodules;
    for (;;) {
      const patch = submodules.lacking(name);
      if (!patch) return 0;
      // Its object is gone, and it not yet: it would be found again and again.
      const left = this.#ports.modules.find(submoduleName(patch.name, name));
      if (left?.state === 'LIVE') return -EBUSY;
      const [patchName, birth] = [patch.name, submodules.birthOf(patch)];
      yield* klp.unlock();
      const ret = yield* this.#load(patchName, name);
      yield* klp.lock();
      const again = ret === 0 ? undefined : submodules.find(patchName);
      if (again && submodules.birthOf(again) === birth) return ret;
    }
  }

  override removeModuleWork(work: Addr): HostGenerator<void> {
    return this.#submodules.removeModuleWork(work);
  }

  override *moduleGoing(mod: Module): HostGenerator<void> {
    const klp = this.#klp;
    klp.core.events.emit({ type: 'klp_module', what: 'going', module: mod.name });
    yield* klp.lock();
    mod.klpAlive = false;
    yield* this.#submodules.removeFor(mod.name);
    yield* klp.unlock();
  }

  /** Nothing is done to other patches while one is being loaded: EBUSY of enabled_store(). */
  override transitionBegin(): HostGenerator<number> {
    return atOnce(this.#submodules.loading ? -EBUSY : 0);
  }

  /** Resolved when the module was loaded. */
  override applyObjectRelocs(): number {
    return 0;
  }

  override clearObjectRelocs(): void {}

  /** A submodule comes before its object is through klp_module_coming(). */
  override findObjectModule(name: string): Addr | undefined {
    const mod = this.#ports.modules.find(name);
    return mod && mod.state !== 'GOING' ? mod.addr : undefined;
  }

  /** klp_break_recursion(): modprobe asks for the module for vmlinux, whose symbols a submodule of it uses. */
  override breaksRecursion(module: string): boolean {
    return this.#submodules.loading?.name === module;
  }
}
