// struct kobject in guest memory and its directory in sysfs. Mirrors lib/kobject.c.
//
// Invariant: a kobject that is in sysfs holds a reference to its parent, and its directory goes with
// its last reference. The count is the guest's kref; release() runs when it drops to 0.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from './core.ts';
import { CONSTANTS, LAYOUT } from './layout.ts';
import type { Sysfs, SysfsAttribute, SysfsDir } from './sysfs.ts';

const F = LAYOUT.kobject.fields;
const BITS = LAYOUT.kobject.bitfields;

/** struct kobj_type: default attributes, and what becomes of the owner in the end. */
export interface KobjType {
  readonly attributes?: (kobj: Addr) => readonly SysfsAttribute[];
  readonly release?: (kobj: Addr) => void;
}

export class Kobjects {
  readonly #core: KernelCore;
  readonly #sysfs: Sysfs;
  readonly #types = new Map<Addr, KobjType>();
  readonly #dirs = new Map<Addr, SysfsDir>();

  constructor(core: KernelCore, sysfs: Sysfs) {
    this.#core = core;
    this.#sysfs = sysfs;
  }

  /** kobject_init() */
  init(kobj: Addr, type: KobjType): void {
    const { mem, printk } = this.#core;
    if (this.#bit(kobj, BITS.state_initialized.bit)) {
      printk.err('kobject: tried to init an initialized object, something is seriously wrong.');
    }
    mem.fill(kobj, LAYOUT.kobject.size, 0);
    const entry = kobj + BigInt(F.entry);
    mem.writeU64(entry, entry);
    mem.writeU64(entry + 8n, entry);
    mem.writeU32(kobj + BigInt(F.kref), 1);
    this.#setBit(kobj, BITS.state_initialized.bit, true);
    this.#types.set(kobj, type);
  }

  /** A kobject of the kernel's own (kobject_create_and_add), known by its path below /sys. */
  dirOf(kobj: Addr): SysfsDir | undefined {
    return this.#dirs.get(kobj);
  }

  /**
   * kobject_add(). @param parent a kobject, or a directory that no guest kobject stands for.
   * @returns 0, -EINVAL, -EEXIST or -ENOMEM.
   */
  add(kobj: Addr, parent: Addr | SysfsDir, name: string): number {
    const { mem, slab } = this.#core;
    if (name === '') return -CONSTANTS.EINVAL;
    const parentDir = typeof parent === 'bigint' ? this.#dirs.get(parent) : parent;
    if (!parentDir) return -CONSTANTS.ENOENT;
    // A slash would make a path of it; the kernel turns it into '!'.
    const entry = name.replaceAll('/', '!');
    const failed = this.#core.faults?.check('kobject_add', entry) ?? 0;
    if (failed !== 0) return failed;
    const text = slab.tryAlloc(entry.length + 1, 'kobject name');
    if (text === 0n) return -CONSTANTS.ENOMEM;
    mem.writeCString(text, entry);
    mem.writeU64(kobj + BigInt(F.name), text);
    const dir = parentDir.addDir(entry);
    if (!dir) return this.#duplicate(parentDir, entry);
    const created = this.#core.faults?.check('sysfs_create_groups', entry) ?? 0;
    if (created !== 0) {
      parentDir.remove(entry);
      return created;
    }
    if (typeof parent === 'bigint') {
      mem.writeU64(kobj + BigInt(F.parent), parent);
      this.get(parent);
    }
    this.#dirs.set(kobj, dir);
    this.#setBit(kobj, BITS.state_in_sysfs.bit, true);
    for (const attribute of this.#types.get(kobj)?.attributes?.(kobj) ?? []) dir.addFile(attribute);
    return 0;
  }

  get(kobj: Addr): void {
    this.#count(kobj, 1);
  }

  /** kobject_del(): out of sysfs, and nobody is in its files' functions when it returns. */
  *del(kobj: Addr): HostGenerator<void> {
    const dir = this.#dirs.get(kobj);
    if (!dir) return;
    dir.parent?.remove(dir.name);
    yield* dir.drain(this.#core.symbols.require('schedule_timeout_uninterruptible'));
  }

  /** kobject_put(): the last one takes the directory out of sysfs and releases. */
  put(kobj: Addr): void {
    if (this.#count(kobj, -1) > 0) return;
    const { mem, slab } = this.#core;
    const dir = this.#dirs.get(kobj);
    const parent = mem.readU64(kobj + BigInt(F.parent));
    const name = mem.readU64(kobj + BigInt(F.name));
    if (dir && !dir.removed) dir.parent?.remove(dir.name);
    this.#dirs.delete(kobj);
    const type = this.#types.get(kobj);
    this.#types.delete(kobj);
    mem.fill(kobj, LAYOUT.kobject.size, 0);
    // release() may free the memory that the kobject is part of.
    type?.release?.(kobj);
    slab.free(name);
    if (parent !== 0n) this.put(parent);
  }

  /** `make DIR`: a directory for kernel objects that have no kobject of ours, such as /sys/kernel. */
  mkdirs(path: string): SysfsDir {
    return this.#sysfs.mkdirs(path);
  }

  #duplicate(parent: SysfsDir, name: string): number {
    this.#core.printk.warn(`sysfs: cannot create duplicate filename '${parent.path}/${name}'`);
    this.#core.printk.err(
      `kobject: kobject_add_internal failed for ${name} with -EEXIST, ` +
        "don't try to register things with the same name in the same directory.",
    );
    return -CONSTANTS.EEXIST;
  }

  #count(kobj: Addr, by: number): number {
    const at = kobj + BigInt(F.kref);
    const count = this.#core.mem.readU32(at) + by;
    this.#core.mem.writeU32(at, count);
    return count;
  }
  #bit(kobj: Addr, bit: number): boolean {
    return (this.#core.mem.readU8(kobj + BigInt(bit >> 3)) & (1 << (bit & 7))) !== 0;
  }
  #setBit(kobj: Addr, bit: number, on: boolean): void {
    const at = kobj + BigInt(bit >> 3);
    const byte = this.#core.mem.readU8(at);
    this.#core.mem.writeU8(at, on ? byte | (1 << (bit & 7)) : byte & ~(1 << (bit & 7)));
  }
}
