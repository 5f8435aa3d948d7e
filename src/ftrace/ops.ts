// struct ftrace_ops in guest memory: who listens, to which sites, by which handler.
// Mirrors include/linux/ftrace.h and the hashes of kernel/trace/ftrace.c.
//
// The structure and its filter hash are the guest's: arch_ftrace_ops_list_func reads them. A hash of
// ours has size_bits 0, one bucket that holds every entry.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import { initWaitList } from '../kernel/mutex.ts';
import type { StructHome } from '../kernel/struct_home.ts';

export class FtraceOps {
  readonly addr: Addr;
  readonly #home: StructHome;
  readonly #mem: GuestMemory;
  readonly #structs: Structs;
  readonly #constants: Constants;
  readonly #fields: Structs['ftrace_ops']['fields'];
  readonly #hash: Structs['ftrace_hash']['fields'];
  readonly #entry: Structs['ftrace_func_entry']['fields'];

  constructor(home: StructHome, addr: Addr) {
    const { mem, kernel } = home;
    this.#home = home;
    this.#mem = mem;
    this.#structs = kernel.structs;
    this.#constants = kernel.constants;
    this.#fields = kernel.structs.ftrace_ops.fields;
    this.#hash = kernel.structs.ftrace_hash.fields;
    this.#entry = kernel.structs.ftrace_func_entry.fields;
    this.addr = addr;
  }

