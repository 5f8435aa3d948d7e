// Patch bundles: enabled, disabled and replaced as one; modules that come and go under them.
// What src/livepatch has for patches of one module. docs/bundle.md tells the rules and the reasons.
//
// Invariant: no code of a module for which an enabled bundle has a member runs before that member is live.

import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { errnoName } from '../kernel/errno.ts';
import type { FaultPoint } from '../kernel/fault_inject.ts';
import type { KobjType } from '../kernel/kobject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import { StackCheck } from '../livepatch/check_stack.ts';
import type { Livepatch } from '../livepatch/core.ts';
import type { StackPort } from '../livepatch/ports.ts';
import { klpIncompatibleState } from '../livepatch/state.ts';
import { KlpPatch } from '../livepatch/structs.ts';
import type { ModuleLoader } from '../module/main.ts';
import type { Module } from '../module/module.ts';
import { type AwaitedPort, Awaits } from './awaits.ts';
import { Bundle, type Member } from './bundle.ts';
import { BundleError } from './error.ts';
import { type BundleFile, readBundle } from './format.ts';
import { firstMissing, placeOf, placeText } from './from_user.ts';
import { GATE, Gate } from './gate.ts';
import { Members } from './members.ts';
import { addBlobDir, addEnableFile, bundleType, removeBlobDir } from './sysfs.ts';

const { EINVAL, ENOENT, EAGAIN, EBUSY } = UAPI;

/** The files of the guest that bundles are read from. */
interface FilePort {
  lookup(path: string): { readonly bytes: Uint8Array } | undefined;
}

/** Which task another one waits for, and who is told when a wait begins. */
interface WaitsPort extends AwaitedPort {
  onWait(told: (call: HostCall) => HostGenerator<void>): void;
}

export class Bundles {
  readonly awaits: Awaits;
  readonly gate: Gate;
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  readonly #loader: ModuleLoader;
  readonly #files: FilePort;
  readonly #bundles: Bundle[] = [];
  readonly #members: Members;
  readonly #type: KobjType;
  /** A task is between taking the gate and the start of its transition: cancelling must not let others in. */
  #starting = false;

  constructor(
    core: KernelCore,
    livepatch: Livepatch,
    loader: ModuleLoader,
    files: FilePort,
    stack: StackPort,
    awaited: WaitsPort,
  ) {
    this.#core = core;
    this.#livepatch = livepatch;
    this.#loader = loader;
    this.#files = files;
    this.awaits = new Awaits(core, loader.modules, (task) => stack.format(task), awaited);
    this.gate = new Gate(
      core,
      (task) => stack.format(task),
      (task, call) => this.#waitedFor(task, call),
      () => this.#klp.transitionPatch?.name ?? this.#bundles.at(-1)?.name ?? '?',
      this.awaits,
    );
    awaited.onWait((call) => this.gate.checkWaits(call));
    this.#members = new Members(core, livepatch, loader);
    this.#type = bundleType(livepatch.context, livepatch.patchInit.patchType);
    addEnableFile(
      (path) => livepatch.context.kobjects.mkdirs(path),
      (path, call) => this.enableFile(path, call),
    );
  }

  get context() {
    return this.#livepatch.context;
  }

