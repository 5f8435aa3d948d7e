// A member as a module: loaded from its file, taken by its own init to klp_enable_patch(), which in this model only
// hands the klp_patch over; linked with the bundle's patch; and taken back.
//
// Invariant: link() either leaves the member live and patched, or nothing of it.

import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { errnoName } from '../kernel/errno.ts';
import { listAddTail, listDel } from '../kernel/list.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { KlpObject, KlpPatch } from '../livepatch/structs.ts';
import type { ModuleLoader } from '../module/main.ts';
import type { Bundle, Member } from './bundle.ts';

const { EINVAL } = UAPI;

/** A load of a member under way, by the task that does it: its klp_enable_patch() comes in between. */
interface Registration {
  readonly member: Member;
  object: KlpObject | undefined;
  patch: KlpPatch | undefined;
}

export class Members {
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  readonly #loader: ModuleLoader;
  readonly #loading = new Map<TaskStruct, Registration[]>();

  constructor(core: KernelCore, livepatch: Livepatch, loader: ModuleLoader) {
    this.#core = core;
    this.#livepatch = livepatch;
    this.#loader = loader;
  }

  /** What is wrong with a klp_patch in this model; undefined for one object that is loaded. */
  problem(patch: KlpPatch): string | undefined {
    const objects = patch.staticObjects();
    if (objects.length !== 1) {
      const names = objects.map((object) => object.displayName).join(', ');
      return `patch '${patch.name}' has ${objects.length} objects (${names}): a patch module has one`;
    }
    const [{ name }] = objects;
    if (name === undefined) return undefined;
    const mod = this.#loader.modules.find(name);
    return mod?.klpAlive ? undefined : `patch '${patch.name}': its object '${name}' is not loaded`;
  }

  /** klp_enable_patch() by a member's init. @returns 0, -errno, or undefined when no member is being loaded. */
  register(patch: KlpPatch, call: HostCall): number | undefined {
    const registration = this.#loading.get(this.#core.currentOf(call))?.at(-1);
    if (!registration) return undefined;
    const { spec } = registration.member;
    if (patch.name !== spec.module) return undefined;
    const fault = this.#core.faults.check('klp_register_member', spec.module);
    if (fault !== 0) return fault;
    const problem = this.problem(patch);
    const [object] = patch.staticObjects();
    const wrong =
      problem ?? (object.displayName === spec.object ? undefined : `it is for ${object.displayName}`);
    if (wrong !== undefined) {
      this.#core.printk.err(`livepatch: ${wrong}`);
      return -EINVAL;
    }
    registration.object = object;
    registration.patch = patch;
    return 0;
  }

  /** Loads the member's module. @returns 0 or -errno, the reason in the log. */
  *load(bundle: Bundle, member: Member, bytes: Uint8Array): HostGenerator<number> {
    const task = this.#core.current(this.#core.here());
    const stack = this.#loading.get(task) ?? [];
    this.#loading.set(task, stack);
    const registration: Registration = { member, object: undefined, patch: undefined };
    stack.push(registration);
    const { file, object } = member.spec;
    const result = yield* this.#loader.loadModule({ file, bytes, patches: object });
    stack.splice(stack.indexOf(registration), 1);
    if (stack.length === 0) this.#loading.delete(task);
    if (!result.ok) return this.#failed(bundle, member, result.errno, result.reason);
    member.module = result.module;
    member.object = registration.object;
    member.patch = registration.patch;
    this.#loader.modules.tryGet(result.module);
    if (member.object) return 0;
    yield* this.unload(member);
    return this.#failed(bundle, member, EINVAL, 'its init does not call klp_enable_patch()');
  }

  #failed(bundle: Bundle, member: Member, errno: number, reason: string): number {
    const { module, object } = member.spec;
    const what = `member '${module}' for object '${object}'`;
    this.#core.printk.err(
      `livepatch: bundle '${bundle.name}': ${what}: ${reason} (${errnoName(errno) ?? errno})`,
    );
    return -errno;
  }

  /** The module goes, its object is linked nowhere. */
  *unload(member: Member): HostGenerator<void> {
    const { module } = member;
    member.module = undefined;
    member.object = undefined;
    member.patch = undefined;
    if (!module) return;
    this.#loader.modules.put(module);
    yield* this.#loader.deleteModule(module.name);
  }

  /** The member's object on the patch's list, at its place in the order of members. */
  adopt(bundle: Bundle, member: Member): void {
    const { object } = member;
    if (!object) return;
    this.#livepatch.patchInit.adopt(bundle.patch, object);
    const next = bundle.noteLinked(member);
    if (!next?.object) return;
    listDel(this.#core, object.node);
    listAddTail(this.#core, object.node, next.object.node);
  }

  /** Links a live member of an enabled bundle with a target that has never run. @returns 0 or -errno. */
  *link(bundle: Bundle, member: Member): HostGenerator<number> {
    const { context: klp, patchInit, patching } = this.#livepatch;
    const { object } = member;
    const name = member.spec.object;
    if (!object) return -EINVAL;
    yield* klp.lock();
    this.adopt(bundle, member);
    let ret = yield* patchInit.initObject(bundle.patch, object);
    if (ret === 0) {
      klp.notice(`applying bundle '${bundle.name}' to loading module '${name}'`);
      ret = yield* this.#livepatch.prePatch(object);
      if (ret !== 0) klp.warn(`pre-patch callback failed for object '${name}'`);
      else {
        ret = yield* patching.patchObject(object);
        if (ret !== 0) yield* this.#livepatch.transition.postUnpatch(object);
        else yield* klp.callback(object, 'post_patch');
      }
    }
    if (ret !== 0) {
      klp.warn(`bundle '${bundle.name}' failed for module '${name}', refusing to load module '${name}'`);
      yield* this.#free(bundle, member, object);
    }
    yield* klp.unlock();
    return ret === 0 ? 0 : this.#failed(bundle, member, -ret, `object '${name}' cannot be patched`);
  }

  /** The mirror of link(): back to original code, for a target that goes. */
  *unlink(bundle: Bundle, member: Member): HostGenerator<void> {
    const { context: klp, patching } = this.#livepatch;
    const { object } = member;
    if (!object) return;
    yield* klp.lock();
    yield* klp.callback(object, 'pre_unpatch');
    klp.notice(`reverting bundle '${bundle.name}' on unloading module '${member.spec.object}'`);
    yield* patching.unpatchObject(object);
    yield* this.#livepatch.transition.postUnpatch(object);
    yield* this.#free(bundle, member, object);
    yield* klp.unlock();
  }

  *#free(bundle: Bundle, member: Member, object: KlpObject): HostGenerator<void> {
    yield* this.#livepatch.patchInit.freeObject(object);
    bundle.noteUnlinked(member);
  }
}
