// The file layer of the guest kernel: everything below open(), read(), write() and close() of its tasks.
// Mirrors the work of fs/ at start; the guest's own part is asm/x86_64/fs.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction, HostGenerator } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import { type KernelCore, negErrno } from '../kernel/core.ts';
import { KernelError } from '../kernel/errno.ts';
import { KERN_DEFAULT } from '../kernel/printk.ts';
import { SlabError } from '../kernel/slab.ts';
import type { Sysfs } from '../kernel/sysfs.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { FormatContext } from '../kernel/vsprintf.ts';
import { FsContext, latin1Bytes } from './context.ts';
import { DebugFs } from './debugfs.ts';
import { DebugfsCreate } from './debugfs_create.ts';
import { FdTables } from './fdtable.ts';
import { HostFiles } from './host_files.ts';
import { Kernfs } from './kernfs.ts';
import { type Device, Namei, type Target } from './namei.ts';
import { makeProcFiles, type ProcTexts } from './proc_files.ts';
import { ProcPid, type TaskTexts } from './proc_pid.ts';
import { ProcTree } from './proc_tree.ts';
import { Ramfs, Terminal } from './ramfs.ts';
import { SeqFiles } from './seq_file.ts';
import { SimpleAttrs } from './simple_attr.ts';
import { Sysctls } from './sysctl.ts';

export interface FileSystemOptions {
  readonly sysfs: Sysfs;
  /** /proc/cmdline */
  readonly commandLine: string;
  /** What /proc shows that other subsystems know. They may be filled in later: they are asked at each read. */
  readonly texts?: ProcTexts & TaskTexts;
}

/** Longest path, with its NUL. */
const PATH_MAX = 4096;

export class FileSystem {
  readonly proc: ProcTree;
  readonly sysctls: Sysctls;
  readonly ramfs: Ramfs;
  readonly terminal: Terminal;
  readonly seq: SeqFiles;
  readonly files: FdTables;
  readonly debugfs = new DebugFs();
  readonly #devices = new Map<string, Device>();
  readonly #fs: FsContext;
  readonly #namei: Namei;

