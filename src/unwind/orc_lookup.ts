// Which text there is, and the ORC entry of any address in it.
// Mirrors orc_find(), orc_module_find() and orc_ftrace_find() of arch/x86/kernel/unwind_orc.c and
// __kernel_text_address() of kernel/extable.c.
//
// Invariant: ranges never overlap; each page of the upper 2 GiB names its one range, or says it has several.

import type { TextTable } from '../arch/unwinders.ts';
import { type OrcTable, orcTableFromEntries } from '../elf/orc.ts';
import { PAGE_SHIFT } from '../guest/memory.ts';

/** Text of the image or of a module; all its ranges share one table. */
interface TextSpec {
  readonly name: string;
  /** Low 32 bits of the start, and bytes. */
  readonly ranges: readonly { readonly start: number; readonly size: number }[];
  readonly orc?: OrcTable;
}

/** A copy of ftrace_caller or ftrace_regs_caller, of which `template` is the low half of the address. */
interface TrampolineSpec {
  readonly name: string;
  readonly start: number;
  readonly size: number;
  readonly template: number;
}

/** A piece of text: low half of its first address, bytes, and its table or what it is a copy of. */
export interface Text {
  readonly name: string;
  readonly start: number;
  readonly size: number;
  readonly orc?: OrcTable;
  readonly template?: number;
}

export interface TextHandle {
  readonly name: string;
  readonly ids: readonly number[];
}

export class TextRangeError extends Error {
  readonly code: 'EINVAL' | 'EEXIST';

  constructor(code: 'EINVAL' | 'EEXIST', message: string) {
    super(message);
    this.name = 'TextRangeError';
    this.code = code;
  }
}

interface TextRange {
  readonly name: string;
  readonly start: number;
  /** The start as a signed 32-bit number: only those are stored and subtracted as plain integers. */
  readonly lo: number;
  readonly size: number;
  readonly orc: OrcTable | null;
  /** For each 256-byte block the index of the entry in force at its first byte, as orc_lookup[] has it. */
  readonly blocks: Uint32Array;
  /** Signed, as `lo`; 0 for text that is not a trampoline. */
  readonly template: number;
}

const PAGE_MASK = 0x7ffff;
/** Pages of a piece, and the pieces of the upper 2 GiB. */
const PIECE_BITS = 10;
const PIECE_PAGES = 1 << PIECE_BITS;
const PIECES = (PAGE_MASK + 1) >>> PIECE_BITS;
const PIECE_SHIFT = PAGE_SHIFT + PIECE_BITS;
/** Of a piece that nothing is on. */
const NO_PAGES = new Uint16Array(PIECE_PAGES);
const BLOCK_SHIFT = 8;
const SHARED_PAGE = 0xffff;
const NO_BLOCKS = new Uint32Array(0);

const NO_TABLE = orcTableFromEntries([]);

export class OrcLookup implements TextTable {
  /** The table that the index of the last successful find() belongs to. */
  hit: OrcTable = NO_TABLE;
  /** By page, in pieces of 4 MiB, most of which nothing is on. */
  private readonly pieces: Uint16Array[] = new Array(PIECES).fill(NO_PAGES);
  private readonly ranges: (TextRange | null)[] = [null];
  /** Numbers of ranges that are gone. */
  private readonly free: number[] = [];
  /** Numbers of the ranges on a page that has several. */
  private readonly shared = new Map<number, number[]>();

  addText(spec: TextSpec): TextHandle {
    const orc = spec.orc !== undefined && spec.orc.count > 0 ? spec.orc : null;
    const ids: number[] = [];
    const handle = { name: spec.name, ids };
    try {
      for (const { start, size } of spec.ranges) ids.push(this.insert(spec.name, start >>> 0, size, orc, 0));
    } catch (error) {
      this.remove(handle);
      throw error;
    }
    return handle;
  }

  addTrampoline({ name, start, size, template }: TrampolineSpec): TextHandle {
    return { name, ids: [this.insert(name, start >>> 0, size, null, template)] };
  }

  remove(handle: TextHandle): void {
    for (const id of handle.ids) {
      const range = this.ranges[id];
      if (range === null || range.name !== handle.name) continue;
      this.ranges[id] = null;
      this.free.push(id);
      const last = pageOf(range.start + range.size - 1);
      for (let page = pageOf(range.start); page <= last; page++) this.leavePage(page, id);
    }
  }

  /**
   * The ORC entry in force at `ip` (low 32 bits, signed or unsigned): an index into `hit`, or -1.
   */
  find(ip: number): number {
    let range = this.rangeAt(ip);
    if (range === null) return -1;
    let at = ip | 0;
    if (range.template !== 0) {
      at = (range.template + (at - range.lo)) | 0;
      range = this.rangeAt(at);
      // A template inside a trampoline would send the search round for ever.
      if (range === null || range.template !== 0) return -1;
    }
    const orc = range.orc;
    if (orc === null) return -1;
    const block = (at - range.lo) >>> BLOCK_SHIFT;
    const address = at >>> 0;
    let first = range.blocks[block];
    let last = range.blocks[block + 1];
    const ips = orc.ip;
    let found = first;
    while (first <= last) {
      const mid = (first + last) >>> 1;
      if (ips[mid] <= address) {
        found = mid;
        first = mid + 1;
      } else {
        last = mid - 1;
      }
    }
    this.hit = orc;
    return found;
  }

