// Loading and unloading: the order of steps, and what is undone when one fails.
// Mirrors load_module(), do_init_module(), free_module() and delete_module() of kernel/module/main.c.
//
// Invariant: a load that fails leaves memory, symbols, references and lists as they were. Only taints stay, as in
// the kernel.

import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { holds } from '../kernel/release.ts';
import { addTaint } from '../kernel/taint.ts';
import { UAPI } from '../kernel/uapi.ts';
import { updateSites } from './branch_sites.ts';
import { asModuleError, injected, ModuleError } from './error.ts';
import { ModuleFormation, type Undo } from './formation.ts';
import type { LoadRequest } from './load_info.ts';
import { freeInit, freeModuleMemory, protectAfterInit, unpauseModule } from './memory.ts';
import type { Module } from './module.ts';
import { ModuleList, neg } from './modules.ts';
import { ModuleParams } from './params.ts';
import { type ModuleHooks, type ModuleLoaderPorts, settle } from './ports.ts';
import { MODULES } from './since.ts';

export type LoadResult =
  | { readonly ok: true; readonly module: Module }
  /** errno is positive, or the negative of a positive result; `reason` says more than the errno's name. */
  | { readonly ok: false; readonly errno: number; readonly code: string; readonly reason: string };

export class ModuleLoader {
  readonly modules: ModuleList;
  readonly params: ModuleParams;
  readonly #core: KernelCore;
  readonly #module: Structs['module']['fields'];
  readonly #ports: ModuleLoaderPorts;
  readonly #hooks: ModuleHooks;
  readonly #formation: ModuleFormation;
  readonly #paused = new Map<Module, { readonly args: string; readonly undo: Undo[] }>();

