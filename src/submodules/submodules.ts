// The submodules that are there: put with their patch by their own init, taken away with their object or their patch.
// Mirrors klp_add_object() and klp_remove_object() of the proposal.
//
// Invariant: an object is on its patch's list while its submodule holds a reference to itself, and that is given up
// when nobody refers to the object any more; a forced patch's submodules stay, unless their object goes.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { KlpContext } from '../livepatch/context.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { KlpObject, KlpPatch } from '../livepatch/structs.ts';
import type { Module } from '../module/module.ts';
import type { ModuleList } from '../module/modules.ts';
import { OBJECT_TAG, submoduleName } from './names.ts';
import { Removals } from './removals.ts';

const { EINVAL, ENODEV } = UAPI;

interface Ports {
  readonly modules: ModuleList;
  deleteModule(mod: Module): HostGenerator<void>;
}

interface Submodule {
  readonly module: Module;
  readonly patch: KlpPatch;
  /** The module for vmlinux, in whose memory the patch is. */
  readonly main: Module | undefined;
  /** Its init fails: that takes the module away. */
  failed: boolean;
  /** Its object goes: nothing of the two runs any more. */
  going: boolean;
}

export class Submodules {
  readonly #livepatch: Livepatch;
  readonly #ports: Ports;
  readonly #removals: Removals;
  /** By the address of the klp_object. */
  readonly #byObject = new Map<Addr, Submodule>();
  /** klp_loading_patch: its submodules are being loaded; nothing of it is in sysfs yet. */
  #loading: KlpPatch | undefined;
  /** klp_patch.ts: one that went and came again under the same name is another. */
  readonly #births = new Map<Addr, number>();
  #count = 0;

  constructor(livepatch: Livepatch, ports: Ports) {
    this.#livepatch = livepatch;
    this.#ports = ports;
    this.#removals = new Removals(livepatch, ports);
    livepatch.patchInit.onObjectReleased = (object) => this.#released(object);
  }