  get #klp() {
    return this.#livepatch.context;
  }

  /** The bundle that a patch is. */
  of(patch: KlpPatch): Bundle | undefined {
    return this.#bundles.find((bundle) => bundle.patch.addr === patch.addr);
  }

  /** Bundles that are enabled or in transition, oldest first. */
  list(): readonly Bundle[] {
    const order = this.#klp.patches().map((patch) => patch.addr);
    const at = (bundle: Bundle) => order.indexOf(bundle.patch.addr);
    return this.#bundles.filter((bundle) => at(bundle) >= 0).sort((a, b) => at(a) - at(b));
  }

  /** Bytes of all blobs, and those of objects that are away. */
  blobBytes(onlyAway = false): number {
    return this.#bundles.reduce((sum, bundle) => sum + bundle.blobBytes(onlyAway), 0);
  }

  /** Loads and enables the bundle in a file. @returns 0 or -errno, the reason in the log. */
  *enableFile(path: string, call: HostCall): HostGenerator<number> {
    const bytes = this.#files.lookup(path)?.bytes;
    if (!bytes) return -ENOENT;
    try {
      this.#injected('kernel_read_file', path);
      const file = readBundle(bytes, this.#core.arch.elf, this.#core.kernel);
      this.#injected('klp_verify_bundle', path);
      const waited = yield* this.gate.lock(GATE.transition);
      if (waited !== 0) return waited;
      return yield* this.#enable(file, call);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      this.#klp.err(`bundle ${path}: ${error.message}`);
      return -error.errno;
    }
  }

  /** With the gate. Whatever fails is undone before the gate is given back. */
  *#enable(file: BundleFile, call: HostCall): HostGenerator<number> {
    this.#starting = true;
    try {
      this.#checkTargets(file);
      const bundle = new Bundle(this.#core, file);
      this.#bundles.push(bundle);
      const ret = yield* this.#bringUp(bundle, file, call);
      if (ret !== 0) this.#klp.err(`bundle '${bundle.name}' is not enabled (${errnoName(-ret) ?? ret})`);
      return ret;
    } finally {
      this.#starting = false;
      if (this.#klp.transitionPatch) this.gate.started();
      else yield* this.gate.unlockTransition();
      yield* this.gate.checkWaits(call);
    }
  }

  /** Where a step can be made to fail. */
  #injected(point: FaultPoint, what: string): void {
    const failed = this.#core.faults.check(point, what);
    if (failed !== 0) throw new BundleError(-failed, `${point} of ${what}: a fault`);
  }

  #checkTargets(file: BundleFile): void {
    const { name } = file;
    if (
      this.#klp.patches().some((patch) => patch.name === name) ||
      this.#bundles.some((b) => b.name === name)
    )
      throw new BundleError('EEXIST', `a patch '${name}' is there already`);
    for (const member of file.members) {
      const mod = this.#loaded(member.object);
      const wrong = mod && this.#wrongTarget(member, mod);
      if (wrong) throw new BundleError('EINVAL', wrong);
      if (this.#loader.modules.find(member.module))
        throw new BundleError('EEXIST', `member ${member.file}: a module of its name is loaded`);
    }
  }

  #loaded(object: string): Module | undefined {
    const mod = this.#loader.modules.find(object);
    return mod?.klpAlive && !mod.paused ? mod : undefined;
  }

  *#bringUp(bundle: Bundle, file: BundleFile, call: HostCall): HostGenerator<number> {
    for (const member of bundle.loadOrder()) {
      const { object } = member.spec;
      if (object !== 'vmlinux' && !this.#loaded(object)) continue;
      const ret = yield* this.#members.load(bundle, member, file.members[member.place].bytes);
      if (ret !== 0) {
        yield* this.#takeDown(bundle);
        return ret;
      }
    }
    return yield* this.#transition(bundle, call);
  }

  *#transition(bundle: Bundle, call: HostCall): HostGenerator<number> {
    const livepatch = this.#livepatch;
    const { context: klp, patchInit } = livepatch;
    const { patch } = bundle;
    yield* klp.lock();
    patchInit.early(patch, this.#type);
    for (const member of bundle.members) this.#members.adopt(bundle, member);
    let ret = this.#statesProblem(bundle) ? -EINVAL : yield* patchInit.init(patch);
    if (ret === 0) {
      for (const member of bundle.members) if (!member.module) addBlobDir(klp, bundle, member);
      ret = yield* livepatch.enableLocked(patch, call);
    }
    if (ret !== 0) yield* patchInit.freeStart(patch);
    yield* klp.unlock();
    if (ret === 0) return 0;
    yield* patchInit.freeFinish(patch);
    yield* this.#takeDown(bundle);
    return ret;
  }

  /** A system state that stands in its way, reported. */
  #statesProblem({ name, patch }: Bundle): boolean {
    const found = klpIncompatibleState(this.#klp, patch);
    if (!found) return false;
    const { old, state, mine } = found;
    const before = `state ${state.id} of '${old.name}' (version ${state.version})`;
    const what = mine
      ? `takes ${before} back to version ${mine.version}`
      : `replaces ${before} without having it`;
    this.#klp.err(`bundle '${name}' ${what}`);
    return true;
  }

  /** Members out of memory, the last first; blobs given back. */
  *#takeDown(bundle: Bundle): HostGenerator<void> {
    for (const member of [...bundle.loadOrder()].reverse()) yield* this.#members.unload(member);
    this.#bundles.splice(this.#bundles.indexOf(bundle), 1);
    bundle.free();
  }

  /** klp_enable_patch() in this model: of a member, or of a patch module that somebody loads by itself. */
  *enablePatch(addr: bigint, call: HostCall): HostGenerator<number> {
    const livepatch = this.#livepatch;
    if (addr === 0n) return -EINVAL;
    const patch = new KlpPatch(this.#core, addr);
    if (patch.mod === 0n || patch.objsPointer === 0n) return -EINVAL;
    const registered = this.#members.register(patch, call);
    if (registered !== undefined) return registered;
    const problem = this.#members.problem(patch);
    if (problem !== undefined) {
      this.#klp.err(problem);
      return -EINVAL;
    }
    const { modules } = this.#loader;
    const target = modules.find(patch.staticObjects()[0].displayName);
    if (target?.paused) return yield* this.#linkFromUser(patch, target);
    const waited = yield* this.gate.lock(GATE.transition | GATE.noRestart);
    if (waited !== 0) return waited;
    const ret = yield* livepatch.enablePatch(addr, call);
    if (ret === 0) this.#pinTarget(patch);
    if (this.#klp.transitionPatch) this.gate.started();
    else yield* this.gate.unlockTransition();
    yield* this.gate.checkWaits(call);
    return ret;
  }

  /** A patch that is no bundle's has no blob to go back to: its target stays while the patch module does. */
  #pinTarget(patch: KlpPatch): void {
    const { modules } = this.#loader;
    const user = modules.byAddr(patch.mod);
    const target = modules.find(patch.staticObjects()[0].displayName);
    if (user && target) modules.ref(user, target);
  }

  /** A patch module that user space loads for a target that it has paused. @returns 0, or -errno: it may not join */
  joins(object: string, module: string, bytes: Uint8Array): number {
    try {
      placeOf(this.list(), object, module, bytes);
      return 0;
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      this.#klp.err(error.message);
      return -error.errno;
    }
  }

  /** klp_enable_patch() of such a module; its file has passed joins(). */
  *#linkFromUser(patch: KlpPatch, target: Module): HostGenerator<number> {
    const { modules } = this.#loader;
    const module = modules.byAddr(patch.mod);
    const place = firstMissing(this.list(), target.name);
    if (module?.patches !== target.name || place?.member.spec.module !== module.name) {
      this.#klp.err(`patch '${patch.name}': its object '${target.name}' is not live yet`);
      return -EBUSY;
    }
    const { bundle, member } = place;
    modules.tryGet(module);
    member.module = module;
    member.object = patch.staticObjects()[0];
    member.patch = patch;
    removeBlobDir(this.#klp, bundle, member);
    const ret = yield* this.#members.link(bundle, member);
    if (ret === 0) return 0;
    member.module = undefined;
    member.object = undefined;
    member.patch = undefined;
    modules.put(module);
    addBlobDir(this.#klp, bundle, member);
    return ret;
  }

  /** klp_module_coming() in this model: the module is paused. @returns 0, or -errno: it must not be loaded. */
  *moduleComing(mod: Module, fromUser: boolean): HostGenerator<number> {
    if (mod.name === 'vmlinux') return -EINVAL;
    mod.klpAlive = true;
    if (fromUser) return this.mayUnpause(mod);
    for (const bundle of this.list()) {
      const member = bundle.memberFor(mod.name);
      if (!member || member.module) continue;
      const ret = yield* this.#bring(bundle, member, mod);
      if (ret === 0) continue;
      yield* this.moduleGoing(mod);
      return ret;
    }
    return 0;
  }

  /** 0, or -EAGAIN where an enabled bundle has a member for the paused module that is not live: it is named. */
  mayUnpause(mod: Module): number {
    const missing = firstMissing(this.list(), mod.name);
    if (!missing) return 0;
    this.#klp.err(`module '${mod.name}' is not unpaused: ${placeText(missing)} is not live`);
    return -EAGAIN;
  }

  *#bring(bundle: Bundle, member: Member, mod: Module): HostGenerator<number> {
    const wrong = this.#wrongTarget(member.spec, mod);
    if (wrong) {
      this.#klp.err(`bundle '${bundle.name}': ${wrong}`);
      return -EINVAL;
    }
    const loaded = yield* this.#members.load(bundle, member, bundle.bytesOf(member));
    if (loaded !== 0) return loaded;
    removeBlobDir(this.#klp, bundle, member);
    const linked = yield* this.#members.link(bundle, member);
    if (linked === 0) return 0;
    yield* this.#toBlob(bundle, member);
    return linked;
  }

  *#toBlob(bundle: Bundle, member: Member): HostGenerator<void> {
    yield* this.#members.unload(member);
    addBlobDir(this.#klp, bundle, member);
  }

  /** klp_module_going() in this model: members go back to their blobs, the newest bundle's first. */
  *moduleGoing(mod: Module): HostGenerator<void> {
    mod.klpAlive = false;
    for (const bundle of [...this.list()].reverse()) {
      const member = bundle.memberFor(mod.name);
      if (!member?.module) continue;
      yield* this.#members.unlink(bundle, member);
      yield* this.#toBlob(bundle, member);
    }
  }

  /** A transition has come to its end, or none came of it. */
  *transitionEnd(): HostGenerator<void> {
    if (!this.#starting) yield* this.gate.unlockTransition();
  }

  /** The last of a patch has gone from the livepatch core; a forced one's code may still be in use. */
  *freed(patch: KlpPatch, forced: boolean): HostGenerator<void> {
    const bundle = this.of(patch);
    if (!bundle) return;
    if (forced) for (const member of bundle.members) member.module = undefined;
    yield* this.#takeDown(bundle);
  }

  /** A function that the transition under way waits for a task to leave. */
  #waitedFor(task: TaskStruct, call: HostCall): string | undefined {
    const { transitionPatch, targetState, ports } = this.#klp;
    if (!transitionPatch || task.patchState === targetState) return undefined;
    const check = new StackCheck(this.#livepatch.patching, transitionPatch, targetState);
    const found = check.find(Math.max(0, ports.stack.saveReliable(task, check.entries, call)));
    return found < 0 ? undefined : check.nameOf(found);
  }

  /** What is wrong with a target; undefined when it is the one that the member was built for. */
  #wrongTarget(spec: BundleFile['members'][number] | Member['spec'], mod: Module): string | undefined {
    const { file, object, srcversion, vermagic } = spec;
    if (this.#core.faults.check('klp_check_target', file)) return `klp_check_target of ${file}: a fault`;
    const [field, wanted] = srcversion !== undefined ? ['srcversion', srcversion] : ['vermagic', vermagic];
    const is = mod.info.get(field as string);
    if (is?.trim() === wanted?.trim()) return undefined;
    return `member ${file} is for ${object} of ${field} ${wanted}, and ${is} is loaded`;
  }
}
