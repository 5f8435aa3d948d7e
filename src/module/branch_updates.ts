// Branches that are compiled in or out, changed while the kernel runs: the sites of a static call, of the kernel and of
// every module, when its target changes, and those of a static key. Mirrors __static_call_update() of
// kernel/static_call_inline.c and jump_label_update() of kernel/jump_label.c.
//
// Invariant: text is changed by text poking alone; a site whose text is gone (that of init functions) is left alone.

import { type BranchSites, followRelative, type Table } from '../arch/module_text.ts';
import { type Addr, lo32 } from '../guest/addr.ts';
import { sameBytes } from '../guest/bytes.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { ModuleList } from './modules.ts';
import {
  type JumpEntry,
  readJumpTable,
  readStaticCallSites,
  type StaticCallSite,
  updateJumpLabels,
  updateStaticCalls,
} from './patch_sites.ts';

interface Change {
  readonly addr: Addr;
  readonly insn: Uint8Array;
}

/** text_poke_bp() of each, under text_mutex. */
type PokeLive = (changes: readonly Change[]) => HostGenerator<void>;

/** The linker's marks around tables: of the kernel, and of the machine's own text where that lies behind one. */
const CALL_SITES = [['__start_static_call_sites', '__stop_static_call_sites']] as const;
const JUMP_TABLES = [
  ['__start___jump_table', '__stop___jump_table'],
  ['klp_jump_table', 'klp_jump_table_end'],
] as const;
const TRAMP_KEYS = ['__start_static_call_tramp_key', '__stop_static_call_tramp_key'] as const;
/** struct static_call_tramp_key: two relative addresses. */
const TRAMP_KEY_SIZE = 8;

export class BranchUpdates {
  readonly #core: KernelCore;
  readonly #branches: BranchSites;
  readonly #modules: ModuleList;
  readonly #poke: PokeLive;
  readonly #func: bigint;
  readonly #enabled: bigint;
  #sites: ByKey<StaticCallSite> | undefined;
  #jumps: ByKey<JumpEntry> | undefined;

  constructor(core: KernelCore, modules: ModuleList, poke: PokeLive) {
    const { static_call_key, static_key } = core.kernel.structs;
    this.#core = core;
    this.#branches = core.arch.moduleText.branches;
    this.#modules = modules;
    this.#poke = poke;
    this.#func = BigInt(static_call_key.fields.func);
    this.#enabled = BigInt(static_key.fields.enabled);
    core.host.offerAll({
      __static_call_update: ({ args: [key, tramp, func] }) => this.updateCall(key, tramp, func),
      __sched_dynamic_update: ({ args: [mode] }) => this.#preemption(Number(mode & 0xffffffffn)),
      static_key_enable: ({ args: [key] }) => this.#setKey(key, 1),
      static_key_disable: ({ args: [key] }) => this.#setKey(key, 0),
      static_key_slow_inc: ({ args: [key] }) => this.#countKey(key, 1),
      static_key_slow_dec: ({ args: [key] }) => this.#countKey(key, -1),
    });
  }

  /** tramp_key_lookup(): the key of a trampoline that is exported without it. */
  keyOf(trampoline: Addr): Addr | undefined {
    const { mem } = this.#core;
    const table = this.#table(TRAMP_KEYS);
    for (
      let at = table?.addr ?? 0n;
      table && at < table.addr + BigInt(table.size);
      at += BigInt(TRAMP_KEY_SIZE)
    )
      if (followRelative(mem, at) === trampoline) return followRelative(mem, at + 4n);
    return undefined;
  }

