// From a path to something that can be opened. Mirrors fs/namei.c, and the mounts of a small system:
// /proc, /sys with debugfs in it, /dev, and files of bytes everywhere else.

import type { Addr } from '../guest/addr.ts';
import { KernelError } from '../kernel/errno.ts';
import type { Sysfs, SysfsLink } from '../kernel/sysfs.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { FsContext } from './context.ts';
import type { DebugFs } from './debugfs.ts';
import type { HostFile, HostFiles } from './host_files.ts';
import type { Kernfs } from './kernfs.ts';
import type { ProcPid } from './proc_pid.ts';
import type { ProcDirEntry, ProcTree } from './proc_tree.ts';
import type { Ramfs, StreamName, Terminal } from './ramfs.ts';
import type { Sysctls } from './sysctl.ts';

/** What stat() says of a path, and how it is opened. */
export interface Target {
  readonly kind: 'file' | 'directory' | 'device' | 'link';
  /** Permission bits. */
  readonly mode: number;
  /** Bytes. */
  readonly size: number;
  readonly nlink: number;
  /** A struct file that is not open yet. @param flags of open() */
  open(flags: number): Addr;
}

interface Mounts {
  readonly proc: ProcTree;
  readonly pid: ProcPid;
  readonly sysctls: Sysctls;
  readonly sysfs: Sysfs;
  readonly kernfs: Kernfs;
  readonly ramfs: Ramfs;
  readonly terminal: Terminal;
  readonly debugfs: DebugFs;
  readonly hostFiles: HostFiles;
  /** Devices besides the terminal, by their paths. */
  readonly devices: ReadonlyMap<string, Device>;
}

export interface Device extends HostFile {
  /** Name of its file_operations. */
  readonly fop: string;
}

