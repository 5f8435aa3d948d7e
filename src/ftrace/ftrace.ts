// Which fentry sites call what. Mirrors kernel/trace/ftrace.c: ftrace_init, ftrace_module_init,
// register_ftrace_function, ftrace_set_filter_ip; site_code.ts changes their bytes.
//
// Invariant: outside ftrace_lock every site is a nop when no ops traces it; the one ops' own
// trampoline when it is alone; ftrace_caller or ftrace_regs_caller when several share the site.

import type { FentrySite } from '../arch/fentry.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants } from '../kernel/description.ts';
import { holds } from '../kernel/release.ts';
import { UAPI } from '../kernel/uapi.ts';
import { ftraceBug } from './bug.ts';
import { type FtraceRec, FtraceRecords, isValid } from './dyn_ftrace.ts';
import { HashRec, without } from './hash_rec.ts';
import { InitFunctions } from './init_functions.ts';
import { FtraceOps } from './ops.ts';
import { OpsList, type Tracer } from './ops_list.ts';
import type { FtracePorts } from './ports.ts';
import { FTRACE } from './since.ts';
import { SiteCode } from './site_code.ts';
import { type Poke, TextPoke } from './text_poke.ts';
import { Trampolines } from './trampoline.ts';

const INITIALIZING = 'Initializing ftrace call sites';

export class Ftrace {
  readonly records = new FtraceRecords();
  readonly textPoke: TextPoke;
  readonly trampolines: Trampolines;
  readonly initFunctions: InitFunctions;
  /** Set for ever by a failed check: nothing is patched any more (ftrace_kill). */
  disabled = false;
  /** /proc/sys/kernel/ftrace_enabled: any int, on unless it is 0. */
  enabled = 1;
  /** Run when the sites of an ops call, or no longer call, its handler. */
  readonly onUpdated: (() => void)[] = [];
  readonly #core: KernelCore;
  #toldDeprecated = false;
  readonly #fentry: FentrySite;
  readonly #constants: Constants;
  readonly #ports: FtracePorts;
  readonly #sym: ReturnType<typeof imageSymbols>;
  readonly #list: OpsList;
  readonly #rec: HashRec;
  readonly #code: SiteCode;

  constructor(core: KernelCore, ports: FtracePorts) {
    this.#core = core;
    this.#fentry = core.arch.fentry;
    this.#constants = core.kernel.constants;
    this.#ports = ports;
    this.textPoke = new TextPoke(core, ports.smp);
    this.trampolines = new Trampolines(core, ports);
    this.initFunctions = new InitFunctions(core);
    this.#list = new OpsList(core);
    this.#rec = new HashRec(core, this.records, this.#list, this.trampolines);
    this.#code = new SiteCode(core, this.textPoke);
    this.#sym = imageSymbols(core);
  }

