// debugfs as modules use it: directories, files with their own functions, files that show a variable.
// Mirrors fs/debugfs/inode.c and file.c.
//
// Invariant: once debugfs_remove() has returned, no function of a removed file runs, but for the release of one
// that was open; that one's module stays as long.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator } from '../guest/hostcall.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { kstrtobool, parseInteger } from '../kernel/lib.ts';
import { storeInteger } from '../kernel/store_integer.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FsContext, latin1Text } from './context.ts';
import type { DebugFs } from './debugfs.ts';
import type { HostFile } from './host_files.ts';

const { EEXIST, EINVAL, ENOMEM, S_IFDIR, S_IFREG } = UAPI;

/** How a variable reads in its file. */
interface ValueType {
  readonly bytes: number;
  readonly signed?: boolean;
  readonly hexDigits?: number;
}

const VALUE_TYPES: Readonly<Record<string, ValueType>> = {
  u8: { bytes: 1 },
  u16: { bytes: 2 },
  u32: { bytes: 4 },
  u64: { bytes: 8 },
  ulong: { bytes: 8 },
  size_t: { bytes: 8 },
  x8: { bytes: 1, hexDigits: 2 },
  x16: { bytes: 2, hexDigits: 4 },
  x32: { bytes: 4, hexDigits: 8 },
  x64: { bytes: 8, hexDigits: 16 },
  atomic_t: { bytes: 4, signed: true },
};

/** What an entry is: a directory, a file with functions of a module's, or one that shows a variable, by its type. */
interface Kind {
  readonly type: string;
  /** Permission bits. */
  readonly mode: number;
  /** Of a file's inode, or the variable. */
  readonly data: Addr;
}

interface Entry {
  readonly path: string;
  readonly kind: Kind;
  readonly dentry: Addr;
  /** 0 but for a file with functions of a module's. */
  readonly fsdata: Addr;
  /** Where the kernel has functions of its own that look there; else 0. */
  readonly inode: Addr;
  /** Open files, and the tree. */
  refs: number;
}

export class DebugfsCreate {
  readonly #fs: FsContext;
  readonly #tree: DebugFs;
  readonly #fsdata: Structs['debugfs_fsdata']['fields'];
  readonly #entries = new Map<Addr, Entry>();

  constructor(fs: FsContext, tree: DebugFs) {
    this.#fs = fs;
    this.#tree = tree;
    this.#fsdata = fs.core.kernel.structs.debugfs_fsdata.fields;
    const create: HostFunction = (call) => this.#createFile(call);
    const self = this;
    const functions: Record<string, HostFunction> = {
      debugfs_initialized: () => true,
      debugfs_create_dir: ({ args }) => this.#createDir(args[0], args[1]),
      debugfs_create_file: create,
      debugfs_create_file_unsafe: create,
      debugfs_lookup: ({ args }) => this.#lookup(args[0], args[1])?.dentry ?? 0n,
      *debugfs_remove({ args }): HostGenerator {
        yield* self.#remove(self.#entries.get(args[0]));
      },
      *debugfs_lookup_and_remove({ args }): HostGenerator {
        yield* self.#remove(self.#lookup(args[0], args[1]));
      },
    };
    for (const type of ['bool', 'str', 'blob', ...Object.keys(VALUE_TYPES)])
      functions[`debugfs_create_${type}`] = (call) => this.#createValue(call, type);
    fs.core.host.defineAll(functions);
    fs.core.host.keeps('debugfs', this);
  }

