// Enabling, disabling and replacing patches, and modules that come and go under them.
// Mirrors kernel/livepatch/core.c. The structures are the patch module's own, in guest memory.
//
// Invariant: a patch is on klp_patches from its successful klp_init_patch() until its transition to
// unpatched, or its replacement, is complete; its module is referenced for as long.

import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import type { DynamicDebug } from '../kernel/dynamic_debug.ts';
import type { Kobjects } from '../kernel/kobject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import { ClassicModel } from './classic.ts';
import { KlpContext } from './context.ts';
import { PatchInit } from './init.ts';
import type { LivepatchModel } from './model.ts';
import { Patching } from './patch.ts';
import type { LivepatchOptions, LivepatchPorts } from './ports.ts';
import { ShadowVariables } from './shadow.ts';
import { klpFindPrevState, klpGetState, klpIncompatibleState } from './state.ts';
import { type KlpObject, KlpPatch } from './structs.ts';
import { klpFindObjectSymbol } from './symbol.ts';
import { klpAttributes } from './sysfs.ts';
import { Transition } from './transition.ts';

export class Livepatch {
  readonly patching: Patching;
  readonly transition: Transition;
  readonly shadows: ShadowVariables;
  readonly context: KlpContext;
  readonly patchInit: PatchInit;

  constructor(
    core: KernelCore,
    ftrace: Ftrace,
    kobjects: Kobjects,
    ports: LivepatchPorts,
    options: LivepatchOptions,
  ) {
    const klp = new KlpContext(core, ftrace, kobjects, ports, options, new ClassicModel(this));
    this.context = klp;
    this.patching = new Patching(klp);
    this.transition = new Transition(klp, this.patching, this);
    this.shadows = new ShadowVariables(core);
    const actions = {
      disable: (patch: KlpPatch, call: HostCall) => this.disableLocked(patch, call),
      reverse: () => this.transition.reverse(),
      force: () => this.transition.force(),
    };
    this.patchInit = new PatchInit(klp, kobjects.mkdirs('/kernel/livepatch'), klpAttributes(klp, actions));
    this.#defineHostFunctions();
  }

