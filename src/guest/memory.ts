// Guest memory: one host buffer, shared with the CPU engine without copies, and the table of what
// is mapped in it with which protection.
//
// The engine has no paging that we can use, so guest virtual addresses are its physical ones and
// address space is given out in five windows (image, modules, stacks, heap, user). A window is a
// slice of the buffer; a page of it exists for the guest only while it is mapped. With address spaces, the window of user
// stacks is a slice for each space, at the same addresses.
//
// Invariant: text (executable pages) is never written through this class. Only pokeText, which also
// throws away the engine's translations, does that.

import { type Addr, hex, hi32, isUserRange, lo32, STACK_HI, STACK_SLOT, THREAD_SIZE } from './addr.ts';
import {
  type AddressWindow,
  layOut,
  type MemoryGeometry,
  USER_STACK_BASE,
  USER_STACK_SLOT,
  type Window,
} from './windows.ts';

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 1 << PAGE_SHIFT;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;
/** Page-table bit of ours: the page is mapped, whatever its protection. */
const MAPPED = 0x80;

/** An access of the host's to guest memory that is not there, or not allowed. */
export class GuestMemoryError extends Error {
  readonly code = 'EFAULT';
  readonly addr: Addr;
  constructor(reason: string, addr: Addr) {
    super(`${reason} at ${hex(addr)}`);
    this.name = 'GuestMemoryError';
    this.addr = addr;
  }
}

/**
 * What TypeScript keeps for something of the guest's, by its address.
 * @throws GuestMemoryError for an address that nothing is kept for: following it, the kernel would find anything.
 */
export function keptFor<T>(kept: ReadonlyMap<Addr, T>, addr: Addr): T {
  const found = kept.get(addr);
  if (found === undefined) throw new GuestMemoryError('nothing known', addr);
  return found;
}

/** Who is told of a change of the memory map: the CPU engine, and who keeps something that was made of guest code. */
export interface MapListener {
  /** Once, before anything else: how address space lies in the buffer. */
  windows?(windows: readonly AddressWindow[]): void;
  map?(base: Addr, size: number, prot: number, ramOffset: number): void;
  unmap(base: Addr, size: number): void;
  protect?(base: Addr, size: number, prot: number): void;
  /** The bytes at [addr, addr + size), in RAM from `ramOffset` on, were changed behind the engine's back. */
  invalidate?(addr: Addr, size: number, ramOffset: number): void;
}

/** A zeroed host buffer of `bytes` from `start` on. @param stacks how many of them are for task stacks */
export type SharedAllocator = (bytes: number, stacks?: number) => SharedMemory;

interface SharedMemory {
  readonly buffer: ArrayBuffer;
  readonly start: number;
  /** For who wants to know: a byte a page, set to 1 where the host may write from now on. */
  readonly touched?: Uint8Array;
}

const plainBuffer: SharedAllocator = (bytes) => ({ buffer: new ArrayBuffer(bytes), start: 0 });

export class GuestMemory {
  /** The whole buffer, page aligned in host memory. */
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly view64: DataView;
  /** Every task stack in one array: the layout is StackArena's (see unwind). */
  readonly stackWords: Uint32Array;
  readonly geometry: MemoryGeometry;
  readonly #pages: Uint8Array;
  readonly #touched: Uint8Array;
  readonly #windows: readonly Window[];
  readonly #stackRam: number;
  readonly #stackSpan: number;
  readonly #listeners: MapListener[] = [];
  /** The address space, by its number from 1 on, that addresses of users are in: that of the CPU that something is done for. */
  space = 0;
  /** Told of each store of the host's to data of the guest, before it is made: offset in the buffer, bytes. */
  onStore: ((addr: Addr, offset: number, size: number) => void) | undefined;