  /** Image text, module text, or a trampoline of ftrace. */
  kernelTextAddress(ip: number): boolean {
    return this.rangeAt(ip) !== null;
  }

  /** For an address in a trampoline, the address in the template that it is a copy of; else 0. */
  ftraceTrampoline(ip: number): number {
    const range = this.rangeAt(ip);
    if (range === null || range.template === 0) return 0;
    return (range.template + ((ip | 0) - range.lo)) >>> 0;
  }

  /** The name under which the text at `ip` was added. */
  nameAt(ip: number): string | undefined {
    return this.rangeAt(ip)?.name;
  }

  /** All text, as it was added. */
  *texts(): IterableIterator<Text> {
    for (const range of this.ranges) {
      if (range === null) continue;
      const { name, start, size, orc, template } = range;
      yield {
        name,
        start,
        size,
        ...(orc ? { orc } : {}),
        ...(template === 0 ? {} : { template: template >>> 0 }),
      };
    }
  }

  private rangeAt(ip: number): TextRange | null {
    if ((ip | 0) >= 0) return null;
    const id = this.pieces[(ip >>> PIECE_SHIFT) & (PIECES - 1)][(ip >>> PAGE_SHIFT) & (PIECE_PAGES - 1)];
    if (id === 0) return null;
    if (id === SHARED_PAGE) return this.rangeOnSharedPage(ip >>> 0);
    const range = this.ranges[id] as TextRange;
    return ((ip | 0) - range.lo) >>> 0 < range.size ? range : null;
  }

  private rangeOnSharedPage(ip: number): TextRange | null {
    for (const id of this.on(pageOf(ip))) {
      const range = this.ranges[id] as TextRange;
      if (ip >= range.start && ip < range.start + range.size) return range;
    }
    return null;
  }

  private insert(name: string, start: number, size: number, orc: OrcTable | null, template: number): number {
    this.checkRange(name, start, size);
    const blocks = orc === null ? NO_BLOCKS : orcBlocks(orc, start, size);
    const id = this.free.pop() ?? this.ranges.length;
    this.ranges[id] = { name, start, lo: start | 0, size, orc, blocks, template: template | 0 };
    const last = pageOf(start + size - 1);
    for (let page = pageOf(start); page <= last; page++) {
      this.enterPage(page, id);
    }
    return id;
  }

  private checkRange(name: string, start: number, size: number): void {
    const end = start + size;
    if (!(size > 0) || start < 0x80000000 || end > 0x100000000 || this.full()) {
      throw new TextRangeError('EINVAL', `text of ${name} is not in kernel space: ${hexRange(start, end)}`);
    }
    for (let page = pageOf(start); page <= pageOf(end - 1); page++) {
      for (const id of this.on(page)) {
        const other = this.ranges[id] as TextRange;
        if (start >= other.start + other.size || other.start >= end) continue;
        throw new TextRangeError('EEXIST', `text of ${name} overlaps ${other.name}: ${hexRange(start, end)}`);
      }
    }
  }

  private full(): boolean {
    return this.free.length === 0 && this.ranges.length >= SHARED_PAGE;
  }

  /** Numbers of the ranges on a page. */
  private on(page: number): readonly number[] {
    const id = this.pieces[page >>> PIECE_BITS][page & (PIECE_PAGES - 1)];
    if (id === SHARED_PAGE) return this.shared.get(page) ?? [];
    return id === 0 ? [] : [id];
  }

  private enterPage(page: number, id: number): void {
    this.setPage(page, [...this.on(page), id]);
  }

  private leavePage(page: number, id: number): void {
    this.setPage(
      page,
      this.on(page).filter((one) => one !== id),
    );
  }

  private setPage(page: number, ids: number[]): void {
    if (ids.length > 1) this.shared.set(page, ids);
    else this.shared.delete(page);
    const index = page >>> PIECE_BITS;
    if (this.pieces[index] === NO_PAGES) this.pieces[index] = new Uint16Array(PIECE_PAGES);
    this.pieces[index][page & (PIECE_PAGES - 1)] = ids.length > 1 ? SHARED_PAGE : (ids[0] ?? 0);
  }
}

function orcBlocks(orc: OrcTable, start: number, size: number): Uint32Array {
  const blocks = new Uint32Array(((size - 1) >>> BLOCK_SHIFT) + 2);
  let index = 0;
  for (let block = 0; block < blocks.length; block++) {
    const at = start + block * (1 << BLOCK_SHIFT);
    while (index + 1 < orc.count && orc.ip[index + 1] <= at) index++;
    blocks[block] = index;
  }
  return blocks;
}

const pageOf = (address: number): number => (address >>> PAGE_SHIFT) & PAGE_MASK;

const hexRange = (start: number, end: number): string => `0x${start.toString(16)}-0x${end.toString(16)}`;
