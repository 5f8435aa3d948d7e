// struct kprobe in guest memory, and the table that finds one by its address. Mirrors include/linux/kprobes.h and
// kprobe_table of kernel/kprobes.c; asm/x86_64/kprobes.s reads both.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { initListHead, listAdd, listDelRcu, listEntries, listIsSingular } from '../kernel/list.ts';

const KPROBE_TABLE_SIZE = 64;
/** GOLDEN_RATIO_64 of include/linux/hash.h */
const GOLDEN_RATIO_64 = 0x61c8864680b583ebn;
const KPROBE_HASH_BITS = 6n;

type Field = 'nmissed' | 'addr' | 'symbol_name' | 'pre_handler' | 'post_handler';

export class KprobeStruct {
  readonly at: Addr;
  readonly #core: KernelCore;
  readonly #fields: Structs['kprobe']['fields'];

  constructor(core: KernelCore, at: Addr) {
    this.#core = core;
    this.#fields = core.kernel.structs.kprobe.fields;
    this.at = at;
  }

  get(field: Field): bigint {
    return this.#core.mem.readU64(this.at + BigInt(this.#fields[field]));
  }
  set(field: Field, value: bigint): void {
    this.#core.mem.writeU64(this.at + BigInt(this.#fields[field]), value);
  }
  get offset(): number {
    return this.#core.mem.readU32(this.at + BigInt(this.#fields.offset));
  }
  get flags(): number {
    return this.#core.mem.readU32(this.at + BigInt(this.#fields.flags));
  }
  set flags(value: number) {
    this.#core.mem.writeU32(this.at + BigInt(this.#fields.flags), value >>> 0);
  }
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
  /** kprobe_disabled() */
  get isDisabled(): boolean {
    const { KPROBE_FLAG_DISABLED, KPROBE_FLAG_GONE } = this.#core.kernel.constants;
    return this.has(KPROBE_FLAG_DISABLED | KPROBE_FLAG_GONE);
  }

  get #list(): Addr {
    return this.at + BigInt(this.#fields.list_next);
  }
  initList(): void {
    initListHead(this.#core, this.#list);
  }
  addTo(aggregator: KprobeStruct): void {
    listAdd(this.#core, this.#list, aggregator.#list);
  }
  removeFromList(): void {
    listDelRcu(this.#core, this.#list);
  }
  get isSingular(): boolean {
    return listIsSingular(this.#core, this.#list);
  }
  /** Probes of an aggregator, latest first. */
  members(): KprobeStruct[] {
    return listEntries(this.#core, this.#list, this.#fields.list_next).map(
      (at) => new KprobeStruct(this.#core, at),
    );
  }

  /** Where it is linked in the table. */
  get node(): Addr {
    return this.at + BigInt(this.#fields.hlist_next);
  }
}

export class KprobeTable {
  readonly #core: KernelCore;
  readonly #table: Addr;
  readonly #fields: Structs['kprobe']['fields'];

  constructor(core: KernelCore) {
    this.#core = core;
    this.#table = core.symbols.require('kprobe_table');
    this.#fields = core.kernel.structs.kprobe.fields;
  }

  /** hash_ptr() */
  #bucketOf(addr: Addr): Addr {
    const hash = BigInt.asUintN(64, addr * GOLDEN_RATIO_64) >> (64n - KPROBE_HASH_BITS);
    return this.#table + hash * 8n;
  }

  *#bucket(head: Addr): IterableIterator<KprobeStruct> {
    const { mem } = this.#core;
    const next = BigInt(this.#fields.hlist_next);
    for (let node = mem.readU64(head); node !== 0n; node = mem.readU64(node))
      yield new KprobeStruct(this.#core, node - next);
  }

  /** Of a node in a bucket, what says where the pointer to it is. */
  #pprev(node: Addr): Addr {
    return node + BigInt(this.#fields.hlist_pprev - this.#fields.hlist_next);
  }

  /** get_kprobe() */
  find(addr: Addr): KprobeStruct | undefined {
    for (const probe of this.#bucket(this.#bucketOf(addr))) if (probe.get('addr') === addr) return probe;
    return undefined;
  }

  /** hlist_add_head_rcu() */
  add(probe: KprobeStruct): void {
    const { mem } = this.#core;
    const head = this.#bucketOf(probe.get('addr'));
    const first = mem.readU64(head);
    mem.writeU64(probe.node, first);
    mem.writeU64(this.#pprev(probe.node), head);
    if (first !== 0n) mem.writeU64(this.#pprev(first), probe.node);
    mem.writeU64(head, probe.node);
  }

  /** hlist_del_rcu() */
  remove(probe: KprobeStruct): void {
    const { mem, kernel } = this.#core;
    const next = mem.readU64(probe.node);
    const pprev = mem.readU64(this.#pprev(probe.node));
    mem.writeU64(pprev, next);
    if (next !== 0n) mem.writeU64(this.#pprev(next), pprev);
    mem.writeU64(this.#pprev(probe.node), kernel.constants.LIST_POISON2);
  }

  /** One probe an address, in the order of /sys/kernel/debug/kprobes/list. */
  *all(): IterableIterator<KprobeStruct> {
    for (let i = 0; i < KPROBE_TABLE_SIZE; i++) yield* [...this.#bucket(this.#table + BigInt(i * 8))];
  }
}
