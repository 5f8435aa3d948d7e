// Files of plain bytes, read-only: modules to load, /etc. And the terminal, which keeps what tasks write.

import type { Addr } from '../guest/addr.ts';
import { negErrno } from '../kernel/core.ts';
import { CONSTANTS, LAYOUT } from '../kernel/layout.ts';
import { type FsContext, latin1Text } from './context.ts';
import { readIter, writeIter } from './iov_iter.ts';
import { FMODE } from './layout.ts';

const KIOCB = LAYOUT.kiocb.fields;
/** Characters kept at least of one stream of one process; what is older goes. */
const OUTPUT_MAX = 1 << 20;

export class Ramfs {
  readonly #fs: FsContext;
  readonly #files = new Map<string, Uint8Array>();
  readonly #open = new Map<Addr, Uint8Array>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    fs.core.host.define('generic_file_read_iter', ({ args }) => this.#read(args[0], args[1]));
  }

  /** @param path absolute: `/lib/modules/x.ko`. An earlier file of that name is replaced for later opens. */
  add(path: string, bytes: Uint8Array): void {
    this.#files.set(path, bytes);
  }

  lookup(path: string): Uint8Array | undefined {
    return this.#files.get(path);
  }

  isDirectory(path: string): boolean {
    const prefix = path === '/' ? '/' : `${path}/`;
    for (const name of this.#files.keys()) if (name.startsWith(prefix)) return true;
    return false;
  }

  openFile(bytes: Uint8Array, flags: number): Addr {
    const file = this.#fs.allocFile('ramfs_file_operations', flags, CONSTANTS.S_IFREG | 0o644, {
      size: bytes.length,
      end: (f) => this.#open.delete(f),
    });
    this.#open.set(file, bytes);
    return file;
  }

  /** Bytes of an open file, for a system call that wants them whole (finit_module). */
  bytesOf(file: Addr): Uint8Array | undefined {
    return this.#open.get(file);
  }

  #read(iocb: Addr, iter: Addr): bigint | number {
    const { mem } = this.#fs;
    const position = iocb + BigInt(KIOCB.ki_pos);
    const bytes = this.#open.get(mem.readU64(iocb + BigInt(KIOCB.ki_filp))) ?? new Uint8Array();
    const from = Number(mem.readU64(position));
    if (from >= bytes.length) return 0;
    const copied = writeIter(this.#fs, iter, bytes.subarray(from));
    if (copied === 0) return negErrno(CONSTANTS.EFAULT);
    mem.writeU64(position, BigInt(from + copied));
    return copied;
  }
}

export type StreamName = 'stdin' | 'stdout' | 'stderr';

/** What a task wrote to its terminal, by process: threads share it. */
export interface TaskOutput {
  stdout: string;
  stderr: string;
}

export class Terminal {
  /** Called with each write, before it is kept. */
  onOutput: ((pid: number, comm: string, stream: 'stdout' | 'stderr', text: string) => void) | undefined;
  readonly #fs: FsContext;
  readonly #streams = new Map<Addr, StreamName>();
  readonly #output = new Map<number, TaskOutput>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    fs.core.host.defineAll({
      // Nobody types: the end of the input.
      tty_read: () => 0,
      tty_write: (call) => {
        const bytes = readIter(fs, call.args[1], 1 << 16);
        if (!bytes) return negErrno(CONSTANTS.EFAULT);
        const file = fs.mem.readU64(call.args[0] + BigInt(KIOCB.ki_filp));
        const task = fs.core.currentOf(call);
        this.#keep(task.tgid, task.comm, this.#streams.get(file) ?? 'stdout', latin1Text(bytes));
        return bytes.length;
      },
    });
  }

  openFile(stream: StreamName, flags: number): Addr {
    const file = this.#fs.allocFile('tty_fops', flags, 0o20620, { end: (f) => this.#streams.delete(f) });
    this.#fs.clearMode(file, FMODE.LSEEK | FMODE.PREAD | FMODE.PWRITE);
    this.#streams.set(file, stream);
    return file;
  }

  /** What a process wrote; kept after its end. */
  outputOf(pid: number): Readonly<TaskOutput> {
    return this.#output.get(pid) ?? { stdout: '', stderr: '' };
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
