// Probes at fentry sites. Mirrors kernel/kprobes.c: register_kprobe, __unregister_kprobe_top, arm_kprobe_ftrace,
// register_aggr_kprobe, kill_kprobe. What a hit does is asm/x86_64/kprobes.s.
//
// Invariant: outside kprobe_mutex the sites of kprobe_ftrace_ops and kprobe_ipmodify_ops are those of the probes in
// kprobe_table that are not disabled, while probes are on at all.

import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import type { ResolvedSymbol } from '../kernel/kallsyms.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Module } from '../module/module.ts';
import type { ModuleList } from '../module/modules.ts';
import { KprobeStruct, KprobeTable } from './kprobe_struct.ts';

interface Armed {
  readonly ops: Addr;
  count: number;
}

export class Kprobes {
  readonly table: KprobeTable;
  readonly #core: KernelCore;
  readonly #ftrace: Ftrace;
  readonly #modules: ModuleList;
  readonly #plain: Armed;
  readonly #ipmodify: Armed;
  readonly #sym: Readonly<Record<'mutex' | 'lock' | 'unlock' | 'rcu', Addr>>;
  #allDisarmed = false;

  constructor(core: KernelCore, ftrace: Ftrace, modules: ModuleList) {
    const at = (name: string): Addr => core.symbols.require(name);
    this.#core = core;
    this.#ftrace = ftrace;
    this.#modules = modules;
    this.table = new KprobeTable(core);
    this.#plain = { ops: at('kprobe_ftrace_ops'), count: 0 };
    this.#ipmodify = { ops: at('kprobe_ipmodify_ops'), count: 0 };
    this.#sym = {
      mutex: at('kprobe_mutex'),
      lock: at('mutex_lock'),
      unlock: at('mutex_unlock'),
      rcu: at('synchronize_rcu'),
    };
    this.#define();
  }

  /** Guest code that calls all probes of a place: what a port without kprobes does not have, nobody asks for. */
  #aggregate(when: 'pre' | 'post'): Addr {
    return this.#core.symbols.require(`aggr_${when}_handler`);
  }

  #define(): void {
    const self = this;
    const errno = (result: number): bigint => (result < 0 ? negErrno(-result) : 0n);
    this.#core.host.defineAll({
      *register_kprobe({ args }): HostGenerator {
        return errno(yield* self.register(args[0]));
      },
      *unregister_kprobe({ args }): HostGenerator {
        yield* self.unregister([args[0]]);
      },
      *register_kprobes(call): HostGenerator {
        return errno(yield* self.#registerAll(call));
      },
      *unregister_kprobes(call): HostGenerator {
        yield* self.unregister(self.#pointers(call));
      },
      *enable_kprobe({ args }): HostGenerator {
        return errno(yield* self.enable(args[0]));
      },
      *disable_kprobe({ args }): HostGenerator {
        return errno(yield* self.disable(args[0]));
      },
    });
  }

  #pointers({ args: [array, count] }: HostCall): Addr[] {
    const length = Math.max(Number(BigInt.asIntN(32, count)), 0);
    return Array.from({ length }, (_, i) => this.#core.mem.readU64(array + BigInt(i * 8)));
  }

  *#registerAll(call: HostCall): HostGenerator<number> {
    const pointers = this.#pointers(call);
    if (pointers.length === 0) return -UAPI.EINVAL;
    for (const [i, probe] of pointers.entries()) {
      const failed = yield* this.register(probe);
      if (failed === 0) continue;
      yield* this.unregister(pointers.slice(0, i));
      return failed;
    }
    return 0;
  }

  *register(at: Addr): HostGenerator<number> {
    const probe = new KprobeStruct(this.#core, at);
    const place = this.#placeOf(probe);
    if (typeof place === 'number') return place;
    probe.set('addr', place.addr);
    if (this.#valid(probe)) return -UAPI.EINVAL;
    const { KPROBE_FLAG_DISABLED, KPROBE_FLAG_FTRACE, KPROBE_FLAG_ON_FUNC_ENTRY } =
      this.#core.kernel.constants;
    probe.flags &= KPROBE_FLAG_DISABLED;
    probe.set('nmissed', 0n);
    probe.initList();
    const mod = this.#modules.moduleTextAddress(place.addr);
    if (mod && !this.#modules.tryGet(mod)) return -UAPI.ENOENT;
    probe.flags |= KPROBE_FLAG_FTRACE | (place.isEntry ? KPROBE_FLAG_ON_FUNC_ENTRY : 0);
    yield* this.#lock();
    const result = yield* this.#insert(probe);
    yield* this.#unlock();
    if (mod) this.#modules.put(mod);
    return result;
  }

  /** _kprobe_addr() and check_kprobe_address_safe(): the fentry site of what the probe names, or -errno. */
  #placeOf(probe: KprobeStruct): { addr: Addr; isEntry: boolean } | number {
    const { symbols, mem, kernel } = this.#core;
    const [given, named] = [probe.get('addr'), probe.get('symbol_name')];
    if ((given !== 0n) === (named !== 0n)) return -UAPI.EINVAL;
    const start =
      named === 0n ? given : symbols.lookupName(mem.readCString(named, kernel.constants.KSYM_NAME_LEN));
    if (start === undefined) return -UAPI.ENOENT;
    const place = this.place(start + BigInt(probe.offset));
    if (place === -UAPI.EOPNOTSUPP)
      this.#core.events.emit({
        type: 'note',
        text: `${this.#core.sym(start + BigInt(probe.offset))}: probes are at fentry sites only, and this is none`,
      });
    return place;
  }

  /** The fentry site at an address, or of the function that begins there; -errno where a probe cannot be. */
  place(addr: Addr): { addr: Addr; isEntry: boolean } | number {
    const found = this.#core.symbols.lookup(addr);
    if (!found) return -UAPI.ENOENT;
    const site = this.#ftrace.location(addr);
    const text = found.type.toLowerCase();
    if (text !== 't' && text !== 'w') return -UAPI.EINVAL;
    // In the middle of a function the kernel sets a breakpoint; this machine has none to set.
    if (site === 0n) return -UAPI.EOPNOTSUPP;
    return { addr: site, isEntry: true };
  }

  /** kallsyms_lookup() of a probe's place, which is at the offset that the kernel has it at. */
  nameOf(addr: Addr): ResolvedSymbol | undefined {
    const found = this.#core.symbols.describe(addr);
    const offset = this.#ftrace.records.kernelOffset(addr) ?? found?.offset ?? 0;
    return found && { ...found, offset };
  }

  *#insert(probe: KprobeStruct): HostGenerator<number> {
    const old = this.table.find(probe.get('addr'));
    if (old) return yield* this.#join(old, probe);
    this.table.add(probe);
    if (this.#allDisarmed || probe.isDisabled) return 0;
    const failed = yield* this.#arm(probe);
    if (failed !== 0) {
      this.table.remove(probe);
      yield { call: this.#sym.rcu };
    }
    return failed;
  }

  /** register_aggr_kprobe(): a second probe at one address. */
  *#join(old: KprobeStruct, probe: KprobeStruct): HostGenerator<number> {
    const { KPROBE_FLAG_DISABLED, KPROBE_FLAG_GONE } = this.#core.kernel.constants;
    const aggregator = this.#isAggregator(old) ? old : this.#aggregatorOf(old);
    if (!aggregator) return -UAPI.ENOMEM;
    if (aggregator.has(KPROBE_FLAG_GONE))
      aggregator.flags = (aggregator.flags & ~KPROBE_FLAG_GONE) | KPROBE_FLAG_DISABLED;
    probe.addTo(aggregator);
    if (probe.get('post_handler') !== 0n && aggregator.get('post_handler') === 0n)
      aggregator.set('post_handler', this.#aggregate('post'));
    if (!aggregator.has(KPROBE_FLAG_DISABLED) || probe.isDisabled) return 0;
    aggregator.flags &= ~KPROBE_FLAG_DISABLED;
    const failed = this.#allDisarmed ? 0 : yield* this.#arm(aggregator);
    if (failed !== 0) {
      aggregator.flags |= KPROBE_FLAG_DISABLED;
      probe.removeFromList();
      yield { call: this.#sym.rcu };
    }
    return failed;
  }

  #isAggregator(probe: KprobeStruct): boolean {
    return probe.get('pre_handler') === this.#aggregate('pre');
  }

  /** alloc_aggr_kprobe() and init_aggr_kprobe(): takes the place of the one that is there. */
  #aggregatorOf(probe: KprobeStruct): KprobeStruct | undefined {
    const { slab, kernel } = this.#core;
    const at = slab.tryAlloc(kernel.structs.kprobe.size, 'kprobe aggregator');
    if (at === 0n) return undefined;
    const aggregator = new KprobeStruct(this.#core, at);
    aggregator.set('addr', probe.get('addr'));
    aggregator.flags = probe.flags & ~kernel.constants.KPROBE_FLAG_OPTIMIZED;
    aggregator.set('pre_handler', this.#aggregate('pre'));
    if (probe.get('post_handler') !== 0n && !probe.has(kernel.constants.KPROBE_FLAG_GONE))
      aggregator.set('post_handler', this.#aggregate('post'));
    aggregator.initList();
    probe.addTo(aggregator);
    this.table.remove(probe);
    this.table.add(aggregator);
    return aggregator;
  }

  /** __get_valid_kprobe(): the probe of the table that this one is, or is a member of. */
  #valid(probe: KprobeStruct): KprobeStruct | undefined {
    const found = this.table.find(probe.get('addr'));
    if (!found || found.at === probe.at) return found;
    const isMember = this.#isAggregator(found) && found.members().some(({ at }) => at === probe.at);
    return isMember ? found : undefined;
  }

  *unregister(probes: readonly Addr[]): HostGenerator<void> {
    yield* this.#lock();
    const all = probes.map((at) => new KprobeStruct(this.#core, at));
    const dead: Addr[] = [];
    for (const probe of all) {
      const gone = yield* this.#unregisterTop(probe);
      if (gone === undefined) probe.set('addr', 0n);
      else if (gone.at !== probe.at) dead.push(gone.at);
    }
    yield* this.#unlock();
    yield { call: this.#sym.rcu };
    for (const at of dead) this.#core.slab.free(at);
  }

  /** @returns what goes with it: itself, or its aggregator where that has no other; undefined: it was not there */
  *#unregisterTop(probe: KprobeStruct): HostGenerator<KprobeStruct | undefined> {
    const found = yield* this.#disable(probe);
    if (typeof found === 'number') return undefined;
    if (found.at !== probe.at && !found.isSingular) {
      probe.removeFromList();
      return probe;
    }
    this.table.remove(found);
    return found;
  }

  *enable(at: Addr): HostGenerator<number> {
    const { KPROBE_FLAG_DISABLED, KPROBE_FLAG_GONE } = this.#core.kernel.constants;
    yield* this.#lock();
    const probe = new KprobeStruct(this.#core, at);
    const found = this.#valid(probe);
    let result = 0;
    if (!found || probe.has(KPROBE_FLAG_GONE)) result = -UAPI.EINVAL;
    else {
      if (found.at !== probe.at) probe.flags &= ~KPROBE_FLAG_DISABLED;
      if (!this.#allDisarmed && found.isDisabled) {
        found.flags &= ~KPROBE_FLAG_DISABLED;
        result = yield* this.#arm(found);
        if (result !== 0) {
          found.flags |= KPROBE_FLAG_DISABLED;
          probe.flags |= KPROBE_FLAG_DISABLED;
        }
      } else found.flags &= ~KPROBE_FLAG_DISABLED;
    }
    yield* this.#unlock();
    return result;
  }

  *disable(at: Addr): HostGenerator<number> {
    yield* this.#lock();
    const found = yield* this.#disable(new KprobeStruct(this.#core, at));
    yield* this.#unlock();
    return typeof found === 'number' ? found : 0;
  }

  /** __disable_kprobe() */
  *#disable(probe: KprobeStruct): HostGenerator<KprobeStruct | number> {
    const { KPROBE_FLAG_DISABLED } = this.#core.kernel.constants;
    const found = this.#valid(probe);
    if (!found) return -UAPI.EINVAL;
    if (probe.isDisabled) return found;
    const isMember = found.at !== probe.at;
    if (isMember) probe.flags |= KPROBE_FLAG_DISABLED;
    if (isMember && !found.members().every((member) => member.isDisabled)) return found;
    if (!this.#allDisarmed && !found.isDisabled) {
      const failed = yield* this.#disarm(found);
      if (failed !== 0) {
        probe.flags &= ~KPROBE_FLAG_DISABLED;
        return failed;
      }
    }
    found.flags |= KPROBE_FLAG_DISABLED;
    return found;
  }

  #armedBy(probe: KprobeStruct): Armed {
    return probe.get('post_handler') === 0n ? this.#plain : this.#ipmodify;
  }

  /** arm_kprobe_ftrace() */
  *#arm(probe: KprobeStruct): HostGenerator<number> {
    const armed = this.#armedBy(probe);
    const site = probe.get('addr');
    const failed = yield* this.#ftrace.setFilterIp(armed.ops, site, false);
    if (failed < 0) return failed;
    if (armed.count === 0) {
      const result = yield* this.#ftrace.registerFunction(armed.ops);
      if (result < 0) {
        yield* this.#ftrace.setFilterIp(armed.ops, site, true);
        return result;
      }
    }
    armed.count++;
    return 0;
  }

  /** disarm_kprobe_ftrace() */
  *#disarm(probe: KprobeStruct): HostGenerator<number> {
    const armed = this.#armedBy(probe);
    if (armed.count === 1) {
      const failed = yield* this.#ftrace.unregisterFunction(armed.ops);
      if (failed < 0) return failed;
    }
    armed.count--;
    return yield* this.#ftrace.setFilterIp(armed.ops, probe.get('addr'), true);
  }

  /** kprobes_module_callback(): of a module whose text, or whose init text, is about to go. */
  *moduleGoes(mod: Module, onlyInit: boolean): HostGenerator<void> {
    const { KPROBE_FLAG_GONE } = this.#core.kernel.constants;
    const inside = (addr: Addr): boolean => (onlyInit ? mod.containsInit(addr) : mod.contains(addr));
    const killed = [...this.table.all()].filter((probe) => inside(probe.get('addr')));
    if (killed.length === 0) return;
    yield* this.#lock();
    for (const probe of killed) {
      if (!probe.isDisabled && !this.#allDisarmed) yield* this.#disarm(probe);
      probe.flags |= KPROBE_FLAG_GONE;
      if (!this.#isAggregator(probe)) continue;
      for (const member of probe.members()) member.flags |= KPROBE_FLAG_GONE;
      probe.set('post_handler', 0n);
    }
    yield* this.#unlock();
  }

  isLoaded(module: string): boolean {
    return this.#modules.find(module) !== undefined;
  }

  /** Every probe, those of an aggregator in its place. */
  *listed(): IterableIterator<KprobeStruct> {
    for (const probe of this.table.all()) {
      if (this.#isAggregator(probe)) yield* probe.members();
      else yield probe;
    }
  }

  get allDisarmed(): boolean {
    return this.#allDisarmed;
  }

  /** arm_all_kprobes(), disarm_all_kprobes(): /sys/kernel/debug/kprobes/enabled. */
  *setAll(on: boolean): HostGenerator<number> {
    yield* this.#lock();
    const result = this.#allDisarmed === on ? yield* this.#setAll(on) : 0;
    yield* this.#unlock();
    return result;
  }

  *#setAll(on: boolean): HostGenerator<number> {
    const { printk } = this.#core;
    this.#allDisarmed = !on;
    let [total, errors, result] = [0, 0, 0];
    for (const probe of this.table.all()) {
      if (probe.isDisabled) continue;
      const failed = on ? yield* this.#arm(probe) : yield* this.#disarm(probe);
      total++;
      if (failed === 0) continue;
      errors++;
      result = failed;
    }
    const globally = `kprobes: Kprobes globally ${on ? 'enabled' : 'disabled'}`;
    const able = on ? 'enable' : 'disable';
    if (errors === 0) printk.info(globally);
    else
      printk.warn(
        `${globally}, but failed to ${able} ${errors} out of ${total} probes. Please check which kprobes are kept ${on ? 'disabled' : 'enabled'} via debugfs.`,
      );
    return result;
  }

  *#lock(): HostGenerator<void> {
    yield { call: this.#sym.lock, args: [this.#sym.mutex] };
  }
  *#unlock(): HostGenerator<void> {
    yield { call: this.#sym.unlock, args: [this.#sym.mutex] };
  }
}
