// The entries of /proc: made, found, removed. Mirrors fs/proc/generic.c and the removal of inode.c.
//
// An entry is struct proc_dir_entry in guest memory; here is only which entries a directory has.
// Invariant: an entry's memory lives while it is in the tree or somebody has it open (refcnt); once it is
// removed no function of its module is entered, and remove_proc_entry() returned after the last one left.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator } from '../guest/hostcall.ts';
import type { Structs } from '../kernel/description.ts';
import { initListHead } from '../kernel/list.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FsContext, latin1Bytes } from './context.ts';
import { ProcOpeners } from './proc_openers.ts';

const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;

/** What one entry gets when it is made. */
interface EntryInit {
  readonly procOps?: Addr;
  /** seq_operations or the single show function; the two share their place. */
  readonly show?: Addr;
  readonly stateSize?: number;
  readonly data?: Addr;
}

export class ProcDirEntry {
  readonly addr: Addr;
  readonly name: string;
  readonly parent: ProcDirEntry | undefined;
  /** Entries of a directory; undefined for a file. */
  readonly children: Map<string, ProcDirEntry> | undefined;

  constructor(addr: Addr, name: string, parent: ProcDirEntry | undefined, directory: boolean) {
    this.addr = addr;
    this.name = name;
    this.parent = parent;
    this.children = directory ? new Map() : undefined;
  }
}

interface KeptProc {
  /** As they were made, so that a directory is before what is in it. */
  readonly entries: readonly {
    readonly addr: Addr;
    readonly name: string;
    readonly parent: Addr | undefined;
    readonly isDir: boolean;
  }[];
  readonly nextInode: number;
}

export class ProcTree {
  readonly root: ProcDirEntry;
  readonly openers: ProcOpeners;
  readonly #fs: FsContext;
  readonly #procOps: Structs['proc_ops']['fields'];
  readonly #entries = new Map<Addr, ProcDirEntry>();
  #nextInode = 0xf0000000;

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#procOps = fs.core.kernel.structs.proc_ops.fields;
    this.openers = new ProcOpeners(fs);
    this.root = this.#allocate('', undefined, UAPI.S_IFDIR | 0o555) as ProcDirEntry;
    fs.core.host.defineAll({ ...this.#makers(), ...this.#removers(), ...this.#setters() });
    fs.core.host.keeps('proc', this);
  }

  keep(): KeptProc {
    const entries = [...this.#entries.values()].map(({ addr, name, parent, children }) => ({
      addr,
      name,
      parent: parent?.addr,
      isDir: children !== undefined,
    }));
    return { entries, nextInode: this.#nextInode };
  }

  restore({ entries, nextInode }: KeptProc): void {
    const before = new Map(this.#entries);
    this.#entries.clear();
    for (const { addr, name, parent, isDir } of entries) {
      const dir = parent === undefined ? undefined : this.#entries.get(parent);
      const entry = before.get(addr) ?? new ProcDirEntry(addr, name, dir, isDir);
      this.#entries.set(addr, entry);
      dir?.children?.set(name, entry);
    }
    this.#nextInode = nextInode;
  }

  /** An entry of the kernel's own with a show function of the image. */
  createSingle(
    path: string,
    show: string,
    options: { mode?: number; permanent?: boolean; ops?: string } = {},
  ): ProcDirEntry {
    const entry = this.#create(path, options.mode ?? 0, 0n, {
      procOps: this.#fs.symbol(options.ops ?? 'proc_single_ops'),
      show: this.#fs.symbol(show),
    });
    if (!entry) throw new Error(`/proc/${path} cannot be made`);
    if (options.permanent) {
      const flags = entry.addr + BigInt(this.#fs.pde.flags);
      this.#fs.mem.writeU8(flags, this.#fs.mem.readU8(flags) | this.#fs.constants.PROC_ENTRY_PERMANENT);
    }
    return entry;
  }

  /** The entry at a path below /proc; undefined where there is none. */
  lookup(path: string): ProcDirEntry | undefined {
    let entry: ProcDirEntry | undefined = this.root;
    for (const name of path.split('/').filter(Boolean)) entry = entry?.children?.get(name);
    return entry;
  }

  get(entry: ProcDirEntry): void {
    this.#count(entry, 1);
  }
  /** What a symbolic link says; undefined of any other entry. */
  linkOf({ addr }: ProcDirEntry): string | undefined {
    const { mem, pde } = this.#fs;
    if ((mem.readU16(addr + BigInt(pde.mode)) & S_IFMT) !== S_IFLNK) return undefined;
    return mem.readCString(mem.readU64(addr + BigInt(pde.data)), 4096);
  }

