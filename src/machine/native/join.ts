// One kernel of a real one and ours: its segments in memory, entries that lead to ours, data that is one, symbols of both.
//
// Invariant: text is written by pokeText alone, and before anything runs.

import type { Arch } from '../../arch/arch.ts';
import type { AsmImage, AsmSymbol } from '../../asm/assembler.ts';
import { perImage } from '../../asm/per_image.ts';
import { type Addr, hi32, lo32 } from '../../guest/addr.ts';
import type { GuestMemory } from '../../guest/memory.ts';
import { Kallsyms, type KernelSymbol } from '../../kernel/kallsyms.ts';
import { ColumnSymbols, type SymbolColumns } from '../../kernel/object_symbols.ts';
import { kernelSymbols, type PerCpuTemplate, percpuTemplate } from '../boot/boot.ts';
import type { KernelImage, RealKernel } from '../boot/image.ts';
import { NATIVE_DATA } from './hosted.ts';
import { high, type NativeKernel } from './native_kernel.ts';

/** An image that lies behind a real kernel. */
type JoinedImage = KernelImage & { readonly real: RealKernel };

export const isJoined = (image: KernelImage): image is JoinedImage => image.real !== undefined;

const PERCPU = '.data..percpu';
/** jmp rel32 */
const JUMP_SIZE = 5;
/** How far behind its function's beginning a fentry site is: behind an endbr64, or at once. */
const SITE_OFFSETS = [0n, 4n];

/** The real kernel's segments, as they are when it has booted. @param apart user memory is protected from the kernel */
export function mapNative(mem: GuestMemory, { segments, protecting }: NativeKernel, apart: boolean): void {
  for (const { start, size, protection, bytes } of segments) {
    mem.map(start, size, protection);
    if (bytes.length > 0) mem.pokeText(start, bytes);
  }
  if (apart) for (const [addr, bytes] of protecting) mem.pokeText(addr, bytes);
}

/** Entries that lead to ours, and what ours begins with in data of both. */
export function joinText(mem: GuestMemory, { asm, real }: JoinedImage, { moduleText }: Arch): void {
  const { places, jumps } = real.hosting;
  for (const symbol of asm.symbols) {
    const entry = jumps.get(symbol.name);
    if (entry !== undefined) mem.pokeText(entry, moduleText.branches.jump(entry, symbol.addr, JUMP_SIZE));
    const place = places.get(symbol.name);
    const isTaken = place !== undefined && !NATIVE_DATA.has(symbol.name);
    const bytes = isTaken ? initialBytes(asm, symbol) : undefined;
    if (place !== undefined && bytes && symbol.section !== PERCPU) mem.writeBytes(place, bytes);
  }
}

/** Of an object: nothing for text, and for what begins as zeroes. */
function initialBytes({ sections }: AsmImage, { section, addr, size }: AsmSymbol): Uint8Array | undefined {
  const home = sections.find(({ name }) => name === section);
  if (!home || section === '.text' || section === '.bss') return undefined;
  const from = Number(addr - home.addr);
  return home.bytes.subarray(from, from + size);
}

/** Those of both, and what the real kernel exports. */
export function joinedSymbols(image: JoinedImage): Kallsyms {
  const { own, symbols } = symbolsOf(image);
  const kallsyms = new Kallsyms();
  kallsyms.addImage(symbols);
  for (const { name, addr } of own) kallsyms.prefer(name, addr);
  for (const { name, address, gpl, crc, namespace } of image.real.native.exports) {
    const real = address < 0x8000_0000 ? BigInt(address) : high(address);
    const addr = image.real.hosting.ours.has(name) ? kallsyms.require(name) : real;
    kallsyms.addExport(name, {
      addr,
      gpl,
      ...(crc === undefined ? {} : { crc }),
      ...(namespace === '' ? {} : { namespace }),
    });
  }
  return kallsyms;
}

const symbolsOf = perImage(({ asm, real }: JoinedImage) => {
  const { places, names } = real.hosting;
  const own = kernelSymbols(asm, (name) => !places.has(name)).map((symbol) => {
    const name = names.get(symbol.name);
    return name === undefined ? symbol : { ...symbol, name };
  });
  return { own, symbols: new ColumnSymbols(columnsOf(real, own)) };
});