  /** Where none of them is open. */
  keep(): readonly Entry[] | undefined {
    const entries = [...this.#entries.values()];
    return entries.every(({ refs }) => refs === 1) ? entries : undefined;
  }
  restore(kept: readonly Entry[]): void {
    for (const { path } of this.#entries.values()) this.#tree.remove(path);
    this.#entries.clear();
    for (const entry of kept) {
      const own = { ...entry };
      this.#entries.set(own.dentry, own);
      this.#show(own);
    }
  }

  /** start_creating(): the path of a new name, or the error pointer that stands for a failure. */
  #start(name: Addr, parent: Addr): string | bigint {
    if (isErr(parent)) return parent;
    if (name === 0n) return negErrno(EINVAL);
    const text = this.#fs.mem.readCString(name, 256);
    const path = this.#path(parent, text);
    if (!this.#tree.exists(path)) return path;
    const place = parent === 0n ? '/' : this.#entries.get(parent)?.path;
    const what = this.#tree.lookup(path) ? 'File' : 'Directory';
    this.#fs.core.printk.err(`debugfs: ${what} '${text}' in directory '${place}' already present!`);
    return negErrno(EEXIST);
  }

  #path(parent: Addr, name: string): string {
    const above = this.#entries.get(parent)?.path ?? '';
    return above === '' ? name : `${above}/${name}`;
  }

  /** An entry that is not in the tree yet; undefined without memory. @param more bytes of its fsdata. */
  #add(path: string, parent: Addr, kind: Kind, more = 0): Entry | undefined {
    const { slab, kernel } = this.#fs.core;
    const { dentry: layout, inode: inodeLayout } = kernel.structs;
    const sizes = [layout.size, more, layout.fields.d_inode === undefined ? 0 : inodeLayout.size];
    const parts = sizes.map((size) => (size === 0 ? 0n : slab.tryAlloc(size, `debugfs ${path}`)));
    if (parts.some((part, i) => part === 0n && sizes[i] > 0)) {
      for (const part of parts) slab.free(part);
      return undefined;
    }
    const [dentry, fsdata, inode] = parts;
    const entry = { path, kind, dentry, fsdata, inode, refs: 1 };
    this.#link(entry, parent);
    this.#entries.set(dentry, entry);
    return entry;
  }