  #defineHostFunctions(): void {
    const { core } = this.context;
    core.host.offerAll({
      klp_try_switch_task: (call) => this.transition.trySwitchItself(call),
      klp_find_section_by_name: ({ args: [mod, name, size] }) => this.#findSection(mod, name, size),
    });
    core.host.defineAll({
      klp_enable_patch: (call) => this.#enableFromGuest(call),
      klp_gate_try: (call) => this.model.tryGate(call),
      klp_transition_work_fn: (call) => this.#transitionWork(call),
      klp_free_patch_work_fn: (call) => {
        const patch = call.args[0] - BigInt(core.kernel.structs.klp_patch.fields.free_work);
        return this.#freePatchWork(new KlpPatch(core, patch));
      },
      klp_remove_module_work_fn: (call) => this.model.removeModuleWork(call.args[0]),
      klp_get_state: (call) => klpGetState(this.context, new KlpPatch(core, call.args[0]), call.args[1]),
      klp_find_prev_state: (call) => klpFindPrevState(this.context, call.args[0]),
      klp_trace_patch_state: (call) => {
        const task = core.tasks.byAddr(call.args[0]);
        if (task && core.events.listens('patch_state')) this.transition.updatedPatchState(task, call.args[1]);
      },
      klp_handler_warn: (call) => {
        const which = ['recursion', 'empty func_stack', 'KLP_UNDEFINED'][Number(call.args[0] & 3n)];
        this.context.warnOn(true, `patch.c klp_ftrace_handler: ${which}`);
      },
    });
  }

  /** How patches meet modules that come and go. */
  get model(): LivepatchModel {
    return this.context.model;
  }

  /** Another model than the kernel's own, from before the first patch on. */
  use(model: LivepatchModel): void {
    this.context.model = model;
  }

  /** klp_patches: enabled or in transition, oldest first. */
  patches(): KlpPatch[] {
    return this.context.patches();
  }

  /** What turns the pr_debug() lines of kernel/livepatch on and off. */
  get dynamicDebug(): DynamicDebug {
    return this.context.dynamicDebug;
  }

  /** klp_transition_patch */
  get transitionPatch(): KlpPatch | undefined {
    return this.context.transitionPatch;
  }

  /** klp_target_state */
  get targetState(): number {
    return this.context.targetState;
  }

  /** klp_find_object_symbol(), for the loader's livepatch relocations. @param objname undefined for vmlinux. */
  findObjectSymbol(objname: string | undefined, name: string, sympos: bigint): Addr | undefined {
    return klpFindObjectSymbol(this.context, objname, name, sympos);
  }

  /** klp_apply_object_relocs(): 0, or -errno with the reason in the log. */
  applyObjectRelocs(patchModule: Addr, objectName: string): number {
    return this.context.ports.modules.applyObjectRelocs(patchModule, objectName, (object, name, sympos) =>
      this.findObjectSymbol(object, name, sympos),
    );
  }

  /** klp_clear_object_relocs() */
  clearObjectRelocs(patchModule: Addr, objectName: string): void {
    this.context.ports.modules.clearObjectRelocs(patchModule, objectName);
  }

  /** klp_copy_process(): called during fork. */
  copyProcess(parent: TaskStruct, child: TaskStruct): void {
    this.transition.copyProcess(parent, child);
  }

  *#enableFromGuest(call: HostCall): HostGenerator<bigint> {
    return negErrno(-(yield* this.context.model.enable(call.args[0], call)));
  }

  /** klp_find_section_by_name(): its address, and its size where `size` points to; NULL and 0 without one. */
  #findSection(mod: Addr, name: Addr, size: Addr): Addr {
    const { core, ports } = this.context;
    const section = ports.modules.sectionOf(mod, core.mem.readCString(name));
    core.mem.writeU64(size, BigInt(section?.size ?? 0));
    return section?.addr ?? 0n;
  }

  /** klp_free_patch_work_fn() */
  *#freePatchWork(patch: KlpPatch): HostGenerator<void> {
    const { forced } = patch;
    yield* this.patchInit.freeFinish(patch);
    yield* this.context.model.freed(patch, forced);
  }

  /**
   * klp_enable_patch(). @returns 0 or -errno.
   * @param gather what is to be done between the patch's first initialization and the rest, under klp_mutex
   */
  *enablePatch(
    addr: Addr,
    call: HostCall,
    gather?: (patch: KlpPatch) => HostGenerator<number>,
  ): HostGenerator<number> {
    const klp = this.context;
    const patch = new KlpPatch(klp.core, addr);
    const invalid = this.#check(patch);
    if (invalid !== 0) return invalid;
    yield* klp.lock();
    if (klpIncompatibleState(klp, patch)) {
      klp.err(`Livepatch patch (${patch.name}) is not compatible with the already installed livepatches.`);
      yield* klp.unlock();
      return -UAPI.EINVAL;
    }
    const noModule = klp.core.faults.check('try_module_get', patch.name) !== 0;
    if (noModule || !klp.ports.modules.tryModuleGet(patch.mod)) {
      yield* klp.unlock();
      return -UAPI.ENODEV;
    }
    this.patchInit.early(patch);
    let ret = 0;
    if (gather) ret = yield* gather(patch);
    if (ret === 0) ret = yield* this.patchInit.init(patch);
    if (ret === 0) ret = yield* this.enableLocked(patch, call);
    if (ret !== 0) yield* this.patchInit.freeStart(patch);
    yield* klp.unlock();
    if (ret !== 0) yield* this.patchInit.freeFinish(patch);
    return ret;
  }

  /** What klp_enable_patch() asks before it takes the lock. */
  #check(patch: KlpPatch): number {
    const klp = this.context;
    if (patch.addr === 0n || patch.mod === 0n || patch.objsPointer === 0n) return -UAPI.EINVAL;
    if (patch.staticObjects().some((object) => object.funcsPointer === 0n)) return -UAPI.EINVAL;
    const isLivepatch =
      klp.core.mem.readU8(patch.mod + BigInt(klp.core.kernel.structs.module.fields.klp)) !== 0;
    if (!isLivepatch) {
      klp.err(`module ${patch.name} is not marked as a livepatch module`);
      return -UAPI.EINVAL;
    }
    if (!klp.options.reliableStacktrace) {
      klp.warn("This architecture doesn't have support for the livepatch consistency model.");
      klp.warn('The livepatch transition may never complete.');
    }
    return 0;
  }

  /** __klp_enable_patch(); under klp_mutex. */
  *enableLocked(patch: KlpPatch, call: HostCall): HostGenerator<number> {
    const klp = this.context;
    if (klp.transitionPatch) return -UAPI.EBUSY;
    if (klp.warnOn(patch.enabled, 'core.c __klp_enable_patch')) return -UAPI.EINVAL;
    klp.notice(`enabling patch '${patch.name}'`);
    this.transition.init(patch, this.context.constants.KLP_PATCHED);
    yield* klp.stored();
    for (const object of patch.objects()) {
      if (!object.isLoaded) continue;
      const ret = yield* this.#patchLoaded(object);
      if (ret === 0) continue;
      klp.warn(`failed to enable patch '${patch.name}'`);
      yield* this.transition.cancel();
      return ret;
    }
    yield* this.transition.start();
    patch.enabled = true;
    yield* klp.stored();
    yield* this.transition.tryComplete(call);
    return 0;
  }

  *#patchLoaded(object: KlpObject): HostGenerator<number> {
    const klp = this.context;
    let ret = yield* this.prePatch(object);
    if (ret !== 0) {
      klp.warn(`pre-patch callback failed for object '${object.displayName}'`);
      return ret;
    }
    ret = yield* this.patching.patchObject(object);
    if (ret !== 0) klp.warn(`failed to patch object '${object.displayName}'`);
    return ret;
  }

  /** klp_pre_patch_callback() */
  *prePatch(object: KlpObject): HostGenerator<number> {
    const failed = this.context.core.faults.check('klp_pre_patch_callback', object.displayName);
    const ret = failed || (yield* this.context.callback(object, 'pre_patch'));
    object.postUnpatchEnabled = ret === 0;
    return ret;
  }

  /** __klp_disable_patch(); under klp_mutex. */
  *disableLocked(patch: KlpPatch, call: HostCall): HostGenerator<number> {
    const klp = this.context;
    if (klp.warnOn(!patch.enabled, 'core.c __klp_disable_patch')) return -UAPI.EINVAL;
    if (klp.transitionPatch) return -UAPI.EBUSY;
    this.transition.init(patch, this.context.constants.KLP_UNPATCHED);
    yield* klp.stored();
    for (const object of patch.objects()) {
      if (object.patched) yield* klp.callback(object, 'pre_unpatch');
    }
    yield* this.transition.start();
    patch.enabled = false;
    yield* klp.stored();
    yield* this.transition.tryComplete(call);
    return 0;
  }
  /** klp_transition_work_fn(): the retry. */
  *#transitionWork(call: HostCall): HostGenerator<void> {
    const klp = this.context;
    yield* klp.lock();
    if (klp.transitionPatch) yield* this.transition.tryComplete(call);
    yield* klp.unlock();
  }

  /** klp_unpatch_replaced_patches() and klp_discard_nops() */
  *dropReplaced(patch: KlpPatch): HostGenerator<void> {
    for (const old of this.context.patches()) {
      if (old.addr === patch.addr) break;
      old.enabled = false;
      yield* this.patching.unpatchObjects(old);
    }
    yield* this.patching.unpatchObjects(patch, true);
    yield* this.patchInit.freeObjects(patch, true);
  }

  /** klp_free_patch_async(): sysfs goes in a worker's context, for a write to sysfs may have led here. */
  *freePatchAsync(patch: KlpPatch): HostGenerator<void> {
    yield* this.patchInit.freeStart(patch);
    this.context.ports.workqueue.queueWork(patch.freeWork);
  }

  /** klp_free_replaced_patches_async() */
  *freeReplacedAsync(patch: KlpPatch): HostGenerator<void> {
    for (const old of this.context.patches()) {
      if (old.addr === patch.addr) return;
      yield* this.freePatchAsync(old);
    }
  }

  /**
   * klp_module_coming(): patches a module that is loading, before its init runs.
   * @param mod address of its struct module. @returns 0, or -errno: it must not be loaded.
   */
  *moduleComing(mod: Addr): HostGenerator<number> {
    const klp = this.context;
    if (
      klp.warnOn(
        klp.moduleState(mod) !== this.context.constants.MODULE_STATE_COMING,
        'core.c klp_module_coming',
      )
    )
      return -UAPI.EINVAL;
    if (klp.moduleName(mod) === 'vmlinux') {
      klp.err('vmlinux.ko: invalid module name');
      return -UAPI.EINVAL;
    }
    klp.core.events.emit({ type: 'klp_module', what: 'coming', module: klp.moduleName(mod) });
    yield* klp.lock();
    klp.setModuleAlive(mod, true);
    let ret = 0;
    for (const patch of klp.patches()) {
      const object = this.#objectOf(patch, mod);
      if (!object) continue;
      ret = yield* this.#applyToComing(patch, object, mod);
      if (ret !== 0) break;
    }
    yield* klp.unlock();
    return ret;
  }

  *#applyToComing(patch: KlpPatch, object: KlpObject, mod: Addr): HostGenerator<number> {
    const klp = this.context;
    const name = klp.moduleName(mod);
    object.mod = mod;
    const ret = yield* this.#patchComing(patch, object, name);
    if (ret === 0) return 0;
    klp.warn(`patch '${patch.name}' failed for module '${name}', refusing to load module '${name}'`);
    klp.setModuleAlive(mod, false);
    object.mod = 0n;
    klp.model.clearObjectRelocs(patch.mod, name);
    yield* this.#cleanupModule(mod, patch);
    return ret;
  }

  *#patchComing(patch: KlpPatch, object: KlpObject, name: string): HostGenerator<number> {
    const klp = this.context;
    let ret = this.patchInit.objectLoaded(patch, object);
    if (ret !== 0) {
      klp.warn(`failed to initialize patch '${patch.name}' for module '${name}' (${ret})`);
      return ret;
    }
    klp.notice(`applying patch '${patch.name}' to loading module '${name}'`);
    klp.core.events.emit({ type: 'klp_object', what: 'apply', patch: patch.name, object: name });
    ret = yield* this.prePatch(object);
    if (ret !== 0) {
      klp.warn(`pre-patch callback failed for object '${object.displayName}'`);
      return ret;
    }
    ret = yield* this.patching.patchObject(object);
    if (ret !== 0) {
      klp.warn(`failed to apply patch '${patch.name}' to module '${name}' (${ret})`);
      yield* this.transition.postUnpatch(object);
      return ret;
    }
    if (!klp.isInTransition(patch)) yield* klp.callback(object, 'post_patch');
    return 0;
  }

  /** klp_module_going(): unpatches a module that is unloading, or whose load failed. */
  *moduleGoing(mod: Addr): HostGenerator<void> {
    const klp = this.context;
    const state = klp.moduleState(mod);
    const expected =
      state === this.context.constants.MODULE_STATE_GOING ||
      state === this.context.constants.MODULE_STATE_COMING;
    if (klp.warnOn(!expected, 'core.c klp_module_going')) return;
    klp.core.events.emit({ type: 'klp_module', what: 'going', module: klp.moduleName(mod) });
    yield* klp.lock();
    klp.setModuleAlive(mod, false);
    yield* this.#cleanupModule(mod, undefined);
    yield* klp.unlock();
  }

  /** klp_cleanup_module_patches_limited(): for all patches, or those before `limit`. */
  *#cleanupModule(mod: Addr, limit: KlpPatch | undefined): HostGenerator<void> {
    const klp = this.context;
    for (const patch of klp.patches()) {
      if (patch.addr === limit?.addr) break;
      const object = this.#objectOf(patch, mod);
      if (!object) continue;
      const name = klp.moduleName(mod);
      if (!klp.isInTransition(patch)) yield* klp.callback(object, 'pre_unpatch');
      klp.notice(`reverting patch '${patch.name}' on unloading module '${name}'`);
      klp.core.events.emit({ type: 'klp_object', what: 'revert', patch: patch.name, object: name });
      yield* this.patching.unpatchObject(object);
      yield* this.transition.postUnpatch(object);
      klp.model.clearObjectRelocs(patch.mod, name);
      this.patchInit.freeObjectLoaded(object);
    }
  }

  #objectOf(patch: KlpPatch, mod: Addr): KlpObject | undefined {
    const name = this.context.moduleName(mod);
    return patch.objects().find((object) => object.name === name);
  }
}
