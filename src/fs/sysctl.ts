// /proc/sys: values of the kernel as files. Mirrors fs/proc/proc_sysctl.c and kernel/sysctl.c.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import { keptFor, PAGE_SIZE } from '../guest/memory.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FsContext, latin1Bytes, latin1Text } from './context.ts';
import { namesBelow } from './debugfs.ts';
import { readIter, writeIter } from './iov_iter.ts';

interface Sysctl {
  /** Permission bits. Even root is held to those of the owner. */
  readonly mode: number;
  /** The value without the newline, or -errno. */
  read(): string | number;
  /** How many bytes it took, or -errno. */
  write?(text: string): number | HostGenerator<number>;
}

export class Sysctls {
  readonly #fs: FsContext;
  readonly #kiocb: Structs['kiocb']['fields'];
  readonly #entries = new Map<string, Sysctl>();
  readonly #files = new Map<Addr, Sysctl>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#kiocb = fs.core.kernel.structs.kiocb.fields;
    const self = this;
    fs.core.host.define('proc_sys_call_handler', function* ({ args }): HostGenerator {
      return yield* self.#handle(args[0], args[1], args[2] !== 0n);
    });
  }

  /** @param path below /proc/sys: `kernel/tainted`. */
  add(path: string, sysctl: Sysctl): void {
    this.#entries.set(path, sysctl);
  }

  lookup(path: string): Sysctl | undefined {
    return this.#entries.get(path);
  }

  isDirectory(path: string): boolean {
    if (path === '') return true;
    for (const name of this.#entries.keys()) if (name.startsWith(`${path}/`)) return true;
    return false;
  }

  /** Names in a directory. */
  names(path: string): string[] {
    return namesBelow(this.#entries.keys(), path === '' ? '' : `${path}/`);
  }

  openFile(sysctl: Sysctl, flags: number): Addr {
    const file = this.#fs.allocFile('proc_sys_file_operations', flags, UAPI.S_IFREG | sysctl.mode, {
      end: (f) => this.#files.delete(f),
    });
    this.#files.set(file, sysctl);
    return file;
  }

  /** proc_sys_call_handler(iocb, iter, write) */
  *#handle(iocb: Addr, iter: Addr, write: boolean): HostGenerator {
    const { mem } = this.#fs;
    const sysctl = keptFor(this.#files, mem.readU64(iocb + BigInt(this.#kiocb.ki_filp)));
    const position = iocb + BigInt(this.#kiocb.ki_pos);
    if (write) {
      const bytes = readIter(this.#fs, iter, PAGE_SIZE);
      if (!bytes) return negErrno(UAPI.EFAULT);
      // SYSCTL_WRITES_STRICT: the first write is the whole value, what comes behind it is taken and ignored.
      const first = mem.readU64(position) === 0n && bytes.length > 0;
      const result = first ? (sysctl.write?.(latin1Text(bytes)) ?? -UAPI.EPERM) : bytes.length;
      const taken = typeof result === 'number' ? result : yield* result;
      if (taken < 0) return negErrno(-taken);
      mem.writeU64(position, mem.readU64(position) + BigInt(taken));
      return taken;
    }
    // proc_dointvec(): the whole value in the first read, the end of the file in the next.
    if (mem.readU64(position) !== 0n) return 0;
    const value = sysctl.read();
    if (typeof value === 'number') return negErrno(-value);
    const copied = writeIter(this.#fs, iter, latin1Bytes(`${value}\n`));
    if (copied === 0) return negErrno(UAPI.EFAULT);
    mem.writeU64(position, BigInt(copied));
    return copied;
  }
}
