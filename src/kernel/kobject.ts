// struct kobject in guest memory and its directory in sysfs. Mirrors lib/kobject.c.
//
// Invariant: a kobject that is in sysfs holds a reference to its parent, and its directory goes with
// its last reference. The count is the guest's kref; release() runs when it drops to 0.

import { type Addr, hex16 } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import { type KernelCore, negErrno } from './core.ts';
import type { Structs } from './description.ts';
import { initListHead } from './list.ts';
import type { RealKobjects } from './real_kobject.ts';
import { holds, type Since } from './release.ts';
import type { Sysfs, SysfsAttribute, SysfsDir } from './sysfs.ts';
import { UAPI } from './uapi.ts';

/** struct kobj_type: default attributes, and what becomes of the owner in the end. */
export interface KobjType {
  readonly attributes?: (kobj: Addr) => readonly SysfsAttribute[];
  readonly release?: (kobj: Addr) => void;
}

/** From which release on pr_fmt() of lib/kobject.c is the file's own. */
const PREFIXED: Since = { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' };

export class Kobjects {
  readonly #core: KernelCore;
  readonly #kobject: Structs['kobject']['fields'];
  readonly #bits: Structs['kobject']['bitfields'];
  readonly #attribute: Structs['attribute']['fields'];
  readonly #sysfs: Sysfs;
  readonly #types = new Map<Addr, KobjType>();
  readonly #dirs = new Map<Addr, SysfsDir>();
  /** Where a kobject is to go while it is being added, if not to its parent's directory. */
  readonly #parents = new Map<Addr, SysfsDir>();

  readonly #real: RealKobjects | undefined;

  /** @param real of a kernel whose own functions do it */
  constructor(core: KernelCore, sysfs: Sysfs, real?: RealKobjects) {
    this.#core = core;
    this.#real = real;
    this.#kobject = core.kernel.structs.kobject.fields;
    this.#bits = core.kernel.structs.kobject.bitfields;
    this.#attribute = core.kernel.structs.attribute.fields;
    this.#sysfs = sysfs;
    this.#defineForModules();
  }

  /** What asm/x86_64/kobject.s calls and exports, where the kernel is ours alone. */
  #defineForModules(): void {
    const core = this.#core;
    const self = this;
    core.host.offerAll({
      klp_kobj_release: ({ args: [kobj] }) => this.#release(kobj),
      kobject_create: () => this.#create(),
      kobject_set_name_vargs: ({ args }) => this.#setName(args[0], args[1], args[2]),
      kernfs_create_dir_ns: ({ args }) => this.#createDir(args[0]),
      sysfs_dup_line: ({ args }) => this.#sayDuplicate(this.#parentDir(args[0]), this.#nameOf(args[0])),
      kobject_add_internal_failed: ({ args }) => this.#addFailed(args[0], Number(BigInt.asIntN(32, args[1]))),
      kobject_add_error: ({ args }) =>
        core.printk.warn(`kobject_create_and_add: kobject_add error: ${BigInt.asIntN(32, args[0])}`),
      kobject_get: ({ args: [kobj] }) => {
        if (kobj !== 0n && this.#initialized(kobj, 'kobject_get')) this.get(kobj);
        return kobj;
      },
      *kobject_put({ args: [kobj] }): HostGenerator {
        if (kobj === 0n || !self.#initialized(kobj, 'kobject_put')) return;
        if (core.mem.readU32(kobj + BigInt(self.#kobject.kref)) === 1) yield* self.del(kobj);
        self.#put(kobj);
      },
      *kobject_del({ args: [kobj] }): HostGenerator {
        if (kobj !== 0n) yield* self.del(kobj);
      },
      *sysfs_create_file_ns({ args: [kobj, attr] }): HostGenerator {
        return yield* self.#createFile(kobj, attr);
      },
      sysfs_remove_file_ns: ({ args: [kobj, attr] }) =>
        this.#dirs
          .get(kobj)
          ?.remove(core.mem.readCString(core.mem.readU64(attr + BigInt(this.#attribute.name)))),
    });
  }

  /** kobject_create(): of dynamic_kobj_ktype, which frees it with its last reference. */
  #create(): Addr {
    const kobj = this.#core.slab.tryAlloc(this.#core.kernel.structs.kobject.size, 'kobject');
    if (kobj !== 0n) this.init(kobj, { release: (mine) => this.#core.slab.free(mine) });
    return kobj;
  }

  /** kobject_set_name_vargs() and the parent of kobject_add_varg(). */
  #setName(kobj: Addr, parent: Addr, name: Addr): number | bigint {
    const { mem, slab } = this.#core;
    const text = mem.readCString(name).replaceAll('/', '!');
    const copy = slab.tryAlloc(text.length + 1, 'kobject name');
    if (copy === 0n) {
      this.#core.printk.err('kobject: can not set name properly!');
      return negErrno(UAPI.ENOMEM);
    }
    mem.writeCString(copy, text);
    mem.writeU64(kobj + BigInt(this.#kobject.name), copy);
    mem.writeU64(kobj + BigInt(this.#kobject.parent), parent);
    return 0;
  }

  #nameOf(kobj: Addr): string {
    return this.#core.mem.readCString(this.#core.mem.readU64(kobj + BigInt(this.#kobject.name)));
  }

  #parentDir(kobj: Addr): SysfsDir | undefined {
    const parent = this.#core.mem.readU64(kobj + BigInt(this.#kobject.parent));
    return this.#parents.get(kobj) ?? (parent === 0n ? this.#sysfs.root : this.#dirs.get(parent));
  }

  /** create_dir() */
  #createDir(kobj: Addr): number | bigint {
    const parent = this.#parentDir(kobj);
    if (!parent) return negErrno(UAPI.ENOENT);
    const dir = parent.addDir(this.#nameOf(kobj));
    if (!dir) return negErrno(UAPI.EEXIST);
    const of = this.#core.mem.readU64(kobj + BigInt(this.#kobject.parent));
    if (of !== 0n) this.get(of);
    this.#dirs.set(kobj, dir);
    this.#setBit(kobj, this.#bits.state_in_sysfs.bit, true);
    return 0;
  }

  #sayDuplicate(dir: SysfsDir | undefined, name: string): void {
    this.#core.printk.warn(`sysfs: cannot create duplicate filename '${dir?.path ?? ''}/${name}'`);
  }

  /** The words of kobject_add_internal() for what failed below it. */
  #addFailed(kobj: Addr, error: number): void {
    const { mem, printk } = this.#core;
    const parent = mem.readU64(kobj + BigInt(this.#kobject.parent));
    // It has no parent any more: what release() would put was not taken.
    mem.writeU64(kobj + BigInt(this.#kobject.parent), 0n);
    const name = this.#nameOf(kobj);
    const said = holds(this.#core.kernel, PREFIXED) ? 'kobject: ' : '';
    if (error === -UAPI.EEXIST) {
      const why = "don't try to register things with the same name in the same directory.";
      printk.err(`${said}kobject_add_internal failed for ${name} with -EEXIST, ${why}`);
      return;
    }
    const of = parent === 0n ? "'none'" : this.#nameOf(parent);
    printk.err(`${said}kobject_add_internal failed for ${name} (error: ${error} parent: ${of})`);
  }

  #initialized(kobj: Addr, what: string): boolean {
    const known = this.#types.has(kobj) && this.#bit(kobj, this.#bits.state_initialized.bit);
    if (!known) {
      const name =
        this.#core.mem.readU64(kobj + BigInt(this.#kobject.name)) === 0n ? '(null)' : this.#nameOf(kobj);
      const text = `kobject: '${name}' (${hex16(kobj)}): is not initialized, yet ${what}() is being called.`;
      this.#core.printk.warn(text);
    }
    return known;
  }

  /** sysfs_create_file_ns(): a file whose functions are the module's own. */
  *#createFile(kobj: Addr, attr: Addr): HostGenerator {
    const { mem, symbols } = this.#core;
    const dir = this.#dirs.get(kobj);
    if (!dir) return negErrno(UAPI.EINVAL);
    const name = mem.readCString(mem.readU64(attr + BigInt(this.#attribute.name)));
    const mode = mem.readU16(attr + BigInt(this.#attribute.mode)) & 0o777;
    if (dir.addFile({ name, mode, guest: { kobj, attr } })) return 0;
    this.#sayDuplicate(dir, name);
    yield { call: symbols.require('dump_stack') };
    return negErrno(UAPI.EEXIST);
  }

  /** A kobject of the image that stands for a directory: kernel_kobj; of a real kernel one that its boot has made. */
  register(kobj: Addr, path: string): void {
    const { mem } = this.#core;
    if (this.#real) {
      const dir = this.#sysfs.mkdirs(path);
      this.#dirs.set(kobj, dir);
      this.#real.standsFor(dir, kobj);
      return;
    }
    const name = mem.readU64(kobj + BigInt(this.#kobject.name));
    this.init(kobj, {});
    mem.writeU64(kobj + BigInt(this.#kobject.name), name);
    this.#dirs.set(kobj, this.#sysfs.mkdirs(path));
    this.#setBit(kobj, this.#bits.state_in_sysfs.bit, true);
  }

  /** kobject_init() */
  init(kobj: Addr, type: KobjType): void {
    const { mem, printk } = this.#core;
    if (this.#bit(kobj, this.#bits.state_initialized.bit)) {
      printk.err('kobject: tried to init an initialized object, something is seriously wrong.');
    }
    mem.fill(kobj, this.#core.kernel.structs.kobject.size, 0);
    const entry = kobj + BigInt(this.#kobject.entry);
    initListHead(this.#core, entry);
    mem.writeU32(kobj + BigInt(this.#kobject.kref), 1);
    this.#setBit(kobj, this.#bits.state_initialized.bit, true);
    this.#types.set(kobj, type);
    this.#real?.init(kobj);
  }

  /** A kobject of the kernel's own (kobject_create_and_add), known by its path below /sys. */
  dirOf(kobj: Addr): SysfsDir | undefined {
    return this.#dirs.get(kobj);
  }

  /**
   * kobject_add(). @param parent a kobject, or a directory that no guest kobject stands for.
   * A name that is taken, or empty, is told by the guest's own kobject_add(), with the stack that led there.
   * @returns 0, -EINVAL, -EEXIST or -ENOMEM.
   */
  *add(kobj: Addr, parent: Addr | SysfsDir, name: string): HostGenerator<number> {
    const parentDir = typeof parent === 'bigint' ? this.#dirs.get(parent) : parent;
    if (!parentDir) return -UAPI.ENOENT;
    const real = this.#real?.kobjOf(parent);
    if (this.#real && real !== undefined)
      return yield* this.#addReal(this.#real, kobj, real, parentDir, name);
    // A slash would make a path of it; the kernel turns it into '!'.
    const entry = name.replaceAll('/', '!');
    if (entry === '' || parentDir.get(entry)) return yield* this.#addInGuest(kobj, parent, parentDir, name);
    const { mem, slab } = this.#core;
    const failed = this.#core.faults.check('kobject_add', entry);
    if (failed !== 0) return failed;
    const text = slab.tryAlloc(entry.length + 1, 'kobject name');
    if (text === 0n) return -UAPI.ENOMEM;
    mem.writeCString(text, entry);
    mem.writeU64(kobj + BigInt(this.#kobject.name), text);
    const dir = parentDir.addDir(entry);
    if (!dir) return -UAPI.EEXIST;
    const created = this.#core.faults.check('sysfs_create_groups', entry);
    if (created !== 0) {
      parentDir.remove(entry);
      return created;
    }
    if (typeof parent === 'bigint') {
      mem.writeU64(kobj + BigInt(this.#kobject.parent), parent);
      this.get(parent);
    }
    this.#dirs.set(kobj, dir);
    this.#setBit(kobj, this.#bits.state_in_sysfs.bit, true);
    for (const attribute of this.#types.get(kobj)?.attributes?.(kobj) ?? []) dir.addFile(attribute);
    return 0;
  }

  /** By the real kernel's own kobject_add(), and in our tree, which has the files. */
  *#addReal(
    real: RealKobjects,
    kobj: Addr,
    parent: Addr,
    parentDir: SysfsDir,
    name: string,
  ): HostGenerator<number> {
    const entry = name.replaceAll('/', '!');
    for (const step of ['kobject_add', 'sysfs_create_groups'] as const) {
      const failed = this.#core.faults.check(step, entry);
      if (failed !== 0) return failed;
    }
    const ret = yield* real.add(kobj, parent, name);
    if (ret !== 0) return ret;
    const dir = parentDir.addDir(entry);
    if (!dir) return -UAPI.EEXIST;
    this.#dirs.set(kobj, dir);
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
    if (this.#real) yield* this.#real.del(kobj);
  }

  /** kobject_put(): the last one takes the directory out of sysfs and releases. */
  *put(kobj: Addr): HostGenerator<void> {
    if (this.#real) yield* this.#real.put(kobj);
    else this.#put(kobj);
  }

  /** What a real kernel's kobject_cleanup() calls. */
  #release(kobj: Addr): void {
    const dir = this.#dirs.get(kobj);
    if (dir && !dir.removed) dir.parent?.remove(dir.name);
    this.#dirs.delete(kobj);
    const type = this.#types.get(kobj);
    this.#types.delete(kobj);
    this.#core.mem.fill(kobj, this.#core.kernel.structs.kobject.size, 0);
    type?.release?.(kobj);
  }

  #put(kobj: Addr): void {
    if (this.#count(kobj, -1) > 0) return;
    const { mem, slab } = this.#core;
    const dir = this.#dirs.get(kobj);
    // One that never was in sysfs has taken no reference.
    const added = this.#bit(kobj, this.#bits.state_in_sysfs.bit);
    const parent = added ? mem.readU64(kobj + BigInt(this.#kobject.parent)) : 0n;
    const name = mem.readU64(kobj + BigInt(this.#kobject.name));
    if (dir && !dir.removed) dir.parent?.remove(dir.name);
    this.#dirs.delete(kobj);
    const type = this.#types.get(kobj);
    this.#types.delete(kobj);
    mem.fill(kobj, this.#core.kernel.structs.kobject.size, 0);
    // release() may free the memory that the kobject is part of.
    type?.release?.(kobj);
    slab.free(name);
    if (parent !== 0n) this.#put(parent);
  }

  /** `make DIR`: a directory for kernel objects that have no kobject of ours, such as /sys/kernel. */
  mkdirs(path: string): SysfsDir {
    return this.#sysfs.mkdirs(path);
  }

  *#addInGuest(kobj: Addr, parent: Addr | SysfsDir, dir: SysfsDir, name: string): HostGenerator<number> {
    const { mem, slab, symbols } = this.#core;
    const text = slab.tryAlloc(name.length + 1, 'kobject name');
    if (text === 0n) return -UAPI.ENOMEM;
    mem.writeCString(text, name);
    this.#parents.set(kobj, dir);
    const args = [kobj, typeof parent === 'bigint' ? parent : 0n, text];
    const result = yield { call: symbols.require('kobject_add'), args };
    this.#parents.delete(kobj);
    slab.free(text);
    return Number(BigInt.asIntN(32, result));
  }

  #count(kobj: Addr, by: number): number {
    const at = kobj + BigInt(this.#kobject.kref);
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