  /** Defines all host functions of asm/x86_64/fs and makes the kernel's own entries. Image symbols must be there. */
  constructor(core: KernelCore, format: FormatContext, options: FileSystemOptions) {
    const fs = new FsContext(core, format);
    const texts = options.texts ?? {};
    this.#fs = fs;
    this.seq = new SeqFiles(fs);
    this.files = new FdTables(fs);
    this.proc = new ProcTree(fs);
    this.sysctls = new Sysctls(fs);
    this.ramfs = new Ramfs(fs);
    this.terminal = new Terminal(fs);
    this.#namei = new Namei(fs, {
      proc: this.proc,
      pid: new ProcPid(fs, this.seq, texts),
      sysctls: this.sysctls,
      sysfs: options.sysfs,
      kernfs: new Kernfs(fs, this.seq),
      ramfs: this.ramfs,
      terminal: this.terminal,
      debugfs: this.debugfs,
      hostFiles: new HostFiles(fs),
      devices: this.#devices,
    });
    this.addDevice('/dev/null', { mode: 0o666, fop: 'null_fops' });
    this.addDevice('/dev/kmsg', { mode: 0o644, fop: 'kmsg_fops', write: (text) => devkmsgWrite(core, text) });
    new DebugfsCreate(fs, this.debugfs);
    new SimpleAttrs(fs);
    core.host.defineAll(this.#hostFunctions());
    makeProcFiles(fs, this, texts, options.commandLine);
  }

  addDevice(path: string, device: Device): void {
    this.#devices.set(path, device);
  }

  /** A file of bytes, or of a text. */
  addFile(path: string, content: Uint8Array | string): void {
    this.ramfs.add(path, typeof content === 'string' ? latin1Bytes(content) : content);
  }

  /** What is at a path; undefined for nothing. */
  stat(path: string): Omit<Target, 'open'> | undefined {
    return this.#namei.lookup(path);
  }

  /** The same of a symbolic link itself. */
  lstat(path: string): Omit<Target, 'open'> | undefined {
    return this.#namei.lookup(path, undefined, false);
  }

  /** What a symbolic link says; undefined where there is none. */
  readlink(path: string): string | undefined {
    return this.#namei.readlink(path);
  }

  /** Names in a directory, as ls shows them; undefined where there is none. */
  list(path: string): string[] | undefined {
    return this.#namei.list(path);
  }

  /** A file of debugfs whose functions are guest code's. @param fop name of its file_operations */
  guestFile(fop: string, mode: number): { readonly mode: number; open(flags: number): Addr } {
    return { mode, open: (flags) => this.#fs.allocFile(fop, flags, UAPI.S_IFREG | mode) };
  }

  /** nonseekable_open() */
  makeNonseekable(file: Addr): void {
    const { FMODE_LSEEK, FMODE_PREAD, FMODE_PWRITE } = this.#fs.constants;
    this.#fs.clearMode(file, FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE);
  }

  /** copy_to_user() of a latin1 text. @returns bytes that were written */
  copyToUser(user: Addr, text: string): number {
    const size = text.length - this.#fs.faultIn(user, text.length, true);
    this.#fs.mem.writeBytes(user, latin1Bytes(text.slice(0, size)));
    return size;
  }

  /** A table of descriptors for a task that has none, with standard input, output and error open. */
  setupStdio(task: TaskStruct): void {
    this.files.create(task);
    const streams = ['stdin', 'stdout', 'stderr'] as const;
    for (const [fd, stream] of streams.entries()) {
      const file = this.terminal.openFile(stream, UAPI.O_RDWR);
      // As do_dentry_open() leaves it.
      const { FMODE_OPENED, FMODE_CAN_READ, FMODE_CAN_WRITE } = this.#fs.constants;
      this.#fs.setMode(file, FMODE_OPENED | FMODE_CAN_READ | FMODE_CAN_WRITE);
      this.files.install(task, fd, file);
    }
  }

  /** Of a new task, from its parent's: shared (CLONE_FILES) or copied. */
  copyFiles(parent: TaskStruct, child: TaskStruct, share = false): void {
    this.files.copy(parent, child, share);
  }

  /** Closes what an exiting task has open. Runs release functions in the calling task. */
  *exitFiles(task: TaskStruct): HostGenerator<void> {
    yield* this.files.exit(task);
  }

  /** All bytes of the file at a descriptor, or -errno: kernel_read_file_from_fd(). */
  bytesOfFd(task: TaskStruct, fd: number): Uint8Array | number {
    const file = this.files.file(task, fd);
    if (file === undefined) return -UAPI.EBADF;
    return this.ramfs.bytesOf(file) ?? -UAPI.EINVAL;
  }

  /** An open file that stands for something else, at the lowest free descriptor. @returns it, or -errno. */
  openHandle(task: TaskStruct, end: (file: Addr) => HostGenerator<void>): number {
    for (let fd = 0; fd < this.#fs.constants.NR_OPEN_DEFAULT; fd++) {
      if (this.files.file(task, fd) !== undefined) continue;
      const file = orErrno(() => this.#fs.allocFile('null_fops', UAPI.O_RDWR, UAPI.S_IFREG, { end }));
      if (file === negErrno(UAPI.ENOMEM)) return -UAPI.ENOMEM;
      this.files.install(task, fd, file);
      return fd;
    }
    return -UAPI.EMFILE;
  }

  #hostFunctions(): Record<string, HostFunction> {
    const fs = this.#fs;
    const { core, mem } = fs;
    const { files } = this;
    const { filename, open_how } = core.kernel.structs;
    return {
      fault_in_writeable: ({ args }) => fs.faultIn(args[0], Number(args[1]), true),
      fault_in_readable: ({ args }) => fs.faultIn(args[0], Number(args[1]), false),
      *exit_files({ args }): HostGenerator {
        const task = core.tasks.byAddr(args[0]);
        if (task) yield* files.exit(task);
      },
      file_free: ({ args }) => fs.freeFile(args[0]),
      getname: ({ args }) => orErrno(() => this.#getname(args[0])),
      putname: ({ args }) => core.slab.free(args[0]),
      path_openat: (call) =>
        orErrno(() => {
          const name = mem.readCString(mem.readU64(call.args[1] + BigInt(filename.fields.name)), PATH_MAX);
          const flags = Number(mem.readU64(call.args[2] + BigInt(open_how.fields.flags)) & 0xffffffffn);
          return this.#namei.openPath(name, flags, core.currentOf(call));
        }),
    };
  }

  /** getname(): the user's path, copied. */
  #getname(user: Addr): Addr {
    const { mem, core } = this.#fs;
    if (this.#fs.faultIn(user, 1, false) > 0) throw new KernelError(UAPI.EFAULT, 'path');
    const path = mem.readCString(user, PATH_MAX);
    if (path.length === PATH_MAX) throw new KernelError(UAPI.ENAMETOOLONG, 'path');
    if (path === '') throw new KernelError(UAPI.ENOENT, 'path');
    const { size, fields } = core.kernel.structs.filename;
    const name = core.slab.alloc(size + path.length + 1, 'filename');
    const text = name + BigInt(fields.iname);
    mem.writeU64(name + BigInt(fields.name), text);
    mem.writeBytes(text, latin1Bytes(`${path}\0`));
    return name;
  }
}

/** What the work gives, or the error pointer of the error that it met. */
function orErrno(work: () => Addr): Addr {
  try {
    return work();
  } catch (error) {
    if (error instanceof KernelError) return negErrno(error.errno);
    if (error instanceof GuestMemoryError) return negErrno(UAPI.EFAULT);
    if (error instanceof SlabError && error.code === 'ENOMEM') return negErrno(UAPI.ENOMEM);
    throw error;
  }
}

const LOG_USER = 1;

/** devkmsg_write(): a record of its own, with the level and the facility that a `<N>` in front asks for; never the kernel's. */
function devkmsgWrite(core: KernelCore, text: string): number {
  const prefix = /^<(\d+)>/.exec(text);
  const asked = prefix ? Number(prefix[1]) : KERN_DEFAULT;
  core.printk.log(asked & 7, text.slice(prefix?.[0].length ?? 0), asked >> 3 || LOG_USER);
  return text.length;
}
