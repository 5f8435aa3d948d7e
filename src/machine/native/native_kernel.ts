// A kernel's file as a machine takes it: what lies where in memory, with which protection, its symbols and tables.
// Mirrors what arch/x86/boot/compressed and head_64.S leave for start_kernel(), and what is left when init memory is freed.
//
// Invariant: it is made of the file alone, and plain data: it can be kept on disk, and several machines may share it.

import type { Table } from '../../arch/module_text.ts';
import type { OrcTable } from '../../elf/orc.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../guest/memory.ts';
import type { SymbolColumns } from '../../kernel/column_symbols.ts';
import { PackedNames } from '../../kernel/packed_names.ts';
import type { Kallsyms } from '../../vmlinuz/kallsyms.ts';
import type { KernelSection, LinkedKernel } from '../../vmlinuz/linked_kernel.ts';
import type { PackedExports } from './packed_exports.ts';

/** Whole pages of one protection. */
interface NativeSegment {
  readonly start: bigint;
  readonly size: number;
  readonly protection: number;
  /** What it begins with; the rest is zero. */
  readonly content: SegmentContent;
}

/** The bytes of a segment, wherever they are. */
export interface SegmentContent {
  readonly length: number;
  /** Puts them there. */
  copyTo(into: Uint8Array): void;
  /** Not to be changed. */
  bytes(): Uint8Array;
}

export interface NativeKernel {
  readonly segments: readonly NativeSegment[];
  /** Where a CPU has user memory protected from the kernel, text differs here. */
  readonly protecting: readonly (readonly [bigint, Uint8Array])[];
  /** What each CPU's area begins with. */
  readonly percpu: Uint8Array;
  /** Value of a per-CPU symbol at its beginning: 0, or from 6.15 on an address. */
  readonly percpuStart: bigint;
  /** The first page behind it. */
  readonly end: bigint;
  readonly symbols: SymbolColumns;
  /** Low halves, ascending, those of init functions not among them. */
  readonly fentrySites: Uint32Array;
  readonly text: Table;
  /** What goes when it has booted. */
  readonly init: Table;
  readonly orc: OrcTable;
  readonly exports: PackedExports;
  readonly extable: Table;
  readonly bugs: Table;
  /** linux_banner */
  readonly banner: string;
}

const KERNEL_BASE = 0xffffffff00000000n;
export const high = (low: number): bigint => KERNEL_BASE | BigInt(low);

/** What the machine has no use for, or keeps itself. */
const NOT_LOADED = /^\.(?:BTF|orc_\w+|init\.scratch|brk)$/;

const THUNK = /^__x86_indirect_thunk_r\w+$/;

/** By the names of marks that the linker script leaves. @throws ElfError for one that is not there */
export class Marks {
  readonly #kernel: LinkedKernel;
  readonly #found = new Map<string, number>();
  readonly #thunks = new Map<number, string>();

  constructor(kernel: LinkedKernel, symbols: SymbolColumns) {
    this.#kernel = kernel;
    let i = 0;
    for (const name of symbols.names) {
      const at = symbols.low[i];
      if (symbols.high[i++] === 0) continue;
      if (!this.#found.has(name)) this.#found.set(name, at);
      // At the first of them stands the name of them all, too.
      if (THUNK.test(name)) this.#thunks.set(at, name);
    }
  }

  find(name: string): number | undefined {
    return this.#found.get(name);
  }

  at(name: string): number {
    const found = this.#found.get(name);
    if (found === undefined) throw this.#kernel.error(`it has no symbol ${name}`);
    return found;
  }

  thunkAt(address: number): string | undefined {
    return this.#thunks.get(address);
  }

  table(start: string, stop: string): Table {
    return { addr: high(this.at(start)), size: this.at(stop) - this.at(start) };
  }
}

export function nativeSymbols(kallsyms: Kallsyms): SymbolColumns {
  const { count, low, high: upper, types } = kallsyms;
  return { low, high: upper, types, names: PackedNames.of(count, (i) => kallsyms.name(i)) };
}

/** Of bytes that are in memory. */
export const contentOf = (bytes: Uint8Array): SegmentContent => ({
  length: bytes.length,
  copyTo: (into) => into.set(bytes),
  bytes: () => bytes,
});

/** Of init memory: the rest of it is tables that nobody asks for any more. */
const INITIAL = /^(?:\.init\.(?:text|data)|\.exit\.text|runtime_(?:ptr|shift|mask)_\w+)$/;

/** Sections by page and protection. No segment is partly of init memory. */
export function segmentsOf(
  kernel: LinkedKernel,
  marks: Marks,
): { readonly start: bigint; readonly size: number; readonly protection: number }[] {
  const [initBegin, initEnd] = [marks.at('__init_begin'), marks.at('__init_end')];
  const [roStart, roEnd] = [marks.at('__start_rodata'), marks.at('__end_rodata')];
  const protectionOf = ({ start, end, isText, isWritable }: KernelSection): number => {
    if (isText && !isWritable) return PROT_READ | PROT_EXEC;
    return start >= roStart && end <= roEnd ? PROT_READ : PROT_READ | PROT_WRITE;
  };
  const pages = new Map<number, number>();
  for (const section of kernel.loaded) {
    const isInit = section.start >= initBegin && section.start < initEnd;
    if ((isInit && !INITIAL.test(section.name)) || NOT_LOADED.test(section.name)) continue;
    const last = Math.floor((section.end - 1) / PAGE_SIZE);
    for (let page = Math.floor(section.start / PAGE_SIZE); page <= last; page++)
      pages.set(page, (pages.get(page) ?? 0) | protectionOf(section));
  }
  const segments: { start: bigint; size: number; protection: number }[] = [];
  for (const page of [...pages.keys()].sort((a, b) => a - b)) {
    const start = high(page * PAGE_SIZE);
    const protection = pages.get(page) as number;
    const last = segments.at(-1);
    const isEdge = start === high(initBegin) || start === high(initEnd);
    if (last && !isEdge && last.start + BigInt(last.size) === start && last.protection === protection)
      last.size += PAGE_SIZE;
    else segments.push({ start, size: PAGE_SIZE, protection });
  }
  return segments;
}

/** Bytes without the zeroes at their end. */
export function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.slice(0, end);
}
