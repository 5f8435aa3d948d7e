// Small files made of a getter and a setter, and buffers as files. Mirrors fs/libfs.c: simple_attr_open() and its
// companions, simple_read_from_buffer(), simple_write_to_buffer().

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { negErrno } from '../kernel/core.ts';
import { kstrtoll, kstrtoull } from '../kernel/lib.ts';
import { UAPI } from '../kernel/uapi.ts';
import { vsprintfGuest } from '../kernel/vsprintf.ts';
import { type FsContext, latin1Bytes, latin1Text } from './context.ts';

const { EACCES, EFAULT, EINVAL } = UAPI;
/** set_buf[] of struct simple_attr, without the NUL. */
const SET_BUF = 23;

interface SimpleAttr {
  readonly get: Addr;
  readonly set: Addr;
  readonly data: Addr;
  readonly format: Addr;
  /** What private_data points at: where the getter puts its value. */
  readonly value: Addr;
  text?: Uint8Array;
}

export class SimpleAttrs {
  readonly #fs: FsContext;
  readonly #privateDataAt: bigint;
  readonly #open = new Map<Addr, SimpleAttr>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#privateDataAt = BigInt(fs.core.kernel.structs.file.fields.private_data);
    const self = this;
    const read = function* (call: HostCall): HostGenerator {
      return yield* self.#read(call);
    };
    const write = function* (call: HostCall): HostGenerator {
      return yield* self.#write(call);
    };
    fs.core.host.defineAll({
      simple_attr_open: (call) => this.#openAttr(call),
      simple_attr_read: read,
      debugfs_attr_read: read,
      simple_attr_write: write,
      debugfs_attr_write: write,
      simple_attr_release: ({ args }) => this.#release(args[1]),
      // (to, count, ppos, from, available)
      simple_read_from_buffer: ({ args }) =>
        this.#toUser(args[0], args[1], args[2], fs.mem.view(args[3], Number(args[4]))),
      // (to, available, ppos, from, count)
      simple_write_to_buffer: ({ args }) => this.#fromUser(args),
    });
  }

  /** (inode, file, get, set, format) */
  #openAttr({ args }: HostCall): number {
    const { mem, core } = this.#fs;
    const [inode, file, get, set, format] = args;
    const value = core.slab.tryAlloc(8, 'simple_attr');
    if (value === 0n) return Number(negErrno(UAPI.ENOMEM));
    const data = mem.readU64(inode + BigInt(this.#fs.core.kernel.structs.inode.fields.i_private));
    mem.writeU64(file + this.#privateDataAt, value);
    this.#open.set(file, { get, set, data, format, value });
    return 0;
  }

  #release(file: Addr): number {
    const attr = this.#open.get(file);
    if (attr) this.#fs.core.slab.free(attr.value);
    this.#open.delete(file);
    return 0;
  }

  /** (file, user buffer, size, ppos) */
  *#read({ args }: HostCall): HostGenerator {
    const { mem, format } = this.#fs;
    const attr = this.#open.get(args[0]);
    if (!attr || attr.get === 0n) return negErrno(EACCES);
    if (!attr.text || mem.readU64(args[3]) === 0n) {
      const err = BigInt.asIntN(32, yield { call: attr.get, args: [attr.data, attr.value] });
      if (err !== 0n) return err;
      attr.text = latin1Bytes(vsprintfGuest(format, attr.format, () => mem.readU64(attr.value)));
    }
    return this.#toUser(args[1], args[2], args[3], attr.text);
  }

  *#write({ args }: HostCall): HostGenerator {
    const attr = this.#open.get(args[0]);
    if (!attr || attr.set === 0n) return negErrno(EACCES);
    const size = Math.min(Number(args[2]), SET_BUF);
    if (this.#fs.faultIn(args[1], size, false) > 0) return negErrno(EFAULT);
    const text = latin1Text(this.#fs.mem.readBytes(args[1], size)).replace(/\0.*$/s, '');
    const value = text.startsWith('-') ? kstrtoll(text, 0) : kstrtoull(text, 0);
    if (typeof value === 'number') return negErrno(-value);
    const err = BigInt.asIntN(32, yield { call: attr.set, args: [attr.data, BigInt.asUintN(64, value)] });
    return err === 0n ? args[2] : err;
  }

  #toUser(to: Addr, count: bigint, ppos: Addr, bytes: Uint8Array): bigint | number {
    const { mem } = this.#fs;
    const position = BigInt.asIntN(64, mem.readU64(ppos));
    if (position < 0n) return negErrno(EINVAL);
    if (position >= BigInt(bytes.length) || count === 0n) return 0;
    const from = Number(position);
    const wanted = Math.min(Number(count), bytes.length - from);
    const size = wanted - this.#fs.faultIn(to, wanted, true);
    if (size <= 0) return negErrno(EFAULT);
    mem.writeBytes(to, bytes.slice(from, from + size));
    mem.writeU64(ppos, position + BigInt(size));
    return size;
  }

  #fromUser(args: readonly bigint[]): bigint | number {
    const { mem } = this.#fs;
    const [to, available, ppos, from, count] = args;
    const position = BigInt.asIntN(64, mem.readU64(ppos));
    if (position < 0n) return negErrno(EINVAL);
    if (position >= available || count === 0n) return 0;
    const wanted = Number(count < available - position ? count : available - position);
    const size = wanted - this.#fs.faultIn(from, wanted, false);
    if (size <= 0) return negErrno(EFAULT);
    mem.writeBytes(to + position, mem.readBytes(from, size));
    mem.writeU64(ppos, position + BigInt(size));
    return size;
  }
}