  #get(field: number): bigint {
    return this.#mem.readU64(this.addr + BigInt(field));
  }
  #set(field: number, value: bigint): void {
    this.#mem.writeU64(this.addr + BigInt(field), value);
  }

  get func(): Addr {
    return this.#get(this.#fields.func);
  }
  set func(value: Addr) {
    this.#set(this.#fields.func, value);
  }
  get savedFunc(): Addr {
    return this.#get(this.#fields.saved_func);
  }
  set savedFunc(value: Addr) {
    this.#set(this.#fields.saved_func, value);
  }
  get next(): Addr {
    return this.#get(this.#fields.next);
  }
  set next(value: Addr) {
    this.#set(this.#fields.next, value);
  }
  get flags(): number {
    return this.#mem.readU32(this.addr + BigInt(this.#fields.flags));
  }
  set flags(value: number) {
    this.#set(this.#fields.flags, BigInt(value >>> 0));
  }
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
  get trampoline(): Addr {
    return this.#get(this.#fields.trampoline);
  }
  set trampoline(value: Addr) {
    this.#set(this.#fields.trampoline, value);
  }
  get trampolineSize(): number {
    return this.#mem.readU32(this.addr + BigInt(this.#fields.trampoline_size));
  }
  set trampolineSize(value: number) {
    this.#set(this.#fields.trampoline_size, BigInt(value));
  }

  /** ftrace_ops_init(): once, before anything is asked of it. */
  init(): void {
    if (this.has(this.#constants.FTRACE_OPS_FL_INITIALIZED)) return;
    initWaitList(this.#home, this.addr, this.#fields, 'local_hash_regex_lock_wait_list');
    this.#set(this.#fields.func_hash, this.addr + BigInt(this.#fields.local_hash));
    this.flags |= this.#constants.FTRACE_OPS_FL_INITIALIZED;
  }

  /** ops->func_hash->filter_hash: 0 when it traces every function. */
  get #filter(): Addr {
    const funcHash = this.#get(this.#fields.func_hash);
    return funcHash === 0n
      ? 0n
      : this.#mem.readU64(funcHash + BigInt(this.#structs.ftrace_ops_hash.fields.filter_hash));
  }

  /** Sites that the filter names; undefined when it has none and so means all of them. */
  filterIps(): Addr[] | undefined {
    const hash = this.#filter;
    if (hash === 0n || this.#mem.readU64(hash + BigInt(this.#hash.count)) === 0n) return undefined;
    const ips: Addr[] = [];
    for (const entry of this.#entries(hash)) ips.push(this.#mem.readU64(entry + BigInt(this.#entry.ip)));
    return ips;
  }

  /** Is the call site among those it traces? */
  traces(ip: Addr): boolean {
    return this.filterIps()?.includes(ip) ?? true;
  }

  *#entries(hash: Addr): IterableIterator<Addr> {
    let entry = this.#mem.readU64(this.#mem.readU64(hash + BigInt(this.#hash.buckets)));
    const next = BigInt(this.#entry.hlist_next);
    for (; entry !== 0n; entry = this.#mem.readU64(entry + next)) yield entry;
  }

  /** add_hash_entry(), with the hash made first where there is none. @returns false, and nothing done, without memory. */
  addIp(core: KernelCore, ip: Addr): boolean {
    const { slab } = core;
    const mem = this.#mem;
    let hash = this.#filter;
    if (hash === 0n) {
      hash = slab.tryAlloc(this.#structs.ftrace_hash.size, 'ftrace_hash');
      if (hash === 0n) return false;
      const buckets = slab.tryAlloc(8, 'ftrace_hash buckets');
      if (buckets === 0n) {
        slab.free(hash);
        return false;
      }
      mem.writeU64(hash + BigInt(this.#hash.buckets), buckets);
      mem.writeU64(
        this.#get(this.#fields.func_hash) + BigInt(this.#structs.ftrace_ops_hash.fields.filter_hash),
        hash,
      );
    }
    const entry = slab.tryAlloc(this.#structs.ftrace_func_entry.size, 'ftrace_func_entry');
    if (entry === 0n) {
      if (mem.readU64(hash + BigInt(this.#hash.count)) === 0n) this.#freeHash(core, hash);
      return false;
    }
    const bucket = mem.readU64(hash + BigInt(this.#hash.buckets));
    mem.writeU64(entry + BigInt(this.#entry.ip), ip);
    mem.writeU64(entry + BigInt(this.#entry.hlist_next), mem.readU64(bucket));
    mem.writeU64(entry + BigInt(this.#entry.hlist_pprev), bucket);
    mem.writeU64(bucket, entry);
    mem.writeU64(hash + BigInt(this.#hash.count), mem.readU64(hash + BigInt(this.#hash.count)) + 1n);
    return true;
  }

  /** Takes an address out of the filter; the hash goes with its last. @returns false when it was not in it. */
  removeIp(core: KernelCore, ip: Addr): boolean {
    const mem = this.#mem;
    const hash = this.#filter;
    if (hash === 0n) return false;
    const next = BigInt(this.#entry.hlist_next);
    let link = mem.readU64(hash + BigInt(this.#hash.buckets));
    for (let entry = mem.readU64(link); entry !== 0n; link = entry + next, entry = mem.readU64(link)) {
      if (mem.readU64(entry + BigInt(this.#entry.ip)) !== ip) continue;
      mem.writeU64(link, mem.readU64(entry + next));
      core.slab.free(entry);
      const count = mem.readU64(hash + BigInt(this.#hash.count)) - 1n;
      mem.writeU64(hash + BigInt(this.#hash.count), count);
      if (count === 0n) this.#freeHash(core, hash);
      return true;
    }
    return false;
  }

  /** Another address in the place of one, wherever the filter has it. */
  renameIp(from: Addr, to: Addr): void {
    const hash = this.#filter;
    if (hash === 0n) return;
    for (const entry of this.#entries(hash)) {
      const at = entry + BigInt(this.#entry.ip);
      if (this.#mem.readU64(at) === from) this.#mem.writeU64(at, to);
    }
  }

  /** Empties the filter (ftrace_free_filter). */
  clearIps(core: KernelCore): void {
    for (const ip of this.filterIps() ?? []) this.removeIp(core, ip);
  }

  #freeHash(core: KernelCore, hash: Addr): void {
    core.slab.free(this.#mem.readU64(hash + BigInt(this.#hash.buckets)));
    core.slab.free(hash);
    this.#mem.writeU64(
      this.#get(this.#fields.func_hash) + BigInt(this.#structs.ftrace_ops_hash.fields.filter_hash),
      0n,
    );
  }
}
