// What all parts of the livepatch core share: the kernel model, the ports, klp_mutex, and the globals
// of kernel/livepatch, which are data of the guest image (asm/x86_64/livepatch.s).

import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import { type DebugSite, DynamicDebug } from '../kernel/dynamic_debug.ts';
import type { Kobjects } from '../kernel/kobject.ts';
import { listEntries } from '../kernel/list.ts';
import { KERN_DEBUG } from '../kernel/printk.ts';
import { DEBUG } from './debug_sites.ts';
import type { LivepatchModel } from './model.ts';
import type { LivepatchOptions, LivepatchPorts } from './ports.ts';
import { type KlpCallback, type KlpObject, KlpPatch } from './structs.ts';

export class KlpContext {
  readonly core: KernelCore;
  readonly constants: Constants;
  readonly ftrace: Ftrace;
  readonly kobjects: Kobjects;
  readonly ports: LivepatchPorts;
  readonly options: LivepatchOptions;
  /** The kernel's own, until another takes its place: before anything is loaded. */
  model: LivepatchModel;
  /** While exploring: a host function pauses behind stores that others read without a lock. */
  pauses = false;
  readonly dynamicDebug = new DynamicDebug();
  /** Head of klp_patches and of klp_ops. */
  readonly patchesHead: Addr;
  readonly opsHead: Addr;
  readonly transitionWork: Addr;
  readonly handler: Addr;
  readonly #module: Structs['module']['fields'];
  readonly #mutex: Addr;
  readonly #mutexLock: Addr;
  readonly #mutexUnlock: Addr;
  readonly #transitionPatch: Addr;
  readonly #targetState: Addr;
  readonly #signalsCnt: Addr;
  readonly #sync: Addr;
  readonly #warned = new Set<string>();

  constructor(
    core: KernelCore,
    ftrace: Ftrace,
    kobjects: Kobjects,
    ports: LivepatchPorts,
    options: LivepatchOptions,
    model: LivepatchModel,
  ) {
    this.core = core;
    this.constants = core.kernel.constants;
    this.model = model;
    this.#module = core.kernel.structs.module.fields;
    this.ftrace = ftrace;
    this.kobjects = kobjects;
    this.ports = ports;
    this.options = options;
    this.dynamicDebug.add(Object.values(DEBUG), options.debug);
    const at = (name: string): Addr => core.symbols.require(name);
    this.patchesHead = at('klp_patches');
    this.opsHead = at('klp_ops');
    this.transitionWork = at('klp_transition_work');
    this.handler = at('klp_ftrace_handler');
    this.#mutex = at('klp_mutex');
    this.#mutexLock = at('mutex_lock');
    this.#mutexUnlock = at('mutex_unlock');
    this.#transitionPatch = at('klp_transition_patch');
    this.#targetState = at('klp_target_state');
    this.#signalsCnt = at('klp_signals_cnt');
    this.#sync = at('klp_sync');
  }

  /** Behind stores that others read without a lock: other CPUs may come to see them one by one. */
  *stored(): HostGenerator<void> {
    if (this.pauses) yield { relax: true, waits: true };
  }
  /** Before anything is decided by what others may have changed meanwhile. */
  *decides(): HostGenerator<void> {
    if (this.pauses) yield { relax: true };
  }

  *lock(): HostGenerator<void> {
    yield { call: this.#mutexLock, args: [this.#mutex] };
  }
  *unlock(): HostGenerator<void> {
    yield { call: this.#mutexUnlock, args: [this.#mutex] };
  }

  /** klp_transition_patch: the patch whose transition is under way. */
  get transitionPatch(): KlpPatch | undefined {
    const addr = this.core.mem.readU64(this.#transitionPatch);
    return addr === 0n ? undefined : new KlpPatch(this.core, addr);
  }
  set transitionPatch(patch: KlpPatch | undefined) {
    this.core.mem.writeU64(this.#transitionPatch, patch?.addr ?? 0n);
  }
  isInTransition(patch: KlpPatch): boolean {
    return this.transitionPatch?.addr === patch.addr;
  }

  /** klp_target_state: KLP_UNDEFINED outside a transition. */
  get targetState(): number {
    return this.core.mem.readS32(this.#targetState);
  }
  set targetState(state: number) {
    this.core.mem.writeU32(this.#targetState, state >>> 0);
  }

  get signalsCnt(): number {
    return this.core.mem.readU32(this.#signalsCnt);
  }
  set signalsCnt(count: number) {
    this.core.mem.writeU32(this.#signalsCnt, count);
  }

  /** klp_for_each_patch(): in the order of enabling. */
  patches(): KlpPatch[] {
    const addrs = listEntries(this.core, this.patchesHead, this.core.kernel.structs.klp_patch.fields.list);
    return addrs.map((addr) => new KlpPatch(this.core, addr));
  }

  /** klp_synchronize_transition(): every CPU has left whatever it ran with preemption off. */
  *synchronize(): HostGenerator<void> {
    yield* this.ports.workqueue.scheduleOnEachCpu(this.#sync);
  }

  /** A callback of the object, run as guest code; its result as an int. 0 when it has none. */
  *callback(object: KlpObject, which: KlpCallback): HostGenerator<number> {
    const fn = object.callback(which);
    if (fn === 0n) return 0;
    const result = yield { call: fn, args: [object.addr] };
    return Number(BigInt.asIntN(32, result));
  }

  moduleName(mod: Addr): string {
    return this.core.mem.readCString(mod + BigInt(this.#module.name), this.constants.MODULE_NAME_LEN);
  }
  moduleState(mod: Addr): number {
    return this.core.mem.readU32(mod + BigInt(this.#module.state));
  }
  /** mod->klp_alive: klp_module_coming() has been called for it, klp_module_going() not. */
  moduleAlive(mod: Addr): boolean {
    return this.core.mem.readU8(mod + BigInt(this.#module.klp_alive)) !== 0;
  }
  setModuleAlive(mod: Addr, alive: boolean): void {
    this.core.mem.writeU8(mod + BigInt(this.#module.klp_alive), alive ? 1 : 0);
  }

  /** pr_debug() */
  debug(site: DebugSite, text: string): void {
    if (this.dynamicDebug.enabled(site)) this.core.printk.log(KERN_DEBUG, `livepatch: ${text}`);
  }
  notice(text: string): void {
    this.core.printk.notice(`livepatch: ${text}`);
  }
  warn(text: string): void {
    this.core.printk.warn(`livepatch: ${text}`);
  }
  err(text: string): void {
    this.core.printk.err(`livepatch: ${text}`);
  }

  /** WARN_ON_ONCE(): says once that something which cannot be was; the condition is the result. */
  warnOn(condition: boolean, where: string): boolean {
    if (condition && !this.#warned.has(where)) {
      this.#warned.add(where);
      this.core.printk.warn(`WARNING: at kernel/livepatch/${where}`);
      this.core.taints |= 1 << this.constants.TAINT_WARN;
    }
    return condition;
  }
}

/** The module of a name between klp_module_coming() and klp_module_going(). */
export function aliveModule(klp: KlpContext, name: string): Addr | undefined {
  const mod = klp.ports.modules.findModule(name);
  return mod !== undefined && klp.moduleAlive(mod) ? mod : undefined;
}
