// From a path to something that can be opened. Mirrors fs/namei.c, and the mounts of a small system:
// /proc, /sys, /dev, and read-only files of bytes everywhere else.

import type { Addr } from '../guest/addr.ts';
import { KernelError } from '../kernel/errno.ts';
import { CONSTANTS, LAYOUT } from '../kernel/layout.ts';
import type { Sysfs } from '../kernel/sysfs.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { FsContext } from './context.ts';
import type { Kernfs } from './kernfs.ts';
import { O_ACCMODE, O_DIRECTORY, PDE, PROC_ENTRY_READ_ITER, PROC_INODE } from './layout.ts';
import type { ProcPid } from './proc_pid.ts';
import type { ProcDirEntry, ProcTree } from './proc_tree.ts';
import type { Ramfs, StreamName, Terminal } from './ramfs.ts';
import type { Sysctls } from './sysctl.ts';

/** What stat() says of a path, and how it is opened. */
export interface Target {
  readonly kind: 'file' | 'directory';
  /** Permission bits. */
  readonly mode: number;
  /** Bytes. */
  readonly size: number;
  readonly nlink: number;
  /** A struct file that is not open yet. @param flags of open() */
  open(flags: number): Addr;
}

export interface Mounts {
  readonly proc: ProcTree;
  readonly pid: ProcPid;
  readonly sysctls: Sysctls;
  readonly sysfs: Sysfs;
  readonly kernfs: Kernfs;
  readonly ramfs: Ramfs;
  readonly terminal: Terminal;
}

const DEVICES: Readonly<Record<string, StreamName>> = {
  '/dev/console': 'stdout',
  '/dev/tty': 'stdout',
  '/dev/stdin': 'stdin',
  '/dev/stdout': 'stdout',
  '/dev/stderr': 'stderr',
};

export class Namei {
  readonly #fs: FsContext;
  readonly #mounts: Mounts;

  constructor(fs: FsContext, mounts: Mounts) {
    this.#fs = fs;
    this.#mounts = mounts;
  }

  /** do_filp_open() up to the file's own open function. @throws KernelError */
  openPath(path: string, flags: number, task: TaskStruct | undefined): Addr {
    if (path === '') throw new KernelError(CONSTANTS.ENOENT, path);
    const target = this.lookup(path, task);
    if (!target) throw this.#missing(path, flags, task);
    if (target.kind === 'directory' && (flags & O_ACCMODE) !== CONSTANTS.O_RDONLY) {
      throw new KernelError(CONSTANTS.EISDIR, path);
    }
    if (target.kind === 'file' && (flags & O_DIRECTORY || path.endsWith('/'))) {
      throw new KernelError(CONSTANTS.ENOTDIR, path);
    }
    return target.open(flags);
  }

  /** The target of a path, relative ones taken from /; undefined for none. @param task for /proc/self. */
  lookup(path: string, task?: TaskStruct): Target | undefined {
    const parts = normalize(path);
    if (parts[0] === 'proc') return this.#proc(parts.slice(1), task);
    if (parts[0] === 'sys') return this.#sys(`/${parts.slice(1).join('/')}`);
    return this.#other(`/${parts.join('/')}`);
  }