  /** The struct ftrace_ops at an address, for whoever registers one. */
  ops(addr: Addr): FtraceOps {
    return new FtraceOps(this.#core, addr);
  }

  /**
   * ftrace_init(): the image's `call __fentry__` sites become nops, in one write each, before anything runs.
   * @param untraced such calls in functions that the kernel has without a site: nops, and nothing more
   */
  init(sites: readonly Addr[], untraced: readonly Addr[] = []): number {
    for (const ip of untraced) this.textPoke.early(ip, this.#fentry.nop);
    const scratch = new Uint8Array(this.#fentry.size);
    for (const rec of this.records.add(undefined, sites, 0)) {
      const expected = this.#fentry.call(rec.ip, this.#sym.fentry, scratch);
      const failed = this.#code.verify(rec.ip, expected);
      if (failed) {
        ftraceBug(this.#core, failed, rec, expected, INITIALIZING);
        this.disabled = true;
        return failed;
      }
      this.textPoke.early(rec.ip, this.#fentry.nop);
    }
    return 0;
  }

  /**
   * ftrace_module_init(): the same for a module's sites, which stay disabled until moduleEnable.
   * @returns 0, or -EINVAL when a site is not a call of __fentry__: ftrace is off then.
   */
  *moduleInit(module: string, sites: readonly Addr[]): HostGenerator<number> {
    if (this.disabled || sites.length === 0) return 0;
    for (const rec of this.records.add(module, sites, this.#constants.FTRACE_FL_DISABLED)) {
      const expected = this.#fentry.call(rec.ip, this.#sym.fentry);
      const failed = this.#code.verify(rec.ip, expected);
      if (failed) {
        if (failed === -UAPI.EINVAL) yield* this.#code.warn('ftrace_module_init', 1);
        ftraceBug(this.#core, failed, rec, expected, INITIALIZING);
        yield* this.#code.warn('ftrace_module_init', 0);
        this.disabled = true;
        return failed;
      }
      this.textPoke.early(rec.ip, this.#fentry.nop);
    }
    return 0;
  }

  /** ftrace_module_enable(): at MODULE_STATE_COMING. Ops that trace every function get the new sites too. */
  moduleEnable(module: string): void {
    if (this.disabled) return;
    for (const rec of this.records.group(module)) {
      if (!isValid(this.#core, rec)) continue;
      rec.flags = (rec.flags & ~this.#constants.FTRACE_FL_DISABLED) >>> 0;
      for (const ops of this.#list.tracing(rec.ip)) this.#rec.count([rec], ops, 1);
      const target = this.#wanted(rec, this.#list.tracers());
      if (target === rec.target) continue;
      this.textPoke.early(rec.ip, this.#fentry.call(rec.ip, target));
      rec.target = target;
      rec.wasTouched ||= target !== 0n;
    }
  }

  /**
   * ftrace_release_mod(): the module's text is about to go. Filters keep its sites, but for those of trace arrays (clearFilter).
   * @returns the sites that are none any more: none of them where ftrace is off for good
   */
  releaseMod(module: string): readonly Addr[] {
    this.initFunctions.forget(module);
    return this.disabled ? [] : this.records.remove(module).map(({ ip }) => ip);
  }

  /** ftrace_free_mem(): a module's init text goes, [start, end). @returns the sites that are none any more */
  freeMem(module: string, start: Addr, end: Addr): readonly Addr[] {
    const gone = this.records.removeRange(module, start, end);
    if (this.#list.registered().length > 0) this.initFunctions.save(module, gone);
    return gone.map(({ ip }) => ip);
  }

  /**
   * clear_mod_from_hash(), clear_func_from_hash(): sites that have gone stay in the filter as an address that no function has, so that
   * it is no shorter: one without any means every function.
   */
  clearFilter(opsAddr: Addr, gone: Iterable<Addr>): void {
    const ops = this.ops(opsAddr);
    for (const ip of gone) ops.renameIp(ip, 0n);
    this.#list.filterChanged(ops);
  }

  /** ftrace_location(): the fentry site at an address, or of the function that starts there; 0 when there is none. */
  location(addr: Addr): Addr {
    const exact = this.records.at(addr);
    if (exact) return exact.ip;
    const found = this.#core.symbols.lookup(addr);
    if (found?.offset !== 0 || found.size === 0) return 0n;
    return this.records.inRange(found.module, addr, addr + BigInt(found.size - 1))?.ip ?? 0n;
  }

  /** ftrace_set_filter_ip(). @returns 0, -EINVAL for an address without a site, -ENOENT to remove what is not in. */
  *setFilterIp(opsAddr: Addr, ip: Addr, remove: boolean, reset = false): HostGenerator<number> {
    if (this.disabled) return -UAPI.ENODEV;
    const site = this.location(ip);
    if (site === 0n) return -UAPI.EINVAL;
    const failed = remove ? 0 : this.#core.faults.check('ftrace_set_filter_ip', this.#core.sym(site));
    if (failed !== 0) return failed;
    const ops = this.ops(opsAddr);
    ops.init();
    yield* this.#lock(this.#sym.ftraceLock);
    const result = yield* this.#updateFilter(ops, site, remove, reset);
    yield* this.#unlock(this.#sym.ftraceLock);
    return result;
  }

  *#updateFilter(ops: FtraceOps, site: Addr, remove: boolean, reset: boolean): HostGenerator<number> {
    const live = ops.has(this.#constants.FTRACE_OPS_FL_ENABLED);
    if (live && ops.has(this.#constants.FTRACE_OPS_FL_IPMODIFY) && !remove && this.#rec.ipmodifyTaken([site]))
      return -UAPI.EBUSY;
    return yield* this.#withFilter(ops, () => {
      if (reset) ops.clearIps(this.#core);
      if (remove) return ops.removeIp(this.#core, site) ? 0 : -UAPI.ENOENT;
      const has = (ops.filterIps() ?? []).includes(site);
      return has || ops.addIp(this.#core, site) ? 0 : -UAPI.ENOMEM;
    });
  }

  /** ftrace_hash_move_and_update_ops(): the filter is these sites; of none, every site. @returns 0 or -errno */
  *setFilter(opsAddr: Addr, sites: Iterable<Addr>): HostGenerator<number> {
    if (this.disabled) return -UAPI.ENODEV;
    const ops = this.ops(opsAddr);
    ops.init();
    yield* this.#lock(this.#sym.ftraceLock);
    const result = yield* this.#withFilter(ops, () => {
      ops.clearIps(this.#core);
      for (const site of sites) if (!ops.addIp(this.#core, site)) return -UAPI.ENOMEM;
      return 0;
    });
    yield* this.#unlock(this.#sym.ftraceLock);
    return result;
  }

  /** Changes the filter of an ops that may be registered: its sites are then those of the new one. */
  *#withFilter(ops: FtraceOps, change: () => number): HostGenerator<number> {
    const live = ops.has(this.#constants.FTRACE_OPS_FL_ENABLED);
    const before = live ? this.#rec.recordsOf(ops) : [];
    this.#rec.markIpmodify(before, ops, false);
    this.#rec.count(before, ops, -1);
    this.#list.filterChanged(ops);
    const result = change();
    this.#list.filterChanged(ops);
    if (live) {
      const records = this.#rec.recordsOf(ops);
      this.#rec.markIpmodify(records, ops, true);
      this.#rec.count(records, ops, 1);
      yield* this.#replaceCode([...before, ...without(records, before)]);
    }
    return result;
  }

  /**
   * register_ftrace_function(): every site of the ops' filter calls its handler when this returns 0.
   * @returns -EBUSY when one of them already has an ops that changes the ip, -EINVAL for an ops that
   * changes the ip but names no site, -ENODEV when ftrace is off for good.
   */
  *registerFunction(opsAddr: Addr): HostGenerator<number> {
    const ops = this.ops(opsAddr);
    ops.init();
    const where = ops.filterIps()?.map((ip) => this.#core.sym(ip));
    const failed = this.#core.faults.check('register_ftrace_function', where?.join(' ') ?? 'all');
    if (failed !== 0) return failed;
    yield* this.#lock(this.#sym.ftraceLock);
    const result = yield* this.#startup(ops);
    yield* this.#unlock(this.#sym.ftraceLock);
    return result;
  }

  *#startup(ops: FtraceOps): HostGenerator<number> {
    if (this.disabled) return -UAPI.ENODEV;
    if (ops.has(this.#constants.FTRACE_OPS_FL_DELETED)) return -UAPI.EINVAL;
    if (ops.has(this.#constants.FTRACE_OPS_FL_ENABLED)) return -UAPI.EBUSY;
    if (!this.enabled && ops.has(this.#constants.FTRACE_OPS_FL_PERMANENT)) return -UAPI.EBUSY;
    // The list first, then the rest: a failure below takes it out again.
    if (!this.#isCoreData(ops.addr)) ops.flags |= this.#constants.FTRACE_OPS_FL_DYNAMIC;
    this.#list.add(ops);
    ops.savedFunc = ops.func;
    if (ops.trampoline === 0n) this.trampolines.create(ops, ops.func);
    ops.flags |= this.#constants.FTRACE_OPS_FL_ENABLED | this.#constants.FTRACE_OPS_FL_ADDING;
    const ipmodify = this.#rec.ipmodifyEnable(ops);
    if (ipmodify < 0) {
      this.#list.remove(ops);
      ops.flags &= ~(this.#constants.FTRACE_OPS_FL_ENABLED | this.#constants.FTRACE_OPS_FL_ADDING);
      if (ops.has(this.#constants.FTRACE_OPS_FL_DYNAMIC)) this.trampolines.free(ops);
      return ipmodify;
    }
    const records = this.#rec.recordsOf(ops);
    this.#rec.count(records, ops, 1);
    yield* this.#runUpdate(ops, records, 'register');
    if (this.disabled) {
      this.#list.remove(ops);
      return -UAPI.ENODEV;
    }
    ops.flags &= ~this.#constants.FTRACE_OPS_FL_ADDING;
    return 0;
  }

  /** core_kernel_data(), of an ops */
  #isCoreData(addr: Addr): boolean {
    const found = this.#core.symbols.lookup(addr);
    return found !== undefined && found.module === undefined;
  }

  /** unregister_ftrace_function(): when it returns, no task is in the handler or on the trampoline. */
  *unregisterFunction(opsAddr: Addr): HostGenerator<number> {
    const ops = this.ops(opsAddr);
    yield* this.#lock(this.#sym.ftraceLock);
    const result = yield* this.#shutdown(ops);
    yield* this.#unlock(this.#sym.ftraceLock);
    return result;
  }

  *#shutdown(ops: FtraceOps): HostGenerator<number> {
    if (this.disabled) return -UAPI.ENODEV;
    if (!ops.has(this.#constants.FTRACE_OPS_FL_ENABLED)) return -UAPI.EBUSY;
    this.#list.remove(ops);
    ops.func = ops.savedFunc;
    const records = this.#rec.recordsOf(ops);
    this.#rec.markIpmodify(records, ops, false);
    this.#rec.count(records, ops, -1);
    ops.flags = (ops.flags & ~this.#constants.FTRACE_OPS_FL_ENABLED) | this.#constants.FTRACE_OPS_FL_REMOVING;
    yield* this.#runUpdate(ops, records, 'unregister');
    ops.flags &= ~this.#constants.FTRACE_OPS_FL_REMOVING;
    // An ops of the image keeps its trampoline for the next time.
    if (!ops.has(this.#constants.FTRACE_OPS_FL_DYNAMIC)) return 0;
    // A task may have been preempted on the trampoline: its memory can go only when none is left there.
    yield* this.#ports.rcu.synchronizeRcuTasksRude();
    yield* this.#ports.rcu.synchronizeRcuTasks();
    this.trampolines.free(ops);
    return 0;
  }

  /**
   * A write to /proc/sys/kernel/ftrace_enabled: 0 turns every site into a nop.
   * @returns -EBUSY when an ops that must not be turned off is registered, a livepatch's: the value is 1 then.
   */
  *setEnabled(value: number): HostGenerator<number> {
    yield* this.#lock(this.#sym.ftraceLock);
    const result = this.disabled ? -UAPI.ENODEV : yield* this.#setEnabled(value);
    yield* this.#unlock(this.#sym.ftraceLock);
    return result;
  }

  *#setEnabled(value: number): HostGenerator<number> {
    if (holds(this.#core.kernel, FTRACE.enabledIsDeprecated)) return this.#setDeprecated(value);
    const was = this.enabled !== 0;
    this.enabled = value;
    if (was === (value !== 0)) return 0;
    if (
      value === 0 &&
      this.#list.registered().some((ops) => ops.has(this.#constants.FTRACE_OPS_FL_PERMANENT))
    ) {
      this.enabled = 1;
      return -UAPI.EBUSY;
    }
    yield* this.#replaceCode(this.records.all());
    return 0;
  }

  /** A value of ftrace_enabled where that turns nothing off any more. */
  #setDeprecated(value: number): number {
    if (value !== 0) {
      this.enabled = value;
      return 0;
    }
    if (!this.#toldDeprecated)
      this.#core.printk.warn('The ftrace_enabled file is deprecated and no longer disables ftrace');
    this.#toldDeprecated = true;
    return -UAPI.EOPNOTSUPP;
  }

  /** ftrace_run_update_code(), with the static callers' handler set before any site can come to them. */
  *#runUpdate(
    ops: FtraceOps,
    records: readonly FtraceRec[],
    what: 'register' | 'unregister',
  ): HostGenerator<void> {
    const { mem, events } = this.#core;
    const told = events.listens('ftrace') ? records : [];
    const sites = told.map((rec) => ({ rec, before: mem.readBytes(rec.ip, this.#fentry.size) }));
    // update_ftrace_function(): several ops, or one that may go at any time, need the function that walks the list
    yield* this.#code.updateStaticCallers(
      this.#list.registered().length > 0 ? this.#sym.listFunc : this.#sym.stub,
    );
    yield* this.#replaceCode(records);
    for (const hook of this.onUpdated) hook();
    for (const { rec, before } of sites) {
      const after = mem.readBytes(rec.ip, this.#fentry.size);
      const where = this.#core.sym(rec.ip);
      events.emit({ type: 'ftrace', what, where, ip: rec.ip, trampoline: ops.trampoline, before, after });
    }
  }

  /** What a record's site should call; 0 for a nop. */
  #wanted(rec: FtraceRec, tracers: readonly Tracer[]): Addr {
    return this.enabled ? this.#rec.wanted(rec, tracers) : 0n;
  }

  /** Sites whose records changed. A site that is not as it should be ends ftrace for good. */
  *#replaceCode(records: Iterable<FtraceRec>): HostGenerator<void> {
    const { FTRACE_FL_DISABLED } = this.#constants;
    const tracers = this.#list.tracers();
    const wanted = (rec: FtraceRec): Addr =>
      rec.flags & FTRACE_FL_DISABLED ? 0n : this.#wanted(rec, tracers);
    if (!(yield* this.#code.replace(records, wanted))) this.disabled = true;
  }

  /** text_poke_bp() of each under text_mutex. */
  pokeLive(pokes: readonly Poke[]): HostGenerator<void> {
    return this.#code.pokeLive(pokes);
  }

  *#lock(mutex: Addr): HostGenerator<void> {
    yield { call: this.#sym.mutexLock, args: [mutex] };
  }
  *#unlock(mutex: Addr): HostGenerator<void> {
    yield { call: this.#sym.mutexUnlock, args: [mutex] };
  }
}

/** What the image defines for ftrace and for locking. */
function imageSymbols(core: KernelCore) {
  const { arch } = core;
  const at = (name: string): Addr => core.symbols.require(name);
  return {
    fentry: at(arch.fentry.entry),
    stub: at('ftrace_stub'),
    listFunc: at('arch_ftrace_ops_list_func'),
    ftraceLock: at('ftrace_lock'),
    mutexLock: at('mutex_lock'),
    mutexUnlock: at('mutex_unlock'),
  };
}