  get #klp(): KlpContext {
    return this.#livepatch.context;
  }

  removeModuleWork(work: Addr): HostGenerator<void> {
    return this.#removals.run(work);
  }

  get loading(): KlpPatch | undefined {
    return this.#loading;
  }

  begin(patch: KlpPatch): void {
    this.#loading = patch;
    this.#births.set(patch.addr, ++this.#count);
  }

  end(): void {
    this.#loading = undefined;
  }

  birthOf(patch: KlpPatch): number | undefined {
    return this.#births.get(patch.addr);
  }

  moduleOf(object: KlpObject): Module | undefined {
    return this.#byObject.get(object.addr)?.module;
  }

  /** Objects that a patch has submodules for. */
  objectNames(patch: KlpPatch): readonly string[] {
    return this.#ports.modules.byAddr(patch.mod)?.info.getAll(OBJECT_TAG) ?? [];
  }

  /** klp_find_patch() */
  find(name: string): KlpPatch | undefined {
    return this.#patches().find((patch) => patch.name === name);
  }

  /** The oldest patch that has a submodule for an object, which is not there. */
  lacking(object: string): KlpPatch | undefined {
    return this.#patches().find(
      (patch) =>
        this.objectNames(patch).includes(object) && !patch.objects().some(({ name }) => name === object),
    );
  }

  /** The one that is being loaded is on the list early. */
  #patches(): readonly KlpPatch[] {
    return [...this.#klp.patches(), ...(this.#loading ? [this.#loading] : [])];
  }

  /** klp_add_object(), by the init of a submodule. @param own its klp_patch, which stays out of the list */
  *add(own: KlpPatch, object: KlpObject): HostGenerator<number> {
    const klp = this.#klp;
    const name = object.displayName;
    const suffix = submoduleName('', name);
    if (!own.name.endsWith(suffix)) {
      klp.err(`module ${own.name} is not named PATCH${suffix}, as its object asks for`);
      return -EINVAL;
    }
    const patchName = own.name.slice(0, -suffix.length);
    yield* klp.lock();
    const ret = yield* this.#addTo(patchName, own, object);
    if (ret !== 0)
      klp.warn(`patch '${patchName}' failed for module '${name}', refusing to load module '${name}'`);
    yield* klp.unlock();
    return ret;
  }

  *#addTo(patchName: string, own: KlpPatch, object: KlpObject): HostGenerator<number> {
    const { patchInit } = this.#livepatch;
    const patch = this.find(patchName);
    const problem = this.#problem(patch, patchName, own.name, object.displayName);
    if (problem !== undefined || !patch) {
      this.#klp.err(problem ?? '');
      return -EINVAL;
    }
    const { modules } = this.#ports;
    const module = modules.byAddr(own.mod);
    if (!module || !modules.tryGet(module)) return -ENODEV;
    const main = modules.byAddr(patch.mod);
    const submodule = { module, patch, main, failed: false, going: false };
    this.#byObject.set(object.addr, submodule);
    patchInit.adopt(patch, object);
    // Of a patch that is being loaded: it is enabled with all that have come.
    if (!patch.enabled) return 0;
    const ret = yield* this.#enable(patch, object);
    if (ret === 0) return 0;
    submodule.failed = true;
    yield* patchInit.freeObject(object);
    return ret;
  }

  #problem(patch: KlpPatch | undefined, patchName: string, own: string, object: string): string | undefined {
    if (!patch)
      return `Can't load livepatch (${own}) for module when the livepatch (${patchName}) for vmcore is not loaded`;
    if (!this.objectNames(patch).includes(object))
      return `Livepatch (${patchName}) is not supposed to livepatch the module: ${object}`;
    if (!this.#ports.modules.find(object)) return `Livepatched module is not loaded: ${object}`;
    return undefined;
  }

  /** What klp_module_coming() does to an object in the kernel. */
  *#enable(patch: KlpPatch, object: KlpObject): HostGenerator<number> {
    const klp = this.#klp;
    const { patchInit, patching, transition } = this.#livepatch;
    const name = object.displayName;
    let ret = yield* patchInit.initObject(patch, object);
    if (ret !== 0) {
      klp.warn(`failed to initialize patch '${patch.name}' for module '${name}' (${ret})`);
      return ret;
    }
    klp.notice(`applying patch '${patch.name}' to loading module '${name}'`);
    klp.core.events.emit({ type: 'klp_object', what: 'apply', patch: patch.name, object: name });
    ret = yield* this.#livepatch.prePatch(object);
    if (ret !== 0) {
      klp.warn(`pre-patch callback failed for object '${name}'`);
      return ret;
    }
    ret = yield* patching.patchObject(object);
    if (ret !== 0) {
      klp.warn(`failed to apply patch '${patch.name}' to module '${name}' (${ret})`);
      yield* transition.postUnpatch(object);
      return ret;
    }
    if (!klp.isInTransition(patch)) yield* klp.callback(object, 'post_patch');
    return 0;
  }

  /** klp_remove_object() of each patch that has the object. Under klp_mutex. */
  *removeFor(name: string): HostGenerator<void> {
    const klp = this.#klp;
    for (const patch of this.#patches()) {
      for (const object of patch.objects()) {
        if (object.name !== name) continue;
        if (!klp.isInTransition(patch)) yield* klp.callback(object, 'pre_unpatch');
        klp.notice(`reverting patch '${patch.name}' on unloading module '${name}'`);
        klp.core.events.emit({ type: 'klp_object', what: 'revert', patch: patch.name, object: name });
        yield* this.#livepatch.patching.unpatchObject(object);
        yield* this.#livepatch.transition.postUnpatch(object);
        const submodule = this.#byObject.get(object.addr);
        if (submodule) submodule.going = true;
        yield* this.#livepatch.patchInit.freeObject(object);
      }
    }
  }

  /** klp_kobj_release_object() */
  #released(object: KlpObject): void {
    const submodule = this.#byObject.get(object.addr);
    if (!submodule) return;
    this.#byObject.delete(object.addr);
    const { module, main, patch, failed, going } = submodule;
    if (failed) this.#ports.modules.put(module);
    else if (going || !this.#forced(main, patch)) this.#removals.schedule(module);
  }

  /** A forced patch's memory stays. */
  #forced(main: Module | undefined, patch: KlpPatch): boolean {
    return main !== undefined && !main.freed && patch.forced;
  }
}
