// Files of plain bytes: modules to load, /tmp. And the terminal, which keeps what tasks write.

import type { Addr } from '../guest/addr.ts';
import { keptFor } from '../guest/memory.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FsContext, latin1Text } from './context.ts';
import { namesBelow } from './debugfs.ts';
import { readIter, writeIter } from './iov_iter.ts';

/** Characters kept at least of one stream of one process; what is older goes. */
const OUTPUT_MAX = 8 << 20;

/** Bytes that one file may have. */
const FILE_MAX = 16 << 20;

/** A regular file. */
interface RamfsNode {
  bytes: Uint8Array;
}

export class Ramfs {
  readonly #fs: FsContext;
  readonly #kiocb: Structs['kiocb']['fields'];
  readonly #flagsAt: bigint;
  readonly #files = new Map<string, RamfsNode>();
  readonly #directories = new Set<string>(['/', '/dev', '/tmp']);
  readonly #open = new Map<Addr, RamfsNode>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#kiocb = fs.core.kernel.structs.kiocb.fields;
    this.#flagsAt = BigInt(fs.core.kernel.structs.file.fields.f_flags);
    fs.core.host.defineAll({
      generic_file_read_iter: ({ args }) => this.#read(args[0], args[1]),
      generic_file_write_iter: ({ args }) => this.#write(args[0], args[1]),
    });
  }

  /** @param path absolute: `/lib/modules/x.ko`. An earlier file of that name is replaced for later opens. */
  add(path: string, bytes: Uint8Array): RamfsNode {
    const node = { bytes };
    this.#files.set(path, node);
    return node;
  }

  lookup(path: string): RamfsNode | undefined {
    return this.#files.get(path);
  }

  /** @returns whether there was one. */
  remove(path: string): boolean {
    return this.#files.delete(path) || this.#directories.delete(path);
  }

  mkdir(path: string): void {
    this.#directories.add(path);
  }

  isDirectory(path: string): boolean {
    if (this.#directories.has(path)) return true;
    const prefix = `${path}/`;
    for (const name of this.#files.keys()) if (name.startsWith(prefix)) return true;
    for (const name of this.#directories) if (name.startsWith(prefix)) return true;
    return false;
  }

  /** Names in a directory. */
  names(path: string): string[] {
    return namesBelow([...this.#files.keys(), ...this.#directories], path === '/' ? '/' : `${path}/`);
  }

  openFile(node: RamfsNode, flags: number): Addr {
    const cut = (flags & UAPI.O_TRUNC) !== 0;
    const file = this.#fs.allocFile('ramfs_file_operations', flags, UAPI.S_IFREG | 0o644, {
      size: cut ? 0 : node.bytes.length,
      end: (f) => this.#open.delete(f),
    });
    if (cut) node.bytes = new Uint8Array();
    this.#open.set(file, node);
    return file;
  }

  /** Bytes of an open file, for a system call that wants them whole (finit_module). */
  bytesOf(file: Addr): Uint8Array | undefined {
    return this.#open.get(file)?.bytes;
  }

  #read(iocb: Addr, iter: Addr): bigint | number {
    const { mem } = this.#fs;
    const position = iocb + BigInt(this.#kiocb.ki_pos);
    const { bytes } = keptFor(this.#open, mem.readU64(iocb + BigInt(this.#kiocb.ki_filp)));
    const from = Number(mem.readU64(position));
    if (from >= bytes.length) return 0;
    const copied = writeIter(this.#fs, iter, bytes.subarray(from));
    if (copied === 0) return negErrno(UAPI.EFAULT);
    mem.writeU64(position, BigInt(from + copied));
    return copied;
  }

  #write(iocb: Addr, iter: Addr): bigint | number {
    const { mem } = this.#fs;
    const position = iocb + BigInt(this.#kiocb.ki_pos);
    const file = mem.readU64(iocb + BigInt(this.#kiocb.ki_filp));
    const node = keptFor(this.#open, file);
    const append = (mem.readU32(file + this.#flagsAt) & UAPI.O_APPEND) !== 0;
    const from = append ? node.bytes.length : Number(mem.readU64(position));
    if (from >= FILE_MAX) return negErrno(UAPI.EFBIG);
    const written = readIter(this.#fs, iter, FILE_MAX - from);
    if (!written) return negErrno(UAPI.EFAULT);
    const bytes = new Uint8Array(Math.max(node.bytes.length, from + written.length));
    bytes.set(node.bytes);
    bytes.set(written, from);
    node.bytes = bytes;
    mem.writeU64(position, BigInt(from + written.length));
    return written.length;
  }
}

export type StreamName = 'stdin' | 'stdout' | 'stderr';

/** What a task wrote to its terminal, by process: threads share it. */
interface TaskOutput {
  stdout: string;
  stderr: string;
}

export class Terminal {
  /** Called with each write, before it is kept. */
  onOutput: ((pid: number, comm: string, stream: 'stdout' | 'stderr', text: string) => void) | undefined;
  readonly #fs: FsContext;
  readonly #kiocb: Structs['kiocb']['fields'];
  readonly #streams = new Map<Addr, StreamName>();
  readonly #output = new Map<number, TaskOutput>();
  readonly #input = new Map<number, Uint8Array>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#kiocb = fs.core.kernel.structs.kiocb.fields;
    fs.core.host.defineAll({
      tty_read: (call) => this.#read(fs.core.currentOf(call).tgid, call.args[1]),
      tty_write: (call) => {
        const bytes = readIter(fs, call.args[1], 1 << 16);
        if (!bytes) return negErrno(UAPI.EFAULT);
        const file = fs.mem.readU64(call.args[0] + BigInt(this.#kiocb.ki_filp));
        const task = fs.core.currentOf(call);
        this.#keep(task.tgid, task.comm, this.#streams.get(file) ?? 'stdout', latin1Text(bytes));
        return bytes.length;
      },
    });
  }

  openFile(stream: StreamName, flags: number): Addr {
    const file = this.#fs.allocFile('tty_fops', flags, 0o20620, { end: (f) => this.#streams.delete(f) });
    this.#fs.clearMode(
      file,
      this.#fs.constants.FMODE_LSEEK | this.#fs.constants.FMODE_PREAD | this.#fs.constants.FMODE_PWRITE,
    );
    this.#streams.set(file, stream);
    return file;
  }

  /** What a process wrote; kept after its end. */
  outputOf(pid: number): Readonly<TaskOutput> {
    return this.#output.get(pid) ?? { stdout: '', stderr: '' };
  }

  /** What a process reads from its standard input; then comes the end, as it does where nobody types. */
  type(pid: number, bytes: Uint8Array): void {
    this.#input.set(pid, bytes);
  }

  /** Keeps nothing of a process any more. */
  forget(pid: number): void {
    this.#output.delete(pid);
    this.#input.delete(pid);
  }

  #read(pid: number, iter: Addr): bigint | number {
    const bytes = this.#input.get(pid);
    if (!bytes || bytes.length === 0) return 0;
    const copied = writeIter(this.#fs, iter, bytes);
    if (copied === 0) return negErrno(UAPI.EFAULT);
    this.#input.set(pid, bytes.subarray(copied));
    return copied;
  }

  #keep(pid: number, comm: string, stream: StreamName, text: string): void {
    const name = stream === 'stderr' ? 'stderr' : 'stdout';
    this.onOutput?.(pid, comm, name, text);
    let output = this.#output.get(pid);
    if (!output) {
      output = { stdout: '', stderr: '' };
      this.#output.set(pid, output);
    }
    const all = output[name] + text;
    // Cut seldom: each cut copies what is kept.
    output[name] = all.length > 2 * OUTPUT_MAX ? all.slice(-OUTPUT_MAX) : all;
  }
}