/** Where debugfs is mounted, below /sys. */
const DEBUGFS = '/kernel/debug';
/** tracefs, which debugfs has as its directory tracing, too. */
const TRACEFS = '/kernel/tracing';

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
    if (path === '') throw new KernelError(UAPI.ENOENT, path);
    const target = this.lookup(path, task);
    if (!target) return this.#create(path, flags, task);
    if (target.kind === 'directory' && (flags & UAPI.O_ACCMODE) !== UAPI.O_RDONLY) {
      throw new KernelError(UAPI.EISDIR, path);
    }
    if (target.kind !== 'directory' && (flags & UAPI.O_DIRECTORY || path.endsWith('/'))) {
      throw new KernelError(UAPI.ENOTDIR, path);
    }
    return target.open(flags);
  }

  /**
   * The target of a path, relative ones taken from /; undefined for none.
   * @param task for /proc/self
   * @param follow a symbolic link that the path ends in
   */
  lookup(path: string, task?: TaskStruct, follow = true, followed = 0): Target | undefined {
    const parts = this.#normalize(path);
    const through = this.#throughProcLink(parts, follow || path.endsWith('/'));
    if (through !== undefined)
      return followed < MAXSYMLINKS ? this.lookup(through, task, follow, followed + 1) : eloop(path);
    if (!follow && !path.endsWith('/')) {
      const link = this.#link(parts);
      const text = parts[0] === 'proc' ? this.#procLink(parts.slice(1)) : undefined;
      if (text !== undefined)
        return { kind: 'link', mode: 0o777, size: text.length, nlink: 1, open: () => eloop(path) };
      if (link) return { kind: 'link', mode: link.mode, size: 0, nlink: 1, open: () => eloop(path) };
    }
    if (parts[0] === 'proc') return this.#proc(parts.slice(1), task);
    if (parts[0] === 'sys') return this.#sys(`/${parts.slice(1).join('/')}`);
    return this.#other(`/${parts.join('/')}`);
  }

  /** Names in a directory, in the order of ls; undefined where there is none. */
  list(path: string): string[] | undefined {
    if (this.lookup(path)?.kind !== 'directory') return undefined;
    const parts = this.#normalize(path);
    const through = this.#throughProcLink(parts, true);
    if (through !== undefined) return this.list(through);
    const names = new Set(this.#names(parts));
    if (parts.length === 0) for (const mount of ['proc', 'sys', 'dev']) names.add(mount);
    return [...names].sort();
  }

  #names([first, ...rest]: readonly string[]): readonly string[] {
    const { proc, pid, sysctls, sysfs, debugfs, ramfs, devices } = this.#mounts;
    const below = rest.join('/');
    if (first === 'proc') {
      if (/^[1-9]\d*$/.test(rest[0] ?? '')) return pid.names();
      if (rest[0] === 'sys') return sysctls.names(rest.slice(1).join('/'));
      const own = [...(proc.lookup(below)?.children?.keys() ?? [])];
      const pids = [...this.#fs.core.tasks.processes()].map((task) => String(task.pid));
      return below === '' ? [...own, 'sys', ...pids] : own;
    }
    if (first === 'sys') {
      const debug = underDebugfs(`/${below}`);
      if (debug !== undefined) return debugfs.names(debug);
      const node = sysfs.lookup(`/${below}`);
      const own = node?.kind === 'directory' ? node.entries().map((entry) => entry.name) : [];
      return below === 'kernel' ? [...own, 'debug', 'tracing'] : own;
    }
    const dir = `/${[first, ...rest].filter(Boolean).join('/')}`;
    const nodes = [...Object.keys(DEVICES), ...devices.keys()].map((path) => path.slice('/dev/'.length));
    return dir === '/dev' ? nodes : ramfs.names(dir);
  }

  /** A path that leads nowhere, opened: a new file where O_CREAT asks for one and there can be one. */
  #create(path: string, flags: number, task: TaskStruct | undefined): Addr {
    const parts = this.#normalize(path);
    for (let i = 1; i < parts.length; i++) {
      const found = this.lookup(parts.slice(0, i).join('/'), task);
      if (found && found.kind !== 'directory') throw new KernelError(UAPI.ENOTDIR, path);
      if (!found) throw new KernelError(UAPI.ENOENT, path);
    }
    if (!(flags & UAPI.O_CREAT)) throw new KernelError(UAPI.ENOENT, path);
    // proc_root_inode_operations and sysfs have no create(): ENOENT and EACCES.
    if (parts[0] === 'proc') throw new KernelError(UAPI.ENOENT, path);
    if (parts[0] === 'sys') throw new KernelError(UAPI.EACCES, path);
    if (path.endsWith('/')) throw new KernelError(UAPI.EISDIR, path);
    const { ramfs } = this.#mounts;
    return ramfs.openFile(ramfs.add(`/${parts.join('/')}`, new Uint8Array()), flags);
  }

  /** What a symbolic link says; undefined where there is none. */
  readlink(path: string): string | undefined {
    if (path.endsWith('/')) return undefined;
    const parts = this.#normalize(path);
    return parts[0] === 'proc' ? this.#procLink(parts.slice(1)) : this.#link(parts)?.text;
  }

  /** The path with the first link of /proc on it replaced by what it says; undefined where there is none. */
  #throughProcLink([first, ...rest]: readonly string[], isLastFollowed: boolean): string | undefined {
    if (first !== 'proc') return undefined;
    for (let i = 1; i <= rest.length; i++) {
      const text = this.#procLink(rest.slice(0, i));
      if (text === undefined || (i === rest.length && !isLastFollowed)) continue;
      const from = text.startsWith('/') ? '' : `/proc/${rest.slice(0, i - 1).join('/')}/`;
      return [`${from}${text}`, ...rest.slice(i)].join('/');
    }
    return undefined;
  }

  #procLink(parts: readonly string[]): string | undefined {
    const entry = this.#mounts.proc.lookup(parts.join('/'));
    return entry && this.#mounts.proc.linkOf(entry);
  }

  #link([first, ...rest]: readonly string[]): SysfsLink | undefined {
    const node = first === 'sys' ? this.#mounts.sysfs.lookup(`/${rest.join('/')}`, 'itself') : undefined;
    return node?.kind === 'link' ? node : undefined;
  }

  /** The names on a path, with . and .. taken out: .. of what a link leads to. */
  #normalize(path: string): string[] {
    let parts: string[] = [];
    for (const part of path.split('/')) {
      if (part === '..') {
        const link = this.#link(parts);
        if (link) parts = ['sys', ...link.target.path.split('/').filter(Boolean)];
        parts.pop();
      } else if (part !== '' && part !== '.') parts.push(part);
    }
    return parts;
  }

  #directory(mode = 0o555, nlink = 2): Target {
    const open = (flags: number): Addr =>
      this.#fs.allocFile('simple_dir_operations', flags, UAPI.S_IFDIR | mode);
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
    const mode = mem.readU16(entry.addr + BigInt(this.#fs.pde.mode)) & 0o7777;
    const nlink = mem.readU32(entry.addr + BigInt(this.#fs.pde.nlink));
    if (entry.children) return this.#directory(mode, nlink);
    const size = Number(mem.readU64(entry.addr + BigInt(this.#fs.pde.size)));
    return { kind: 'file', mode, size, nlink, open: (flags) => this.#openEntry(entry, mode, size, flags) };
  }

  #openEntry(entry: ProcDirEntry, mode: number, size: number, flags: number): Addr {
    const { mem } = this.#fs;
    const { proc } = this.#mounts;
    const iter =
      mem.readU8(entry.addr + BigInt(this.#fs.pde.flags)) & this.#fs.constants.PROC_ENTRY_proc_read_iter;
    const fop = iter ? 'proc_iter_file_ops' : 'proc_reg_file_ops';
    const end = (): void => proc.put(entry);
    const file = this.#fs.allocFile(fop, flags, UAPI.S_IFREG | mode, { size, end });
    proc.get(entry);
    const inode = this.#fs.inodeOf(file);
    mem.writeU64(inode + BigInt(this.#fs.procInode.pde - this.#fs.procInode.vfs_inode), entry.addr);
    mem.writeU64(
      inode + BigInt(this.#fs.core.kernel.structs.inode.fields.i_private),
      mem.readU64(entry.addr + BigInt(this.#fs.pde.data)),
    );
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
      const write = (flags & UAPI.O_ACCMODE) !== UAPI.O_RDONLY;
      const read = (flags & UAPI.O_ACCMODE) !== UAPI.O_WRONLY;
      // sysctl_perm(): root has the owner's bits, and no more.
      const denied = (write && !(sysctl.mode & 0o200)) || (read && !(sysctl.mode & 0o400));
      if (denied) throw new KernelError(UAPI.EACCES, path);
      return sysctls.openFile(sysctl, flags);
    };
    return { kind: 'file', mode: sysctl.mode, size: 0, nlink: 1, open };
  }

  #sys(path: string): Target | undefined {
    const debug = underDebugfs(path);
    if (debug !== undefined) return this.#debugfs(debug);
    const node = this.#mounts.sysfs.lookup(path);
    if (!node) return undefined;
    if (node.kind === 'directory') return this.#directory(node.mode, node.nlink);
    const open = (flags: number): Addr => this.#mounts.kernfs.openFile(node, flags);
    return { kind: 'file', mode: node.mode, size: node.size, nlink: 1, open };
  }

  #debugfs(path: string): Target | undefined {
    const { debugfs, hostFiles } = this.#mounts;
    const file = debugfs.lookup(path);
    if (!file) return debugfs.isDirectory(path) ? this.#directory(debugDirectoryMode(path)) : undefined;
    const open = 'open' in file ? file.open : (flags: number): Addr => hostFiles.openFile(file, flags);
    return { kind: 'file', mode: file.mode, size: 0, nlink: 1, open };
  }

  #other(path: string): Target | undefined {
    const { ramfs } = this.#mounts;
    const device = this.#device(path);
    if (device) return device;
    const node = ramfs.lookup(path);
    if (!node) return ramfs.isDirectory(path) ? this.#directory(0o755) : undefined;
    return {
      kind: 'file',
      mode: 0o644,
      size: node.bytes.length,
      nlink: 1,
      open: (flags) => ramfs.openFile(node, flags),
    };
  }

  #device(path: string): Target | undefined {
    const { terminal, devices, hostFiles } = this.#mounts;
    const stream = DEVICES[path];
    const device = devices.get(path);
    const target = { kind: 'device', size: 0, nlink: 1 } as const;
    if (stream) return { ...target, mode: 0o620, open: (flags) => terminal.openFile(stream, flags) };
    if (!device) return undefined;
    const open = (flags: number): Addr => hostFiles.openFile(device, flags, device.fop, S_IFCHR);
    return { ...target, mode: device.mode, open };
  }
}

const S_IFCHR = 0o020000;

/** The path below debugfs's mount point of a path below /sys; undefined for one that is not there. */
function underDebugfs(path: string): string | undefined {
  if (path === DEBUGFS) return '';
  if (path === TRACEFS || path.startsWith(`${TRACEFS}/`)) return path.slice('/kernel/'.length);
  return path.startsWith(`${DEBUGFS}/`) ? path.slice(DEBUGFS.length + 1) : undefined;
}

/** What is mounted is root's alone; TRACEFS_DEFAULT_MODE. */
function debugDirectoryMode(path: string): number {
  if (path === '' || path === 'tracing') return 0o700;
  return path.startsWith('tracing/') ? 0o750 : 0o755;
}

/** open() of a link itself. */
/** include/linux/namei.h */
const MAXSYMLINKS = 40;

function eloop(path: string): never {
  throw new KernelError(UAPI.ELOOP, path);
}
