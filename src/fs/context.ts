// What all parts of the file layer share: the core, symbols of asm/x86_64/fs, user memory, allocation of files.

import { type Addr, isUserRange } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { GuestMemory } from '../guest/memory.ts';
import { PAGE_SIZE, PROT_READ, PROT_WRITE } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import { initListHead } from '../kernel/list.ts';
import { initWaitList } from '../kernel/mutex.ts';
import { SlabError } from '../kernel/slab.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { FormatContext } from '../kernel/vsprintf.ts';

/** Called when the last reference to a file is gone, before its memory goes. */
type FileEnd = (file: Addr) => unknown;

export class FsContext {
  readonly core: KernelCore;
  readonly constants: Constants;
  readonly pde: Structs['proc_dir_entry']['fields'];
  readonly procInode: Structs['proc_inode']['fields'];
  readonly #file: Structs['file']['fields'];
  readonly #inode: Structs['inode']['fields'];
  /** Where a file has how many use it, and what stands there for one: from 6.13 on that is 0 (file_ref_t). */
  readonly fileCount: { readonly at: number; readonly one: bigint };
  readonly mem: GuestMemory;
  readonly format: FormatContext;
  readonly #ends = new Map<Addr, FileEnd>();
  readonly #symbols = new Map<string, Addr>();

  constructor(core: KernelCore, format: FormatContext) {
    this.core = core;
    this.constants = core.kernel.constants;
    this.pde = core.kernel.structs.proc_dir_entry.fields;
    this.procInode = core.kernel.structs.proc_inode.fields;
    this.#file = core.kernel.structs.file.fields;
    this.#inode = core.kernel.structs.inode.fields;
    const { f_ref } = this.#file;
    this.fileCount = f_ref === undefined ? { at: this.#file.f_count, one: 1n } : { at: f_ref, one: 0n };
    this.mem = core.mem;
    this.format = format;
  }

  /** A struct completion that nobody completed yet. The kernel has it on its stack, where nothing can fail. */
  newCompletion(): Addr {
    const { core } = this;
    const { size, fields } = this.core.kernel.structs.completion;
    const completion = core.faults.without(() => core.slab.alloc(size, 'completion'));
    initListHead(this.core, completion + BigInt(fields.wait_task_list));
    return completion;
  }

  /** Address of an image symbol. @throws Error when the image lacks it. */
  symbol(name: string): Addr {
    let addr = this.#symbols.get(name);
    if (addr === undefined) {
      addr = this.core.symbols.require(name);
      this.#symbols.set(name, addr);
    }
    return addr;
  }

  /**
   * A struct file that is not open yet, with an inode of its own.
   * @param flags of open(). @param fop name of its file_operations.
   * @throws SlabError ENOMEM
   */
  allocFile(fop: string, flags: number, mode: number, options: { size?: number; end?: FileEnd } = {}): Addr {
    const { mem, core } = this;
    const inode =
      core.slab.alloc(this.procInode.vfs_inode + core.kernel.structs.inode.size, 'inode') +
      BigInt(this.procInode.vfs_inode);
    mem.writeU16(inode + BigInt(this.#inode.i_mode), mode);
    mem.writeU64(inode + BigInt(this.#inode.i_size), BigInt(options.size ?? 0));
    const file = core.slab.tryAlloc(this.core.kernel.structs.file.size, 'file');
    if (file === 0n) {
      core.slab.free(inode - BigInt(this.procInode.vfs_inode));
      throw new SlabError('ENOMEM', 'no memory for a file');
    }
    mem.writeU32(file + BigInt(this.#file.f_mode), this.#modeOf(flags));
    mem.writeU32(file + BigInt(this.#file.f_flags), flags);
    mem.writeU64(file + BigInt(this.#file.f_op), this.symbol(fop));
    mem.writeU64(file + BigInt(this.#file.f_inode), inode);
    mem.writeU64(file + BigInt(this.fileCount.at), this.fileCount.one);
    initWaitList(core, file, this.#file, 'f_pos_lock_wait_list');
    if (options.end) this.#ends.set(file, options.end);
    return file;
  }

  /** f_mode of a file that is opened with these flags, as long as it is not open. */
  #modeOf(flags: number): number {
    const { FMODE_READ, FMODE_WRITE, FMODE_LSEEK, FMODE_PREAD, FMODE_PWRITE, FMODE_ATOMIC_POS } =
      this.constants;
    const access = [FMODE_READ, FMODE_WRITE, FMODE_READ | FMODE_WRITE, 0][flags & UAPI.O_ACCMODE];
    return access | FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE | FMODE_ATOMIC_POS;
  }

  /** file_free(): after the release function, at the last fput(). */
  freeFile(file: Addr): HostGenerator<void> | undefined {
    const last: unknown = this.#ends.get(file)?.(file);
    this.#ends.delete(file);
    const inode = this.inodeOf(file);
    this.core.slab.free(inode - BigInt(this.procInode.vfs_inode));
    this.core.slab.free(file);
    // Some ends have guest code to run.
    return typeof last === 'object' ? (last as HostGenerator<void>) : undefined;
  }

  inodeOf(file: Addr): Addr {
    return this.mem.readU64(file + BigInt(this.#file.f_inode));
  }

  setMode(file: Addr, bits: number): void {
    const at = file + BigInt(this.#file.f_mode);
    this.mem.writeU32(at, this.mem.readU32(at) | bits);
  }
  clearMode(file: Addr, bits: number): void {
    const at = file + BigInt(this.#file.f_mode);
    this.mem.writeU32(at, this.mem.readU32(at) & ~bits);
  }

  /** Bytes of [addr, addr + size) at its end that user mode may not write (read); all when it starts badly. */
  faultIn(addr: Addr, size: number, write: boolean): number {
    if (!isUserRange(addr, size)) return size;
    const needed = PROT_READ | (write ? PROT_WRITE : 0);
    let good = 0;
    while (good < size) {
      const at = addr + BigInt(good);
      const prot = this.mem.protectionOf(at);
      if (prot === undefined || (prot & needed) !== needed) break;
      good += PAGE_SIZE - Number(at & BigInt(PAGE_SIZE - 1));
    }
    return Math.max(size - good, 0);
  }
}

/** Bytes of a latin1 text. */
export function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  Buffer.from(bytes.buffer).write(text, 'latin1');
  return bytes;
}

/** Text of bytes, one character a byte. */
export function latin1Text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