  /** As the kernel's own functions find it: its inode, which a directory's owner may note something in, and what it is in. */
  #link({ dentry, inode, kind }: Entry, parent: Addr): void {
    const { mem, core } = this.#fs;
    const { d_inode, d_parent } = core.kernel.structs.dentry.fields;
    if (d_inode === undefined || d_parent === undefined) return;
    const { i_mode, i_private } = core.kernel.structs.inode.fields;
    mem.writeU64(dentry + BigInt(d_inode), inode);
    mem.writeU64(dentry + BigInt(d_parent), parent === 0n ? dentry : parent);
    mem.writeU16(inode + BigInt(i_mode), kind.mode | (kind.type === 'dir' ? S_IFDIR : S_IFREG));
    mem.writeU64(inode + BigInt(i_private), kind.data);
  }

  /** In the tree. */
  #show(entry: Entry): void {
    const { path, kind } = entry;
    const { type, mode, data } = kind;
    if (type === 'dir') this.#tree.addDirectory(path);
    else if (type === 'file')
      this.#tree.add(path, { mode, open: (flags) => this.#open(entry, flags, mode, data) });
    else {
      const { read, write } = this.#value(type, data);
      this.#tree.add(path, {
        mode,
        ...(mode & 0o444 && read ? { read } : {}),
        ...(mode & 0o222 && write ? { write } : {}),
      });
    }
  }

  #createDir(name: Addr, parent: Addr): Addr {
    const path = this.#start(name, parent);
    if (typeof path === 'bigint') return path;
    const entry = this.#add(path, parent, { type: 'dir', mode: 0, data: 0n });
    if (!entry) return negErrno(ENOMEM);
    this.#show(entry);
    return entry.dentry;
  }

  /** (name, mode, parent, data, fops) */
  #createFile({ args }: HostCall): Addr {
    const { mem } = this.#fs;
    const [name, bits, parent, data, fops] = args;
    const path = this.#start(name, parent);
    if (typeof path === 'bigint') return path;
    const kind = { type: 'file', mode: Number(bits & 0o7777n), data };
    const entry = this.#add(path, parent, kind, this.#fs.core.kernel.structs.debugfs_fsdata.size);
    if (!entry) return negErrno(ENOMEM);
    mem.writeU64(
      entry.fsdata + BigInt(this.#fsdata.real_fops),
      fops === 0n ? this.#fs.symbol('debugfs_noop_file_operations') : fops,
    );
    this.#show(entry);
    return entry.dentry;
  }

  #open(entry: Entry, flags: number, mode: number, data: Addr): Addr {
    const { mem } = this.#fs;
    const file = this.#fs.allocFile('debugfs_full_proxy_file_operations', flags, S_IFREG | mode, {
      end: () => this.#put(entry),
    });
    entry.refs++;
    const inode = this.#fs.inodeOf(file);
    // In the place where an inode of /proc has its entry.
    mem.writeU64(inode + BigInt(this.#fs.procInode.pde - this.#fs.procInode.vfs_inode), entry.fsdata);
    const { inode: inodeLayout, file: fileLayout, path } = this.#fs.core.kernel.structs;
    mem.writeU64(inode + BigInt(inodeLayout.fields.i_private), data);
    const at = fileLayout.fields.f_path;
    if (at !== undefined) mem.writeU64(file + BigInt(at + path.fields.dentry), entry.dentry);
    return file;
  }

  #put(entry: Entry): void {
    if (--entry.refs > 0) return;
    for (const part of [entry.dentry, entry.fsdata, entry.inode]) this.#fs.core.slab.free(part);
  }

  /** (name, mode, parent, variable) */
  #createValue({ args }: HostCall, type: string): Addr {
    const path = this.#start(args[0], args[2]);
    if (typeof path === 'bigint') return path;
    const entry = this.#add(path, args[2], { type, mode: Number(args[1] & 0o7777n), data: args[3] });
    if (!entry) return negErrno(ENOMEM);
    this.#show(entry);
    return entry.dentry;
  }

  #value(type: string, at: Addr): Omit<HostFile, 'mode'> {
    if (type === 'bool') return this.#bool(at);
    if (type === 'str') return this.#string(at);
    return type === 'blob' ? this.#blob(at) : this.#number(at, VALUE_TYPES[type]);
  }

  #number(at: Addr, { bytes, signed = false, hexDigits }: ValueType): Omit<HostFile, 'mode'> {
    const { mem } = this.#fs;
    const read = (): bigint => {
      const value = BigInt.asUintN(
        8 * bytes,
        mem.readBytes(at, bytes).reduceRight((v, b) => (v << 8n) | BigInt(b), 0n),
      );
      return signed ? BigInt.asIntN(8 * bytes, value) : value;
    };
    return {
      read: () => (hexDigits ? `0x${read().toString(16).padStart(hexDigits, '0')}\n` : `${read()}\n`),
      write: (text) => {
        // As simple_attr_write() takes them: what does not fit is cut, as the assignment in C does it.
        const value = parseInteger(text.trimEnd(), 0, { bytes: 8, signed: text.trimStart().startsWith('-') });
        if (typeof value === 'number') return value;
        storeInteger(mem, at, BigInt.asUintN(8 * bytes, value), bytes);
        return text.length;
      },
    };
  }

  #bool(at: Addr): Omit<HostFile, 'mode'> {
    const { mem } = this.#fs;
    return {
      read: () => (mem.readU8(at) ? 'Y\n' : 'N\n'),
      write: (text) => {
        const value = kstrtobool(text);
        if (value !== undefined) mem.writeU8(at, Number(value));
        return text.length;
      },
    };
  }

  #string(at: Addr): Omit<HostFile, 'mode'> {
    const { mem } = this.#fs;
    return { read: () => (mem.readU64(at) === 0n ? '\n' : `${mem.readCString(mem.readU64(at))}\n`) };
  }

  /** struct debugfs_blob_wrapper */
  #blob(at: Addr): Omit<HostFile, 'mode'> {
    const { mem, core } = this.#fs;
    const { data, size } = core.kernel.structs.debugfs_blob_wrapper.fields;
    const read = (field: number): bigint => mem.readU64(at + BigInt(field));
    return { read: () => latin1Text(mem.readBytes(read(data), Number(read(size)))) };
  }

  #lookup(name: Addr, parent: Addr): Entry | undefined {
    const path = this.#path(parent, this.#fs.mem.readCString(name, 256));
    return [...this.#entries.values()].find((entry) => entry.path === path);
  }

  /** debugfs_remove(): with everything below. Waits for those inside the files' functions. */
  *#remove(top: Entry | undefined): HostGenerator<void> {
    if (!top) return;
    this.#tree.remove(top.path);
    for (const entry of [...this.#entries.values()]) {
      if (entry !== top && !entry.path.startsWith(`${top.path}/`)) continue;
      this.#entries.delete(entry.dentry);
      yield* this.#drain(entry);
      this.#put(entry);
    }
  }

  *#drain(entry: Entry): HostGenerator<void> {
    if (entry.fsdata === 0n) return;
    const { mem, core } = this.#fs;
    const users = entry.fsdata + BigInt(this.#fsdata.active_users);
    const done = this.#fs.newCompletion();
    mem.writeU64(entry.fsdata + BigInt(this.#fsdata.drained), done);
    const before = mem.readU32(users) | 0;
    mem.writeU32(users, (before + this.#fs.constants.DEBUGFS_REMOVED) >>> 0);
    if (before !== 0) yield { call: this.#fs.symbol('wait_for_completion'), args: [done] };
    core.slab.free(done);
  }
}

/** IS_ERR() */
function isErr(pointer: Addr): boolean {
  return pointer >= 0xffff_ffff_ffff_f001n;
}