  /** proc_symlink(): the text is a copy, which goes with the entry. */
  #symlink(name: string, parent: Addr, text: string): Addr {
    const { mem, core } = this.#fs;
    // The kernel's own, net and mounts: a task's directory has neither here, and /proc/net is that of the first namespace.
    if (parent === 0n && text.startsWith('self/')) return 0n;
    const data = core.slab.tryAlloc(text.length + 1, '/proc link');
    if (data === 0n) return 0n;
    mem.writeBytes(data, latin1Bytes(`${text}\0`));
    const entry = this.#create(name, S_IFLNK | 0o777, parent, { data });
    if (!entry) {
      core.slab.free(data);
      return 0n;
    }
    mem.writeU64(entry.addr + BigInt(this.#fs.pde.size), BigInt(text.length));
    return entry.addr;
  }

  /** pde_put() */
  put(entry: ProcDirEntry): void {
    if (this.#count(entry, -1) > 0) return;
    const { mem, core } = this.#fs;
    const name = mem.readU64(entry.addr + BigInt(this.#fs.pde.name));
    if (name !== entry.addr + BigInt(this.#fs.pde.inline_name)) core.slab.free(name);
    if (this.linkOf(entry) !== undefined) core.slab.free(mem.readU64(entry.addr + BigInt(this.#fs.pde.data)));
    this.#entries.delete(entry.addr);
    core.slab.free(entry.addr);
  }

  #count(entry: ProcDirEntry, by: number): number {
    const at = entry.addr + BigInt(this.#fs.pde.refcnt);
    const count = this.#fs.mem.readU32(at) + by;
    this.#fs.mem.writeU32(at, count);
    return count;
  }

  #warn(text: string): undefined {
    this.#fs.core.printk.warn(text);
    return undefined;
  }

  /** xlate_proc_name(): the directory that a name with slashes is in, and the last part. */
  #resolve(name: string, parent: Addr): { dir: ProcDirEntry; leaf: string } | undefined {
    let dir = parent === 0n ? this.root : (this.#entries.get(parent) ?? this.#adopted(parent));
    const parts = name.split('/');
    const leaf = parts.pop() as string;
    for (const part of parts) dir = dir?.children?.get(part);
    return dir?.children ? { dir, leaf } : this.#warn(`name '${name}'`);
  }

  /**
   * A directory of / that a real kernel's own code has put together in memory, as proc_net_ns_init() of proc_net.c does /proc/net, which
   * is a link to it there. It has no mode: its inode is another's.
   */
  #adopted(addr: Addr): ProcDirEntry | undefined {
    const { mem, core, pde } = this.#fs;
    if (mem.readU64(addr + BigInt(pde.parent)) !== core.symbols.lookupName('proc_root')) return undefined;
    const entry = new ProcDirEntry(
      addr,
      mem.readCString(mem.readU64(addr + BigInt(pde.name))),
      this.root,
      true,
    );
    mem.writeU16(addr + BigInt(pde.mode), UAPI.S_IFDIR | 0o555);
    this.#openToAll(addr);
    this.#entries.set(addr, entry);
    if (!this.root.children?.has(entry.name)) this.root.children?.set(entry.name, entry);
    return entry;
  }

  /** proc_register() of what __proc_create() makes; undefined, with a warning, where the name is bad or taken. */
  #create(name: string, mode: number, parent: Addr, init: EntryInit): ProcDirEntry | undefined {
    const place = this.#resolve(name, parent);
    if (!place) return undefined;
    const { dir, leaf } = place;
    if (leaf === '' || leaf.length >= 256) return this.#warn(`name len ${leaf.length}`);
    if (leaf === '.' || leaf === '..') return this.#warn(`name '${leaf}'`);
    if (dir === this.root && /^(0|[1-9]\d*)$/.test(leaf)) return this.#warn(`create '/proc/${leaf}' by hand`);
    if (dir.children?.has(leaf)) {
      return this.#warn(`proc_dir_entry '${dir.name || '/proc'}/${leaf}' already registered`);
    }
    const isDir = (mode & S_IFMT) === UAPI.S_IFDIR;
    const permissions = mode & 0o7777 || 0o444;
    const isLink = (mode & S_IFMT) === S_IFLNK;
    const entry = this.#allocate(leaf, dir, isDir || isLink ? mode : UAPI.S_IFREG | permissions);
    if (!entry) return undefined;
    this.#fill(entry, init);
    dir.children?.set(leaf, entry);
    return entry;
  }

  /** undefined without memory. */
  #allocate(name: string, parent: ProcDirEntry | undefined, mode: number): ProcDirEntry | undefined {
    const { mem, core } = this.#fs;
    const addr = core.slab.tryAlloc(this.#fs.core.kernel.structs.proc_dir_entry.size, `/proc entry ${name}`);
    if (addr === 0n) return undefined;
    const isDir = (mode & S_IFMT) === UAPI.S_IFDIR;
    const inline =
      this.#fs.pde.inline_name + name.length + 1 <= this.#fs.core.kernel.structs.proc_dir_entry.size;
    const text = inline
      ? addr + BigInt(this.#fs.pde.inline_name)
      : core.slab.tryAlloc(name.length + 1, '/proc name');
    if (text === 0n) {
      core.slab.free(addr);
      return undefined;
    }
    mem.writeBytes(text, latin1Bytes(`${name}\0`));
    mem.writeU64(addr + BigInt(this.#fs.pde.name), text);
    mem.writeU8(addr + BigInt(this.#fs.pde.namelen), name.length);
    mem.writeU16(addr + BigInt(this.#fs.pde.mode), mode);
    mem.writeU32(addr + BigInt(this.#fs.pde.nlink), isDir ? 2 : 1);
    mem.writeU32(addr + BigInt(this.#fs.pde.refcnt), 1);
    mem.writeU32(addr + BigInt(this.#fs.pde.low_ino), this.#nextInode++);
    mem.writeU64(addr + BigInt(this.#fs.pde.parent), parent?.addr ?? addr);
    initListHead(this.#fs.core, addr + BigInt(this.#fs.pde.pde_openers));
    const entry = new ProcDirEntry(addr, name, parent, isDir);
    this.#entries.set(addr, entry);
    return entry;
  }

  /** The functions of the entry, and pde_set_flags(). */
  #fill(entry: ProcDirEntry, init: EntryInit): void {
    const { mem } = this.#fs;
    const at = (field: number): Addr => entry.addr + BigInt(field);
    mem.writeU64(at(this.#fs.pde.proc_ops), init.procOps ?? 0n);
    this.#openToAll(entry.addr);
    mem.writeU64(at(this.#fs.pde.single_show), init.show ?? 0n);
    mem.writeU32(at(this.#fs.pde.state_size), init.stateSize ?? 0);
    mem.writeU64(at(this.#fs.pde.data), init.data ?? 0n);
    if (!init.procOps) return;
    let flags =
      mem.readU32(init.procOps + BigInt(this.#procOps.proc_flags)) & this.#fs.constants.PROC_ENTRY_PERMANENT;
    if (mem.readU64(init.procOps + BigInt(this.#procOps.proc_read_iter)) !== 0n)
      flags |= this.#fs.constants.PROC_ENTRY_proc_read_iter;
    if (mem.readU64(init.procOps + BigInt(this.#procOps.proc_lseek)) !== 0n)
      flags |= this.#fs.constants.PROC_ENTRY_proc_lseek;
    mem.writeU8(at(this.#fs.pde.flags), flags);
  }

  /** A directory without functions of its inode is one that a real kernel puts nothing into. */
  #openToAll(entry: Addr): void {
    const { core, mem } = this.#fs;
    const { proc_iops } = core.kernel.structs.proc_dir_entry.fields;
    const functions = core.symbols.lookupName('proc_dir_inode_operations');
    if (proc_iops !== undefined && functions !== undefined)
      mem.writeU64(entry + BigInt(proc_iops), functions);
  }

  #makers(): Record<string, HostFunction> {
    const { mem } = this.#fs;
    const name = (call: HostCall): string => mem.readCString(call.args[0], 4096);
    const mode = (arg: bigint): number => Number(arg & 0xffffn);
    const file = (call: HostCall, init: EntryInit): Addr =>
      this.#create(name(call), mode(call.args[1]), call.args[2], init)?.addr ?? 0n;
    const directory = (call: HostCall, bits: bigint, parent: Addr, data: Addr): Addr =>
      this.#create(name(call), UAPI.S_IFDIR | mode(bits), parent, { data })?.addr ?? 0n;
    const orDefault = (bits: bigint): bigint => (mode(bits) === 0 ? 0o555n : bits);
    return {
      proc_create: (call) => file(call, { procOps: call.args[3] }),
      proc_create_data: (call) => file(call, { procOps: call.args[3], data: call.args[4] }),
      // (name, mode, parent, show, data)
      proc_create_single_data: (call) =>
        file(call, {
          procOps: this.#fs.symbol('proc_single_ops'),
          show: call.args[3],
          data: call.args[4],
        }),
      // (name, mode, parent, ops, state_size, data)
      proc_create_seq_private: (call) =>
        file(call, {
          procOps: this.#fs.symbol('proc_seq_ops'),
          show: call.args[3],
          stateSize: Number(call.args[4] & 0xffffffffn),
          data: call.args[5],
        }),
      // (name, parent, text)
      proc_symlink: (call) => this.#symlink(name(call), call.args[1], mem.readCString(call.args[2], 4096)),
      proc_create_mount_point: (call) => directory(call, 0o555n, 0n, 0n),
      proc_mkdir: (call) => directory(call, 0o555n, call.args[1], 0n),
      proc_mkdir_mode: (call) => directory(call, orDefault(call.args[1]), call.args[2], 0n),
      proc_mkdir_data: (call) => directory(call, orDefault(call.args[1]), call.args[2], call.args[3]),
      _proc_mkdir: (call) => directory(call, orDefault(call.args[1]), call.args[2], call.args[3]),
    };
  }

  #setters(): Record<string, HostFunction> {
    const { mem } = this.#fs;
    return {
      proc_set_size: ({ args }) => mem.writeU64(args[0] + BigInt(this.#fs.pde.size), args[1]),
      proc_set_user: ({ args }) => {
        mem.writeU32(args[0] + BigInt(this.#fs.pde.uid), Number(args[1] & 0xffffffffn));
        mem.writeU32(args[0] + BigInt(this.#fs.pde.gid), Number(args[2] & 0xffffffffn));
      },
    };
  }

  #removers(): Record<string, HostFunction> {
    const { mem } = this.#fs;
    const self = this;
    return {
      *remove_proc_entry({ args }): HostGenerator {
        yield* self.remove(mem.readCString(args[0]), args[1], false);
      },
      *remove_proc_subtree({ args }): HostGenerator {
        return yield* self.remove(mem.readCString(args[0]), args[1], true);
      },
      *proc_remove({ args }): HostGenerator {
        const entry = self.#entries.get(args[0]);
        if (entry?.parent) yield* self.remove(entry.name, entry.parent.addr, true);
      },
    };
  }

  /** remove_proc_entry(), remove_proc_subtree(): 0 or -ENOENT. Sleeps until nobody is in a removed entry. */
  *remove(name: string, parent: Addr, subtree: boolean): HostGenerator<number> {
    const place = this.#resolve(name, parent);
    const entry = place?.dir.children?.get(place.leaf);
    if (!place || !entry) {
      if (place) this.#warn(`name '${name}'`);
      return -UAPI.ENOENT;
    }
    const permanent = this.#firstPermanent(entry, subtree);
    if (permanent) {
      this.#warn(`removing permanent /proc entry '${subtree ? this.#pathOf(permanent) : permanent.name}'`);
      return -UAPI.EINVAL;
    }
    place.dir.children?.delete(place.leaf);
    yield* this.#takeOut(entry, subtree);
    return 0;
  }

  #firstPermanent(entry: ProcDirEntry, subtree: boolean): ProcDirEntry | undefined {
    const flags = this.#fs.mem.readU8(entry.addr + BigInt(this.#fs.pde.flags));
    if (flags & this.#fs.constants.PROC_ENTRY_PERMANENT) return entry;
    if (!subtree) return undefined;
    for (const child of entry.children?.values() ?? []) {
      const found = this.#firstPermanent(child, true);
      if (found) return found;
    }
    return undefined;
  }

  #pathOf(entry: ProcDirEntry): string {
    return entry.parent ? `${entry.parent.name || '/proc'}/${entry.name}` : '/proc';
  }

  *#takeOut(entry: ProcDirEntry, subtree: boolean): HostGenerator<void> {
    if (subtree) {
      for (const child of [...(entry.children?.values() ?? [])]) {
        entry.children?.delete(child.name);
        yield* this.#takeOut(child, true);
      }
    }
    yield* this.#rundown(entry);
    const left = entry.children?.values().next().value;
    if (left) {
      const dir = entry.parent?.name || '/proc';
      this.#warn(
        `remove_proc_entry: removing non-empty directory '${dir}/${entry.name}', leaking at least '${left.name}'`,
      );
    }
    this.put(entry);
  }

  /** proc_entry_rundown(): waits for those inside, then releases what is open. */
  *#rundown(entry: ProcDirEntry): HostGenerator<void> {
    const { mem } = this.#fs;
    const inUse = entry.addr + BigInt(this.#fs.pde.in_use);
    const done = this.#fs.newCompletion();
    mem.writeU64(entry.addr + BigInt(this.#fs.pde.pde_unload_completion), done);
    const before = mem.readU32(inUse) | 0;
    mem.writeU32(inUse, (before + this.#fs.constants.PDE_BIAS) >>> 0);
    if (before !== 0) yield { call: this.#fs.symbol('wait_for_completion'), args: [done] };
    this.#fs.core.slab.free(done);
    mem.writeU64(entry.addr + BigInt(this.#fs.pde.pde_unload_completion), 0n);
    yield* this.openers.releaseAll(entry.addr);
  }

  /** The entry of an inode's pde; undefined for an address that is none. */
  byAddr(addr: Addr): ProcDirEntry | undefined {
    return this.#entries.get(addr);
  }
}
