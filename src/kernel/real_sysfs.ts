// What a real kernel's own functions have put into sysfs, read from its kernfs. Mirrors struct kernfs_node and the trees of
// fs/kernfs/dir.c.
//
// Invariant: nothing is kept: each question is answered by what guest memory says now.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from './core.ts';
import type { GuestEntry, GuestTree } from './sysfs.ts';

/** enum kernfs_node_type */
const [KERNFS_DIR, KERNFS_FILE, KERNFS_LINK] = [1, 2, 4];
const KERNFS_TYPE_MASK = 0xf;
const PERMISSIONS = 0o7777;
/** struct rb_node: parent and colour, right, left */
const [RB_RIGHT, RB_LEFT] = [8n, 16n];
/** A name is at most NAME_MAX. */
const NAME_MAX = 255;

export class RealSysfs implements GuestTree {
  readonly #core: KernelCore;
  readonly #root: Addr;

  /** @param core of a kernel whose sysfs_init() has run */
  constructor(core: KernelCore) {
    this.#core = core;
    this.#root = core.mem.readU64(core.symbols.require('sysfs_root_kn'));
  }

  children(path: string): GuestEntry[] | undefined {
    const dir = this.#find(path);
    return dir === undefined ? undefined : [...this.#below(dir)].flatMap((kn) => this.#entry(kn) ?? []);
  }

  #find(path: string): Addr | undefined {
    let kn = this.#root;
    for (const name of path.split('/').filter(Boolean)) {
      const next = [...this.#below(kn)].find((child) => this.#nameOf(child) === name);
      if (next === undefined || this.#typeOf(next) !== KERNFS_DIR) return undefined;
      kn = next;
    }
    return kn;
  }

  get #node() {
    return this.#core.kernel.structs.kernfs_node.fields;
  }

  /** In the order of the tree. */
  *#below(dir: Addr): Generator<Addr> {
    yield* this.#subtree(this.#core.mem.readU64(dir + BigInt(this.#node.dir_children)));
  }

  *#subtree(rb: Addr): Generator<Addr> {
    if (rb === 0n) return;
    const { mem } = this.#core;
    yield* this.#subtree(mem.readU64(rb + RB_LEFT));
    yield rb - BigInt(this.#node.rb);
    yield* this.#subtree(mem.readU64(rb + RB_RIGHT));
  }

  #entry(kn: Addr): GuestEntry | undefined {
    const { mem } = this.#core;
    const name = this.#nameOf(kn);
    const type = this.#typeOf(kn);
    if (type === KERNFS_DIR) return { kind: 'directory', name };
    if (type === KERNFS_LINK) {
      const target = mem.readU64(kn + BigInt(this.#node.symlink_target_kn));
      return { kind: 'link', name, target: this.#pathOf(target) };
    }
    if (type !== KERNFS_FILE) return undefined;
    const mode = mem.readU16(kn + BigInt(this.#node.mode)) & PERMISSIONS;
    const size = Number(mem.readU64(kn + BigInt(this.#node.attr_size)));
    const guest = this.#attribute(kn);
    return { kind: 'file', attribute: { name, mode, size, ...(guest ? { guest } : {}) } };
  }

  /** Of an attribute of text; what is binary is read by functions of another form. */
  #attribute(kn: Addr) {
    const { mem, symbols, kernel } = this.#core;
    const functions = symbols.nameOf(mem.readU64(kn + BigInt(this.#node.attr_ops)));
    if (!functions?.startsWith('sysfs_file_kfops') && !functions?.startsWith('sysfs_prealloc_kfops'))
      return undefined;
    const kobj = mem.readU64(this.#parentOf(kn) + BigInt(this.#node.priv));
    const type = mem.readU64(kobj + BigInt(kernel.structs.kobject.fields.ktype));
    const ops = type === 0n ? 0n : mem.readU64(type + BigInt(kernel.structs.kobj_type.fields.sysfs_ops));
    const attr = mem.readU64(kn + BigInt(this.#node.priv));
    return { kobj, attr, node: { kn, ops } };
  }

  #pathOf(kn: Addr): string {
    const names: string[] = [];
    for (let at = kn; at !== 0n && at !== this.#root; at = this.#parentOf(at))
      names.unshift(this.#nameOf(at));
    return names.map((name) => `/${name}`).join('');
  }

  #parentOf(kn: Addr): Addr {
    return this.#core.mem.readU64(kn + BigInt(this.#node.parent));
  }
  #nameOf(kn: Addr): string {
    return this.#core.mem.readCString(this.#core.mem.readU64(kn + BigInt(this.#node.name)), NAME_MAX + 1);
  }
  #typeOf(kn: Addr): number {
    return this.#core.mem.readU16(kn + BigInt(this.#node.flags)) & KERNFS_TYPE_MASK;
  }
}