/** Those of the real kernel, but for what is ours; and ours. */
function columnsOf({ native, hosting }: RealKernel, own: readonly KernelSymbol[]): SymbolColumns {
  const { names, low, high: upper, types } = native.symbols;
  const most = names.length + own.length;
  const made = {
    names: [] as string[],
    low: new Uint32Array(most),
    high: new Uint32Array(most),
    sizes: new Uint32Array(most),
    types: new Uint8Array(most),
  };
  const add = (name: string, lower: number, higher: number, size: number, type: number): void => {
    const i = made.names.push(name) - 1;
    made.low[i] = lower;
    made.high[i] = higher;
    made.sizes[i] = size;
    made.types[i] = type;
  };
  const sorted = [...own].sort((a, b) => (a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : 0));
  let next = 0;
  const addOwn = ({ name, addr, size, type }: KernelSymbol): void =>
    add(name, lo32(addr), hi32(addr), size, type.charCodeAt(0));
  let end = 0;
  names.forEach((name, i) => {
    for (; next < sorted.length && isBelow(sorted[next].addr, low[i], upper[i]); next++) addOwn(sorted[next]);
    if (end <= i) {
      end = i + 1;
      while (end < names.length && low[end] === low[i] && upper[end] === upper[i]) end++;
    }
    const address = hosting.ours.get(name);
    if (address !== undefined && lo32(address) === low[i] && hi32(address) === upper[i]) return;
    // No address is in a per-CPU symbol: it is an offset.
    const size = upper[i] === 0 || end >= names.length ? 0 : low[end] - low[i];
    add(name, low[i], upper[i], size, types[i]);
  });
  for (; next < sorted.length; next++) addOwn(sorted[next]);
  return made;
}

const isBelow = (addr: Addr, low: number, high: number): boolean =>
  hi32(addr) < high || (hi32(addr) === high && lo32(addr) < low);

/** The real kernel's area, and behind it ours. */
export const joinedPerCpu = perImage(({ asm, real }: JoinedImage): PerCpuTemplate => {
  const { native, hosting } = real;
  const own = percpuTemplate(asm);
  const section = asm.sections.find((s) => s.name === PERCPU);
  const start = section === undefined ? native.percpu.length : Number(section.addr - native.percpuStart);
  const bytes = new Uint8Array(start + own.bytes.length);
  bytes.set(native.percpu);
  bytes.set(own.bytes, start);
  const symbols = new Map([...own.symbols].map(([name, addr]) => [name, hosting.places.get(name) ?? addr]));
  for (const symbol of asm.symbols) {
    const isMoved = symbol.section === PERCPU && hosting.places.has(symbol.name);
    const initial = isMoved ? initialBytes(asm, symbol) : undefined;
    if (initial) bytes.set(initial, Number((symbols.get(symbol.name) as Addr) - native.percpuStart));
  }
  // What is exported is the real kernel's word.
  return { bytes, symbols, exported: [], linkedAt: native.percpuStart };
});

/** Sites of ours that stand for a real function's: where that one begins. */
export const joinedPlaces = perImage(({ asm, real }: JoinedImage): ReadonlyMap<Addr, Addr> => {
  const sites = new Set(asm.fentrySites);
  const places = new Map<Addr, Addr>();
  for (const { name, addr } of asm.symbols) {
    const there = real.hosting.jumps.get(name);
    const site = SITE_OFFSETS.map((offset) => addr + offset).find((at) => sites.has(at));
    if (there !== undefined && site !== undefined) places.set(site, there);
  }
  return places;
});

/** Fentry sites of all functions that run: real ones that ours stand for have none. */
export const joinedSites = perImage(({ asm, real }: JoinedImage): readonly Addr[] => {
  const { replaced } = real.hosting;
  let at = 0;
  const native = real.native.fentrySites.filter((site) => {
    while (at < replaced.length && replaced[at].addr + BigInt(replaced[at].size) <= site) at++;
    return at >= replaced.length || site < replaced[at].addr;
  });
  return [...native, ...asm.fentrySites];
});