  /** __static_call_update(): first the trampoline, then each site. */
  *updateCall(key: Addr, tramp: Addr, func: Addr): HostGenerator<void> {
    const { mem } = this.#core;
    if (mem.readU64(key + this.#func) === func) return;
    mem.writeU64(key + this.#func, func);
    const changes: Change[] = [];
    const poke = (addr: Addr, insn: Uint8Array): void => {
      changes.push({ addr, insn });
    };
    if (tramp !== 0n) {
      const jump = this.#branches.staticCall(tramp, func, true);
      if (!sameBytes(mem.readBytes(tramp, jump.length), jump)) poke(tramp, jump);
    }
    const sites = [...this.#sitesOf(key), ...this.#moduleSites(key, tramp)];
    const { warnings } = updateStaticCalls(this.#branches, mem, sites, { target: () => func, poke });
    for (const warning of warnings) this.#core.printk.warn(`WARNING: ${warning}`);
    yield* this.#poke(changes);
  }

  #sitesOf(key: Addr): readonly StaticCallSite[] {
    this.#sites ??= grouped(
      CALL_SITES.flatMap((marks) => this.#read(marks, (table) => readStaticCallSites(this.#core, table))),
    );
    return ofKey(this.#sites, key);
  }

  #moduleSites(key: Addr, tramp: Addr): StaticCallSite[] {
    return this.#modules.visible.flatMap(({ staticCallSites }) =>
      staticCallSites.filter((site) => site.key === key || (tramp !== 0n && site.key === tramp)),
    );
  }

  /**
   * __sched_dynamic_update() behind klp_override: of its static calls cond_resched() alone is not what it was. The kernel sets
   * all of them to what a full preemption has first, and to what the mode has then.
   */
  *#preemption(mode: number): HostGenerator<void> {
    const { symbols } = this.#core;
    const at = (name: string): Addr => symbols.require(name);
    const func = at(mode === PREEMPT_FULL ? '__static_call_return0' : '__cond_resched');
    yield* this.updateCall(at('__SCK__cond_resched'), at('__SCT__cond_resched'), func);
  }

  /** static_key_enable(), static_key_disable(): a key that was counted up to more than 1 stays so. */
  *#setKey(key: Addr, enabled: 0 | 1): HostGenerator<void> {
    const { mem } = this.#core;
    if (mem.readS32(key + this.#enabled) !== 1 - enabled) return;
    mem.writeU32(key + this.#enabled, enabled);
    yield* this.#updateJumps(key);
  }

  /** static_key_slow_inc(), static_key_slow_dec(): the first one and the last one change text. */
  *#countKey(key: Addr, by: number): HostGenerator<bigint> {
    const { mem } = this.#core;
    const before = mem.readS32(key + this.#enabled);
    mem.writeU32(key + this.#enabled, (before + by) >>> 0);
    if (before === 0 || before + by === 0) yield* this.#updateJumps(key);
    return 1n;
  }

  *#updateJumps(key: Addr): HostGenerator<void> {
    this.#jumps ??= grouped(
      JUMP_TABLES.flatMap((marks) => this.#read(marks, (table) => readJumpTable(this.#core, table))),
    );
    const ours = ofKey(this.#jumps, key);
    const theirs = this.#modules.visible.flatMap(({ jumpEntries }) =>
      jumpEntries.filter((entry) => entry.key === key),
    );
    const changes: Change[] = [];
    const { mem } = this.#core;
    const entries = [...ours, ...theirs].filter(({ code }) => mem.isMapped(code, 5));
    const { warnings } = updateJumpLabels(this.#branches, this.#core, entries, (addr, insn) =>
      changes.push({ addr, insn }),
    );
    for (const warning of warnings) this.#core.printk.warn(`WARNING: ${warning}`);
    yield* this.#poke(changes);
  }

  #read<T>(marks: readonly [string, string], read: (table: Table) => T[]): T[] {
    const table = this.#table(marks);
    return table ? read(table) : [];
  }

  #table([start, stop]: readonly [string, string]): Table | undefined {
    const { symbols } = this.#core;
    const [addr, end] = [start, stop].map((name) => symbols.matches(name, undefined)[0]?.addr);
    return addr === undefined || end === undefined ? undefined : { addr, size: Number(end - addr) };
  }
}

/** preempt_dynamic_full */
const PREEMPT_FULL = 2;

/** Entries by the low half of their keys, in their order: a kernel has 15,000, and bigints are slow keys. */
type ByKey<T> = ReadonlyMap<number, readonly T[]>;

function grouped<T extends { readonly key: Addr }>(entries: readonly T[]): ByKey<T> {
  const groups = new Map<number, T[]>();
  for (const entry of entries) {
    const key = lo32(entry.key);
    const group = groups.get(key);
    if (group) group.push(entry);
    else groups.set(key, [entry]);
  }
  return groups;
}

function ofKey<T extends { readonly key: Addr }>(groups: ByKey<T>, key: Addr): readonly T[] {
  return groups.get(lo32(key))?.filter((entry) => entry.key === key) ?? [];
}
