// The writers of a seq_file, and its opening. Mirrors fs/seq_file.c; reading is asm/x86_64/fs/seq_file.s.
//
// Invariant: what does not fit into the buffer is not written in part; count == size says that it was more.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction } from '../guest/hostcall.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { initWaitList } from '../kernel/mutex.ts';
import { UAPI } from '../kernel/uapi.ts';
import { vsprintfGuest } from '../kernel/vsprintf.ts';
import { type FsContext, latin1Bytes, latin1Text } from './context.ts';

/** No list of the guest's memory has more. */
const LIST_MAX = 1 << 22;

export class SeqFiles {
  readonly #fs: FsContext;
  readonly #seqFile: Structs['seq_file']['fields'];
  readonly #nextAt: bigint;
  readonly #privateDataAt: bigint;

  constructor(fs: FsContext) {
    this.#fs = fs;
    const { structs } = fs.core.kernel;
    this.#seqFile = structs.seq_file.fields;
    this.#nextAt = BigInt(structs.list_head.fields.next);
    this.#privateDataAt = BigInt(fs.core.kernel.structs.file.fields.private_data);
    fs.core.host.defineAll({ ...this.#opening(), ...this.#writers(), ...this.#lists() });
  }

  /**
   * seq_write() of a text, or of bytes, as a show function of TypeScript's uses it; without one, of what never fits.
   * False when it did not fit.
   */
  write(m: Addr, text: string | Uint8Array | undefined): boolean {
    const { mem } = this.#fs;
    const size = mem.readU64(m + BigInt(this.#seqFile.size));
    const count = mem.readU64(m + BigInt(this.#seqFile.count));
    const end = count + BigInt(text?.length ?? 0);
    if (text === undefined || end >= size) {
      mem.writeU64(m + BigInt(this.#seqFile.count), size);
      return false;
    }
    mem.writeBytes(
      mem.readU64(m + BigInt(this.#seqFile.buf)) + count,
      typeof text === 'string' ? latin1Bytes(text) : text,
    );
    mem.writeU64(m + BigInt(this.#seqFile.count), end);
    return true;
  }

  /** Of the buffer, in bytes. */
  size(m: Addr): number {
    return Number(this.#fs.mem.readU64(m + BigInt(this.#seqFile.size)));
  }

  /** seq_open(): 0 or -ENOMEM. */
  open(file: Addr, ops: Addr): bigint {
    const { mem, core } = this.#fs;
    const m = core.slab.tryAlloc(this.#fs.core.kernel.structs.seq_file.size, 'seq_file');
    if (m === 0n) return negErrno(UAPI.ENOMEM);
    initWaitList(core, m, this.#seqFile, 'lock_wait_list');
    mem.writeU64(m + BigInt(this.#seqFile.op), ops);
    mem.writeU64(m + BigInt(this.#seqFile.file), file);
    mem.writeU64(file + this.#privateDataAt, m);
    this.#fs.clearMode(file, this.#fs.constants.FMODE_PWRITE);
    return 0n;
  }

  /** __seq_open_private(): as open, with `size` bytes at m->private. Their address, or NULL. */
  openPrivate(file: Addr, ops: Addr, size: number): Addr {
    const { mem, core } = this.#fs;
    const data = core.slab.tryAlloc(size, 'seq_file private');
    if (data === 0n) return 0n;
    if (this.open(file, ops) !== 0n) {
      core.slab.free(data);
      return 0n;
    }
    mem.writeU64(mem.readU64(file + this.#privateDataAt) + BigInt(this.#seqFile.private), data);
    return data;
  }

  #opening(): Record<string, HostFunction> {
    const { core } = this.#fs;
    const sizeOf = (arg: bigint): number => Number(arg & 0xffffffffn);
    return {
      seq_open: ({ args }) => this.open(args[0], args[1]),
      __seq_open_private: ({ args }) => this.openPrivate(args[0], args[1], sizeOf(args[2])),
      seq_open_private: ({ args }) =>
        this.openPrivate(args[0], args[1], sizeOf(args[2])) === 0n ? negErrno(UAPI.ENOMEM) : 0,
      seq_buf_alloc: ({ args }) =>
        args[0] > BigInt(this.#fs.constants.MAX_RW_COUNT)
          ? 0
          : core.slab.tryAlloc(Number(args[0]), 'seq_file buffer'),
    };
  }

  #writers(): Record<string, HostFunction> {
    const { mem, format } = this.#fs;
    return {
      seq_printf: (call) => {
        this.write(call.args[0], vsprintfGuest(format, call.args[1], format.varargs.callArgs(mem, call, 2)));
      },
      seq_vprintf: ({ args }) => {
        this.write(args[0], vsprintfGuest(format, args[1], format.varargs.vaList(mem, args[2])));
      },
      seq_pad: ({ args }) => this.#pad(args[0], Number(args[1] & 0xffn)),
      seq_put_decimal_ull: ({ args }) => {
        this.write(args[0], this.#delimiter(args[1]) + args[2].toString());
      },
      seq_put_decimal_ll: ({ args }) => {
        this.write(args[0], this.#delimiter(args[1]) + BigInt.asIntN(64, args[2]).toString());
      },
      seq_put_decimal_ull_width: ({ args }) => {
        this.#number(args[0], this.#delimiter(args[1]), args[2].toString(), args[3], ' ');
      },
      seq_put_hex_ll: ({ args }) => {
        this.#number(args[0], this.#delimiter(args[1]), args[2].toString(16), args[3], '0');
      },
      seq_escape_mem: ({ args }) => {
        const escaped = mem.readCString(args[5]);
        const text = latin1Text(mem.view(args[1], Number(args[2])));
        this.write(args[0], escapeOctal(text, escaped));
      },
    };
  }

  /** A width is what the guest says it is: what does not fit is not made. */
  #number(m: Addr, delimiter: string, digits: string, width: bigint, fill: string): void {
    const room = Number(width & 0xffffffffn);
    this.write(m, this.#fits(m, room) ? delimiter + digits.padStart(room, fill) : undefined);
  }

  #fits(m: Addr, bytes: number): boolean {
    const size = this.#fs.core.mem.readU64(m + BigInt(this.#seqFile.size));
    return BigInt(bytes) <= size && bytes <= this.#fs.core.mem.geometry.heap;
  }

  #delimiter(addr: Addr): string {
    return addr === 0n ? '' : this.#fs.mem.readCString(addr);
  }

  /** seq_pad(): spaces up to pad_until, then a character. */
  #pad(m: Addr, c: number): void {
    const { mem } = this.#fs;
    const count = mem.readU64(m + BigInt(this.#seqFile.count));
    const room = Number(BigInt.asIntN(32, mem.readU64(m + BigInt(this.#seqFile.pad_until)) - count));
    if (room > 0 && !this.write(m, this.#fits(m, room) ? ' '.repeat(room) : undefined)) return;
    if (c !== 0) this.write(m, String.fromCharCode(c));
  }

  /** Records that are a list_head list: seq_list_start(head, pos), seq_list_next(v, head, ppos). */
  #lists(): Record<string, HostFunction> {
    const { mem } = this.#fs;
    const nextOf = (node: Addr): Addr => mem.readU64(node + this.#nextAt);
    const start = (head: Addr, pos: bigint): Addr => {
      let left = pos;
      let steps = 0;
      for (let node = nextOf(head); node !== head; node = nextOf(node)) {
        if (left-- === 0n) return node;
        if (++steps > LIST_MAX) throw new GuestMemoryError('a list without end', node);
      }
      return 0n;
    };
    return {
      seq_list_start: ({ args }) => start(args[0], args[1]),
      seq_list_start_head: ({ args }) => (args[1] === 0n ? args[0] : start(args[0], args[1] - 1n)),
      seq_list_next: ({ args }) => {
        const next = nextOf(args[0]);
        mem.writeU64(args[2], mem.readU64(args[2]) + 1n);
        return next === args[1] ? 0n : next;
      },
    };
  }
}

/** string_escape_mem() with ESCAPE_OCTAL of the characters in `only`. */
function escapeOctal(text: string, only: string): string {
  return [...text]
    .map((c) => (only.includes(c) ? `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}` : c))
    .join('');
}