  constructor(core: KernelCore, ports: ModuleLoaderPorts, modules = new ModuleList(core)) {
    this.#core = core;
    this.#module = core.kernel.structs.module.fields;
    this.#ports = ports;
    this.#hooks = ports.hooks ?? {};
    this.modules = modules;
    this.#formation = new ModuleFormation(core, ports, this.modules);
    this.params = new ModuleParams(core);
    core.host.define('do_init_module_warn', ({ args }) => {
      const name = core.mem.readCString(
        args[0] + BigInt(this.#module.name),
        core.kernel.constants.MODULE_NAME_LEN,
      );
      const ret = BigInt.asIntN(32, args[1]);
      const convention = 'it should follow 0/-E convention';
      core.printk.warn(`do_init_module: '${name}'->init suspiciously returned ${ret}, ${convention}`);
      core.printk.warn('do_init_module: loading module anyway...');
    });
  }

  /** load_module(), in the task that asks for it: runs until init has returned. */
  *loadModule(request: LoadRequest): HostGenerator<LoadResult> {
    const undo: Undo[] = [];
    try {
      const mod = yield* this.#form(request, undo);
      undo.length = 0;
      yield* this.#doInitModule(mod);
      return { ok: true, module: mod };
    } catch (error) {
      return yield* this.#failed(error, undo);
    }
  }

  /** The first half of a load: until the module is paused. What undoes it stays with the result. */
  *loadPaused(request: LoadRequest): HostGenerator<LoadResult> {
    const undo: Undo[] = [];
    try {
      const { mod, args } = yield* this.#formation.form(request, undo);
      yield* settle(this.#hooks.ftraceModuleEnable?.(mod));
      this.#paused.set(mod, { args, undo });
      return { ok: true, module: mod };
    } catch (error) {
      return yield* this.#failed(error, undo);
    }
  }

  /** The second half: patches, init, LIVE. A failure removes the module. */
  *unpause(mod: Module): HostGenerator<LoadResult> {
    const { args, undo } = this.#resume(mod);
    try {
      yield* this.#activate(mod, args, undo);
      undo.length = 0;
      yield* this.#doInitModule(mod);
      return { ok: true, module: mod };
    } catch (error) {
      return yield* this.#failed(error, undo);
    }
  }

  /** A module whose handle was closed before it was unpaused. */
  *dropPaused(mod: Module): HostGenerator<void> {
    const { undo } = this.#resume(mod);
    mod.state = 'GOING';
    yield* settle(this.#hooks.klpModuleGoing?.(mod) ?? undefined);
    for (const step of undo.reverse()) yield* settle(step());
  }

  /** What is known of a paused module, which is paused no more. */
  #resume(mod: Module): { readonly args: string; readonly undo: Undo[] } {
    const paused = this.#paused.get(mod);
    if (!paused) throw new Error(`${mod.name} is not paused`);
    this.#paused.delete(mod);
    return paused;
  }

  *#failed(error: unknown, undo: Undo[]): HostGenerator<LoadResult> {
    const failure = asModuleError(error);
    for (const step of undo.reverse()) yield* settle(step());
    return { ok: false, errno: failure.errno, code: failure.code, reason: failure.message };
  }

  /** Everything before init runs. @throws ModuleError */
  *#form(request: LoadRequest, undo: Undo[]): HostGenerator<Module> {
    const { mod, args } = yield* this.#formation.form(request, undo);
    yield* settle(this.#hooks.ftraceModuleEnable?.(mod));
    yield* this.#activate(mod, args, undo);
    return mod;
  }

  *#activate(mod: Module, args: string, undo: Undo[]): HostGenerator<void> {
    try {
      yield* this.#prepareComing(mod, undo);
      undo.push(() => this.params.destroy(mod));
      injected(this.#core, 'parse_args', mod.name);
      yield* this.params.parse(mod, args);
      yield* this.#sysfsSetup(mod);
    } catch (error) {
      // Nobody may take a reference to what is about to go.
      mod.state = 'GOING';
      throw error;
    }
  }

  /** prepare_coming_module(), and the notifiers that the kernel itself has: jump labels, static calls. */
  *#prepareComing(mod: Module, undo: Undo[]): HostGenerator<void> {
    const klp = yield* settle(this.#hooks.klpModuleComing?.(mod) ?? 0);
    // What a callback returned, positive too: load_module() passes it on, and the module is gone all the same.
    if (klp !== 0) throw new ModuleError(-klp, `livepatch refuses module ${mod.name}`);
    undo.push(() => this.#hooks.klpModuleGoing?.(mod));
    if (mod.paused) unpauseModule(this.#core, mod);
    updateSites(this.#core, this.#ports, mod);
    const err = (yield* settle(this.#hooks.notify?.(mod, 'COMING') ?? 0)) ?? 0;
    undo.push(() => this.#notifyGoing(mod));
    injected(this.#core, 'notifier_call_chain', mod.name);
    if (err !== 0) throw new ModuleError(-err, `a notifier refuses module ${mod.name}`);
  }

  *#notifyGoing(mod: Module): HostGenerator<void> {
    this.#core.events.emit({ type: 'module', name: mod.name, state: 'GOING' });
    yield* settle(this.#hooks.notify?.(mod, 'GOING') ?? undefined);
  }

  *#sysfsSetup(mod: Module): HostGenerator<void> {
    injected(this.#core, 'mod_sysfs_setup', mod.name);
    const err = (yield* settle<number | void>(this.#hooks.modSysfsSetup?.(mod) ?? 0)) ?? 0;
    if (err !== 0) throw new ModuleError(-err, `no directory in /sys/module for ${mod.name}`);
  }

  /** do_init_module(). @throws ModuleError after everything was undone */
  *#doInitModule(mod: Module): HostGenerator<void> {
    const { events } = this.#core;
    const ret = mod.init === 0n ? 0 : yield* this.#callInit(mod);
    if (ret < 0) {
      yield* this.#initFailed(mod);
      const isBusy = -ret === UAPI.EEXIST && holds(this.#core.kernel, MODULES.existsIsBusy);
      throw new ModuleError(isBusy ? UAPI.EBUSY : -ret, `init of ${mod.name} returned ${ret}`);
    }
    mod.state = 'LIVE';
    events.emit({ type: 'module', name: mod.name, state: 'LIVE' });
    yield* settle(this.#hooks.notify?.(mod, 'LIVE') ?? undefined);
    this.#dropInit(mod);
  }

  /** By way of the image's do_init_module(), whose frame is on the stack of every init. */
  *#callInit(mod: Module): HostGenerator<number> {
    const failed = this.#core.faults.check('do_one_initcall', mod.name);
    if (failed !== 0) return failed;
    const caller = this.#core.symbols.matches('do_init_module', undefined)[0]?.addr;
    const result = yield caller === undefined ? { call: mod.init } : { call: caller, args: [mod.addr] };
    return Number(BigInt.asIntN(32, result));
  }

  #dropInit(mod: Module): void {
    const init = mod.base('init');
    this.#hooks.ftraceFreeMem?.(mod, init, init + BigInt(mod.size('init')));
    this.modules.put(mod);
    // kallsyms may be walking: the table that stays must be in place before the other goes.
    mod.writeField('kallsyms', mod.addr + BigInt(this.#module.core_kallsyms));
    protectAfterInit(this.#core, mod);
    this.modules.removeInit(mod);
    freeInit(this.#core, this.#ports, mod);
    this.#formation.publish(mod);
  }

  *#initFailed(mod: Module): HostGenerator<void> {
    mod.state = 'GOING';
    this.modules.put(mod);
    yield* this.#going(mod);
    yield* this.#freeModule(mod);
  }

  *#going(mod: Module): HostGenerator<void> {
    yield* this.#notifyGoing(mod);
    yield* settle(this.#hooks.klpModuleGoing?.(mod) ?? undefined);
    this.#hooks.ftraceReleaseMod?.(mod);
  }

  /** free_module() */
  *#freeModule(mod: Module): HostGenerator<void> {
    yield* settle(this.#hooks.modSysfsTeardown?.(mod) ?? undefined);
    mod.state = 'UNFORMED';
    this.modules.unrefAll(mod);
    yield* this.params.destroy(mod);
    this.#core.symbols.remove(mod.name);
    this.#hooks.unwindModuleFree?.(mod);
    this.modules.remove(mod);
    const { mem, slab } = this.#core;
    slab.free(mod.args);
    const percpu = mem.readU64(mod.addr + BigInt(this.#module.percpu));
    if (mem.readU32(mod.addr + BigInt(this.#module.percpu_size)) > 0) this.#ports.percpu?.free(percpu);
    freeModuleMemory(this.#core, this.#ports, mod);
    this.#core.events.emit({ type: 'module', name: mod.name, state: 'freed' });
  }

  /** delete_module(): 0 or -errno. */
  *deleteModule(name: string, flags = 0): HostGenerator<number> {
    const mod = this.modules.find(name);
    if (!mod) return neg('ENOENT');
    if (mod.users.size > 0) return neg('EAGAIN');
    if (mod.state !== 'LIVE') return neg('EBUSY');
    if (mod.init !== 0n && mod.exit === 0n && !this.#forceUnload(flags)) return neg('EBUSY');
    if (!this.modules.tryRelease(mod) && !this.#forceUnload(flags)) return neg('EAGAIN');
    mod.state = 'GOING';
    if (mod.exit !== 0n) yield { call: mod.exit, args: [] };
    yield* this.#going(mod);
    this.modules.lastUnloaded = { name, flags: mod.taintLetters };
    yield* this.#freeModule(mod);
    return 0;
  }

  /** try_force_unload(): rmmod --force. */
  #forceUnload(flags: number): boolean {
    if ((flags & UAPI.O_TRUNC) === 0) return false;
    addTaint(this.#core, this.#core.kernel.constants.TAINT_FORCED_RMMOD, 'now unreliable');
    return true;
  }
}
