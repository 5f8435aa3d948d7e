// An iov_iter over one user buffer (iovIter_UBUF), for host functions that read or fill it.
// Mirrors lib/iov_iter.c; guest code uses asm/x86_64/lib.s.

import type { Addr } from '../guest/addr.ts';
import type { FsContext } from './context.ts';

function at(fs: FsContext, iter: Addr): { addr: Addr; count: number } {
  const { mem } = fs;
  const iovIter = fs.core.kernel.structs.iov_iter.fields;
  const addr = mem.readU64(iter + BigInt(iovIter.ubuf)) + mem.readU64(iter + BigInt(iovIter.iov_offset));
  return { addr, count: Number(mem.readU64(iter + BigInt(iovIter.count))) };
}

function advance(fs: FsContext, iter: Addr, bytes: number): void {
  const { mem } = fs;
  const iovIter = fs.core.kernel.structs.iov_iter.fields;
  const [offset, count] = [iter + BigInt(iovIter.iov_offset), iter + BigInt(iovIter.count)];
  mem.writeU64(offset, mem.readU64(offset) + BigInt(bytes));
  mem.writeU64(count, mem.readU64(count) - BigInt(bytes));
}

/** Takes at most `max` bytes out of the user's buffer; undefined where it cannot be read (EFAULT). */
export function readIter(fs: FsContext, iter: Addr, max: number): Uint8Array | undefined {
  const { addr, count } = at(fs, iter);
  const size = Math.min(count, max);
  if (fs.faultIn(addr, size, false) > 0) return undefined;
  const bytes = fs.mem.readBytes(addr, size);
  advance(fs, iter, size);
  return bytes;
}

/** Puts bytes into the user's buffer, as many as fit and can be written. @returns how many. */
export function writeIter(fs: FsContext, iter: Addr, bytes: Uint8Array): number {
  const { addr, count } = at(fs, iter);
  const wanted = Math.min(count, bytes.length);
  const size = wanted - fs.faultIn(addr, wanted, true);
  fs.mem.writeBytes(addr, bytes.subarray(0, size));
  advance(fs, iter, size);
  return size;
}