  /** @param allocate a page-aligned host buffer, from the engine's binding; plain memory without an engine. */
  constructor(geometry: MemoryGeometry, allocate: SharedAllocator = plainBuffer) {
    this.geometry = geometry;
    const { windows, stacks, ram } = layOut(geometry);
    this.#windows = windows;
    this.#stackRam = stacks.ram;
    this.#stackSpan = stacks.span;
    const { buffer, start, touched } = allocate(ram, geometry.stacks * THREAD_SIZE);
    this.u8 = new Uint8Array(buffer, start, ram);
    this.u32 = new Uint32Array(buffer, start, ram >>> 2);
    this.view64 = new DataView(buffer, start, ram);
    this.stackWords = new Uint32Array(buffer, start + stacks.ram, (geometry.stacks * THREAD_SIZE) >>> 2);
    this.#pages = new Uint8Array(ram / PAGE_SIZE);
    this.#touched = touched ?? new Uint8Array(ram / PAGE_SIZE);
  }

  /** Names the engine that shares the buffer, or another: each is told of every later change, in this order. */
  attach(listener: MapListener): void {
    this.#listeners.push(listener);
    listener.windows?.(this.windows());
  }

  /** How address space lies in the buffer. */
  windows(): AddressWindow[] {
    const stacks = { hi: STACK_HI, lo: 0, span: this.#stackSpan, ram: this.#stackRam, stacks: true };
    return [...this.#windows.map((w) => ({ ...w, stacks: false })), stacks];
  }

  /**
   * Offset in the buffer of an address, by its halves, without a look at what is mapped.
   * @returns -1 for an address outside every window.
   */
  offsetOfHalves(hi: number, lo: number): number {
    if (hi === STACK_HI) {
      if (lo >= this.#stackSpan) return -1;
      const off = lo & (STACK_SLOT - 1);
      if (off < STACK_SLOT - THREAD_SIZE) return -1; // the guard below the stack
      return this.#stackRam + (lo >>> 15) * THREAD_SIZE + off - (STACK_SLOT - THREAD_SIZE);
    }
    for (const w of this.#windows) {
      if (hi !== w.hi) continue;
      const off = lo - w.lo;
      if (off >= 0 && off < w.span) return w.spaces === 0 ? w.ram + off : this.#inSpace(w, off);
    }
    return -1;
  }

  /** Of an address that is another byte in each address space. */
  #inSpace(w: Window, off: number): number {
    return this.space > 0 && this.space <= w.spaces ? w.ram + (this.space - 1) * w.span + off : -1;
  }

  /** Where the stack of a program in an address space, by its number from 1 on, begins. */
  userStackOf(space: number): Addr {
    return this.geometry.spaces ? USER_STACK_BASE : USER_STACK_BASE + BigInt((space - 1) * USER_STACK_SLOT);
  }

  /** Does something in another address space. */
  inSpace<T>(space: number, work: () => T): T {
    const before = this.space;
    this.space = space;
    try {
      return work();
    } finally {
      this.space = before;
    }
  }

  /**
   * Offset in the buffer of `size` mapped bytes.
   * @throws GuestMemoryError when a byte of them is not mapped.
   */
  offsetOf(addr: Addr, size: number): number {
    const offset = this.#find(addr, size);
    if (offset < 0) throw new GuestMemoryError('unmapped guest memory', addr);
    const last = (offset + Math.max(size, 1) - 1) >>> 12;
    for (let page = offset >>> 12; page <= last; page++) this.#touched[page] = 1;
    return offset;
  }

  /** Pages of the buffer that somebody may have written to. */
  get pagesTouched(): number {
    return this.#touched.reduce((sum, mark) => sum + mark, 0);
  }

  /** Those that somebody may have written to, by number. */
  touchedPages(): Uint32Array {
    const pages: number[] = [];
    const marks = this.#touched.subarray(0, this.#pages.length);
    for (let page = marks.indexOf(1); page >= 0; page = marks.indexOf(1, page + 1)) pages.push(page);
    return Uint32Array.from(pages);
  }

  /** Puts back whole pages as they were. Of text only what was never executed. @param bytes of all, in their order */
  putPages(pages: Uint32Array, bytes: Uint8Array): void {
    pages.forEach((page, i) => {
      this.u8.set(bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), page * PAGE_SIZE);
      this.#touched[page] = 1;
    });
  }

  isMapped(addr: Addr, size = 1): boolean {
    return this.#find(addr, size) >= 0;
  }

  /** PROT_ bits of the page that holds the address; undefined when not mapped. */
  protectionOf(addr: Addr): number | undefined {
    const offset = this.#find(addr, 1);
    return offset < 0 ? undefined : this.#pages[offset >>> 12] & ~MAPPED;
  }

  #find(addr: Addr, size: number): number {
    const offset = this.offsetOfHalves(hi32(addr), lo32(addr));
    if (offset < 0 || offset + size > this.u8.length) return -1;
    const last = (offset + Math.max(size, 1) - 1) >>> 12;
    for (let page = offset >>> 12; page <= last; page++) if (this.#pages[page] === 0) return -1;
    return offset;
  }

  /**
   * Maps fresh zeroed pages. Base and size in bytes, both page aligned.
   * @throws GuestMemoryError outside the windows, or over something mapped.
   */
  map(base: Addr, size: number, prot: number): void {
    const offset = this.offsetOfHalves(hi32(base), lo32(base));
    if (offset < 0 || offset + size > this.u8.length) throw new GuestMemoryError('no address space', base);
    if ((lo32(base) | size) & (PAGE_SIZE - 1)) throw new GuestMemoryError('mapping not page aligned', base);
    const [first, end] = [offset >>> 12, (offset + size) >>> 12];
    for (let page = first; page < end; page++) {
      if (this.#pages[page] !== 0) throw new GuestMemoryError('already mapped', base);
    }
    this.#pages.fill(prot | MAPPED, first, end);
    for (const listener of this.#listeners) listener.map?.(base, size, prot, offset);
  }

  /** Unmaps pages and clears their bytes. @throws GuestMemoryError when they are not mapped. */
  unmap(base: Addr, size: number): void {
    const offset = this.offsetOf(base, size);
    this.#pages.fill(0, offset >>> 12, (offset + size) >>> 12);
    for (const listener of this.#listeners) listener.unmap(base, size);
    this.u8.fill(0, offset, offset + size);
  }

  /** Changes the protection of mapped pages (set_memory_ro, _nx, _x). @throws GuestMemoryError */
  protect(base: Addr, size: number, prot: number): void {
    const offset = this.offsetOf(base, size);
    this.#pages.fill(prot | MAPPED, offset >>> 12, (offset + size) >>> 12);
    for (const listener of this.#listeners) listener.protect?.(base, size, prot);
  }

  /**
   * Writes bytes of text, executable or not, and makes the engine forget what it translated there.
   * Only the text poking code calls it.
   */
  pokeText(addr: Addr, bytes: Uint8Array): void {
    const offset = this.offsetOf(addr, bytes.length);
    this.u8.set(bytes, offset);
    for (const listener of this.#listeners) listener.invalidate?.(addr, bytes.length, offset);
  }

  /**
   * As pokeText(), of bytes [from, to) of the instruction at `addr`: a kernel has 50,000 at a time, for which nothing is
   * cut out of arrays.
   */
  pokeInsn(addr: Addr, insn: Readonly<Uint8Array>, from: number, to: number): void {
    const offset = this.offsetOf(addr, to);
    for (let i = from; i < to; i++) this.u8[offset + i] = insn[i];
    for (const listener of this.#listeners)
      listener.invalidate?.(from === 0 ? addr : addr + BigInt(from), to - from, offset + from);
  }

  /** As pokeText(), of text that is read from somewhere straight to where it lies. */
  loadText(addr: Addr, size: number, read: (into: Uint8Array) => void): void {
    const offset = this.offsetOf(addr, size);
    read(this.u8.subarray(offset, offset + size));
    for (const listener of this.#listeners) listener.invalidate?.(addr, size, offset);
  }

  readU8(addr: Addr): number {
    return this.u8[this.offsetOf(addr, 1)];
  }
  readU16(addr: Addr): number {
    return this.view64.getUint16(this.offsetOf(addr, 2), true);
  }
  readU32(addr: Addr): number {
    return this.view64.getUint32(this.offsetOf(addr, 4), true);
  }
  readS32(addr: Addr): number {
    return this.view64.getInt32(this.offsetOf(addr, 4), true);
  }
  readU64(addr: Addr): bigint {
    return this.view64.getBigUint64(this.offsetOf(addr, 8), true);
  }

  /** A copy of `size` bytes. */
  readBytes(addr: Addr, size: number): Uint8Array {
    const offset = this.offsetOf(addr, size);
    return this.u8.slice(offset, offset + size);
  }

  /** Whether the bytes there are these. @throws GuestMemoryError */
  holds(addr: Addr, bytes: Readonly<Uint8Array>): boolean {
    const offset = this.offsetOf(addr, bytes.length);
    for (let i = 0; i < bytes.length; i++) if (this.u8[offset + i] !== bytes[i]) return false;
    return true;
  }

  /** As holds(), undefined where nothing is mapped. */
  holdsThere(addr: Addr, bytes: Readonly<Uint8Array>): boolean | undefined {
    const offset = this.#find(addr, bytes.length);
    if (offset < 0) return undefined;
    for (let i = 0; i < bytes.length; i++) if (this.u8[offset + i] !== bytes[i]) return false;
    return true;
  }

  /** The bytes themselves, no copy: for reading. Writing through it is for non-executable memory only. */
  view(addr: Addr, size: number): Uint8Array {
    const offset = this.offsetOf(addr, size);
    return this.u8.subarray(offset, offset + size);
  }

  /** A NUL-terminated string of at most `max` bytes, read as latin1. @throws GuestMemoryError */
  readCString(addr: Addr, max = 4096): string {
    let out = '';
    for (let at = addr; out.length < max; at = addr + BigInt(out.length)) {
      // What follows in its page is mapped as well, and follows in the buffer.
      const offset = this.offsetOf(at, 1);
      const end = Math.min(offset + max - out.length, (offset | (PAGE_SIZE - 1)) + 1);
      for (let i = offset; i < end; i++) {
        const byte = this.u8[i];
        if (byte === 0) return out;
        out += String.fromCharCode(byte);
      }
    }
    return out;
  }

  /** strndup_user(): undefined where a part of it is not a user's. */
  readUserString(addr: Addr, max: number): string | undefined {
    if (!isUserRange(addr, 1)) return undefined;
    try {
      return this.readCString(addr, max);
    } catch (error) {
      if (error instanceof GuestMemoryError) return undefined;
      throw error;
    }
  }

  /** put_user(): false where a user may not write. */
  writeUserU32(addr: Addr, value: number): boolean {
    const last = addr + 3n;
    const writable = (at: Addr): boolean => ((this.protectionOf(at) ?? 0) & PROT_WRITE) !== 0;
    if (!isUserRange(addr, 4) || !writable(addr) || !writable(last)) return false;
    this.writeU32(addr, value);
    return true;
  }

  writeU8(addr: Addr, value: number): void {
    this.u8[this.#writable(addr, 1)] = value;
  }
  writeU16(addr: Addr, value: number): void {
    this.view64.setUint16(this.#writable(addr, 2), value, true);
  }
  writeU32(addr: Addr, value: number): void {
    this.view64.setUint32(this.#writable(addr, 4), value, true);
  }
  writeU64(addr: Addr, value: bigint): void {
    this.view64.setBigUint64(this.#writable(addr, 8), value, true); // it takes the value modulo 2^64
  }
  /** 64-bit words, the first at the lowest address. */
  writeWords(addr: Addr, words: readonly bigint[]): void {
    const offset = this.#writable(addr, 8 * words.length);
    for (let i = 0; i < words.length; i++) this.view64.setBigUint64(offset + 8 * i, words[i], true);
  }
  writeBytes(addr: Addr, bytes: Uint8Array): void {
    this.u8.set(bytes, this.#writable(addr, bytes.length));
  }
  /** Writes a latin1 string and its NUL. */
  /** One byte a character, and a NUL. */
  writeCString(addr: Addr, text: string): void {
    const bytes = new Uint8Array(text.length + 1);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    this.writeBytes(addr, bytes);
  }
  fill(addr: Addr, size: number, byte: number): void {
    const offset = this.#writable(addr, size);
    this.u8.fill(byte, offset, offset + size);
  }

  #writable(addr: Addr, size: number): number {
    const offset = this.offsetOf(addr, size);
    if (this.#pages[offset >>> 12] & PROT_EXEC) throw new GuestMemoryError('write to executable text', addr);
    this.onStore?.(addr, offset, size);
    return offset;
  }
}
