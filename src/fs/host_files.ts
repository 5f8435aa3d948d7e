// Files whose text is made when they are opened, and whose writes are taken whole: /dev/kmsg, /dev/null, debugfs.
// Guest code reads and writes them by the functions of asm/x86_64/fs/devices.s.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { keptFor, PAGE_SIZE } from '../guest/memory.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { UAPI } from '../kernel/uapi.ts';
import { type FsContext, latin1Bytes, latin1Text } from './context.ts';
import { readIter, writeIter } from './iov_iter.ts';

export interface HostFile {
  /** Permission bits. */
  readonly mode: number;
  /** The whole text; without it the file cannot be read. */
  read?(): string;
  /** One write() of at most a page: bytes taken, or -errno. */
  write?(text: string, call: HostCall): number | HostGenerator<number>;
}

/** A file that is another thing at each open(). */
export interface OpeningHostFile {
  /** Permission bits. */
  readonly mode: number;
  /** @param flags of open() @throws KernelError */
  opened(flags: number): Omit<HostFile, 'mode'> & {
    /** After the last close(). */
    release?(): HostGenerator<void>;
  };
}

interface Open {
  readonly spec: Omit<HostFile, 'mode'>;
  /** As it was at the first read. */
  bytes?: Uint8Array;
}

export class HostFiles {
  readonly #fs: FsContext;
  readonly #kiocb: Structs['kiocb']['fields'];
  readonly #open = new Map<Addr, Open>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#kiocb = fs.core.kernel.structs.kiocb.fields;
    const self = this;
    const read = ({ args }: HostCall): bigint | number => this.#read(args[0], args[1]);
    const write = function* (call: HostCall): HostGenerator {
      return yield* self.#write(call);
    };
    fs.core.host.defineAll({
      read_iter_null: () => 0,
      write_iter_null: ({ args }) => readIter(fs, args[1], fs.constants.MAX_RW_COUNT)?.length ?? 0,
      host_file_read_iter: read,
      host_file_write_iter: write,
      devkmsg_write: write,
    });
  }

  /** @param fop name of its file_operations. */
  openFile(
    host: HostFile | OpeningHostFile,
    flags: number,
    fop = 'host_file_operations',
    type: number = UAPI.S_IFREG,
  ): Addr {
    const spec = 'opened' in host ? host.opened(flags) : host;
    const release = 'release' in spec ? spec.release : undefined;
    const file = this.#fs.allocFile(fop, flags, type | host.mode, {
      end: (f) => {
        this.#open.delete(f);
        return release?.();
      },
    });
    this.#open.set(file, { spec });
    return file;
  }

  #at(iocb: Addr): Open {
    return keptFor(this.#open, this.#fs.mem.readU64(iocb + BigInt(this.#kiocb.ki_filp)));
  }

  #read(iocb: Addr, iter: Addr): bigint | number {
    const { mem } = this.#fs;
    const open = this.#at(iocb);
    if (!open.spec.read) return negErrno(UAPI.EINVAL);
    open.bytes ??= latin1Bytes(open.spec.read());
    const position = iocb + BigInt(this.#kiocb.ki_pos);
    const from = Number(mem.readU64(position));
    if (from >= open.bytes.length) return 0;
    const copied = writeIter(this.#fs, iter, open.bytes.subarray(from));
    if (copied === 0) return negErrno(UAPI.EFAULT);
    mem.writeU64(position, BigInt(from + copied));
    return copied;
  }

  *#write(call: HostCall): HostGenerator<bigint | number> {
    const { spec } = this.#at(call.args[0]);
    if (!spec.write) return negErrno(UAPI.EINVAL);
    const bytes = readIter(this.#fs, call.args[1], PAGE_SIZE);
    if (!bytes) return negErrno(UAPI.EFAULT);
    const result = spec.write(latin1Text(bytes), call);
    const taken = typeof result === 'number' ? result : yield* result;
    return taken < 0 ? negErrno(-taken) : taken;
  }
}