  /** Why a path leads nowhere: something on the way is a file, or it is not there and cannot be made. */
  #missing(path: string, flags: number, task: TaskStruct | undefined): KernelError {
    const parts = normalize(path);
    for (let i = 1; i < parts.length; i++) {
      const found = this.lookup(parts.slice(0, i).join('/'), task);
      if (found?.kind === 'file') return new KernelError(CONSTANTS.ENOTDIR, path);
      if (!found) return new KernelError(CONSTANTS.ENOENT, path);
    }
    const pseudo = parts[0] === 'proc' || parts[0] === 'sys';
    const errno = !(flags & CONSTANTS.O_CREAT) || pseudo ? CONSTANTS.ENOENT : CONSTANTS.EROFS;
    return new KernelError(errno, path);
  }

  #directory(mode = 0o555, nlink = 2): Target {
    const open = (flags: number): Addr =>
      this.#fs.allocFile('simple_dir_operations', flags, CONSTANTS.S_IFDIR | mode);
    return { kind: 'directory', mode, size: 0, nlink, open };
  }

  #proc(parts: readonly string[], task: TaskStruct | undefined): Target | undefined {
    const [first = ''] = parts;
    if (first === 'self') return task && this.#proc([String(task.tgid), ...parts.slice(1)], task);
    if (/^[1-9]\d*$/.test(first)) return this.#pid(Number(first), parts.slice(1));
    if (first === 'sys') return this.#sysctl(parts.slice(1).join('/'));
    const entry = this.#mounts.proc.lookup(parts.join('/'));
    return entry && this.#entry(entry);
  }

  #entry(entry: ProcDirEntry): Target {
    const { mem } = this.#fs;
    const mode = mem.readU16(entry.addr + BigInt(PDE.mode)) & 0o7777;
    const nlink = mem.readU32(entry.addr + BigInt(PDE.nlink));
    if (entry.children) return this.#directory(mode, nlink);
    const size = Number(mem.readU64(entry.addr + BigInt(PDE.size)));
    return { kind: 'file', mode, size, nlink, open: (flags) => this.#openEntry(entry, mode, size, flags) };
  }

  #openEntry(entry: ProcDirEntry, mode: number, size: number, flags: number): Addr {
    const { mem } = this.#fs;
    const { proc } = this.#mounts;
    const iter = mem.readU8(entry.addr + BigInt(PDE.flags)) & PROC_ENTRY_READ_ITER;
    const fop = iter ? 'proc_iter_file_ops' : 'proc_reg_file_ops';
    const end = (): void => proc.put(entry);
    const file = this.#fs.allocFile(fop, flags, CONSTANTS.S_IFREG | mode, { size, end });
    proc.get(entry);
    const inode = this.#fs.inodeOf(file);
    mem.writeU64(inode + BigInt(PROC_INODE.pde - PROC_INODE.vfsInode), entry.addr);
    mem.writeU64(inode + BigInt(LAYOUT.inode.fields.i_private), mem.readU64(entry.addr + BigInt(PDE.data)));
    return file;
  }

  #pid(pid: number, parts: readonly string[]): Target | undefined {
    const { pid: procPid } = this.#mounts;
    if (!this.#fs.core.tasks.byPid(pid)) return undefined;
    if (parts.length === 0) return this.#directory();
    const entry = parts.length === 1 ? procPid.lookup(parts[0]) : undefined;
    return (
      entry && {
        kind: 'file',
        mode: entry.mode,
        size: 0,
        nlink: 1,
        open: (f) => procPid.openFile(pid, entry, f),
      }
    );
  }

  #sysctl(path: string): Target | undefined {
    const { sysctls } = this.#mounts;
    const sysctl = sysctls.lookup(path);
    if (!sysctl) return sysctls.isDirectory(path) ? this.#directory() : undefined;
    const open = (flags: number): Addr => {
      const write = (flags & O_ACCMODE) !== CONSTANTS.O_RDONLY;
      const read = (flags & O_ACCMODE) !== CONSTANTS.O_WRONLY;
      // sysctl_perm(): root has the owner's bits, and no more.
      const denied = (write && !(sysctl.mode & 0o200)) || (read && !(sysctl.mode & 0o400));
      if (denied) throw new KernelError(CONSTANTS.EACCES, path);
      return sysctls.openFile(sysctl, flags);
    };
    return { kind: 'file', mode: sysctl.mode, size: 0, nlink: 1, open };
  }

  #sys(path: string): Target | undefined {
    const node = this.#mounts.sysfs.lookup(path);
    if (!node) return undefined;
    if (node.kind === 'directory') return this.#directory(node.mode, node.nlink);
    const open = (flags: number): Addr => this.#mounts.kernfs.openFile(node, flags);
    return { kind: 'file', mode: node.mode, size: node.size, nlink: 1, open };
  }

  #other(path: string): Target | undefined {
    const { ramfs, terminal } = this.#mounts;
    const stream = DEVICES[path];
    if (stream) {
      return {
        kind: 'file',
        mode: 0o620,
        size: 0,
        nlink: 1,
        open: (flags) => terminal.openFile(stream, flags),
      };
    }
    const bytes = ramfs.lookup(path);
    if (!bytes)
      return path === '/' || path === '/dev' || ramfs.isDirectory(path) ? this.#directory(0o755) : undefined;
    const open = (flags: number): Addr => {
      if ((flags & O_ACCMODE) !== CONSTANTS.O_RDONLY) throw new KernelError(CONSTANTS.EROFS, path);
      return ramfs.openFile(bytes, flags);
    };
    return { kind: 'file', mode: 0o644, size: bytes.length, nlink: 1, open };
  }
}

/** The names on a path, with . and .. taken out. */
function normalize(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts;
}
