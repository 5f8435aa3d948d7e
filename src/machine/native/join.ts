// One kernel of a real one and ours: its segments in memory, entries that lead to ours, data that is one, symbols of both.
//
// Invariant: text is written by pokeText alone, and before anything runs.

import type { Arch } from '../../arch/arch.ts';
import type { AsmImage, AsmSymbol } from '../../asm/assembler.ts';
import { perImage } from '../../asm/per_image.ts';
import {
  functionAtSite,
  type KernelPlace,
  type KernelSite,
  type KernelSites,
} from '../../ftrace/dyn_ftrace.ts';
import { type Addr, hi32, IMAGE_BASE, lo32 } from '../../guest/addr.ts';
import type { GuestMemory } from '../../guest/memory.ts';
import { ColumnSymbols } from '../../kernel/column_symbols.ts';
import { Kallsyms, type KernelSymbol } from '../../kernel/kallsyms.ts';
import { SortedSymbols } from '../../kernel/object_symbols.ts';
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
  for (const { start, size, protection, content } of segments) {
    mem.map(start, size, protection);
    if (content.length > 0) mem.loadText(start, content.length, (into) => content.copyTo(into));
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
  const { native, hosting } = image.real;
  const kallsyms = new Kallsyms();
  kallsyms.addImage(symbols, new ColumnSymbols(native.symbols, new SortedSymbols([]), new Map()));
  for (const { name, addr } of own) kallsyms.prefer(name, addr);
  kallsyms.exportBy((name) => {
    const found = native.exports.find(name);
    if (!found) return undefined;
    const { address, gpl, crc, namespace } = found;
    const real = address < 0x8000_0000 ? BigInt(address) : high(address);
    return {
      addr: hosting.ours.has(name) ? kallsyms.require(name) : real,
      gpl,
      ...(crc === undefined ? {} : { crc }),
      ...(namespace === '' ? {} : { namespace }),
    };
  });
  return kallsyms;
}

/** Those of the real kernel, but for what is ours; and ours. */
const symbolsOf = perImage(({ asm, real }: JoinedImage) => {
  const { places, names, ours } = real.hosting;
  const columns = real.native.symbols;
  const own = kernelSymbols(asm, (name) => !places.has(name)).map((symbol) => {
    const name = names.get(symbol.name);
    return name === undefined ? symbol : { ...symbol, name };
  });
  const hidden = new Map<number, KernelSymbol>();
  for (const symbol of own) {
    const address = ours.get(symbol.name);
    if (address === undefined) continue;
    for (const i of columns.names.numbers(symbol.name))
      if (columns.low[i] === lo32(address) && columns.high[i] === hi32(address)) hidden.set(i, symbol);
  }
  return { own, symbols: new ColumnSymbols(columns, new SortedSymbols(own), hidden) };
});

/** Our own text's and data's, as they are called in that kernel. */
export const ownSymbols = (image: JoinedImage): readonly KernelSymbol[] => symbolsOf(image).own;

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

/** Sites of ours that stand for a real function's, which has one: where that is. */
const joinedPlaces = perImage(({ asm, real }: JoinedImage): ReadonlyMap<Addr, KernelPlace> => {
  const sites = new Set(asm.fentrySites);
  const theirs = new Set(real.native.fentrySites);
  const places = new Map<Addr, KernelPlace>();
  for (const { name, addr } of asm.symbols) {
    const begin = real.hosting.jumps.get(name);
    if (begin === undefined) continue;
    const there = SITE_OFFSETS.find((offset) => theirs.has(lo32(begin + offset)));
    const site = SITE_OFFSETS.map((offset) => addr + offset).find((at) => sites.has(at));
    if (there !== undefined && site !== undefined)
      places.set(site, { ip: begin + there, offset: Number(there) });
  }
  return places;
});

/** Those of functions that the kernel has not, or has without a site: nobody can trace them. */
export const untracedSites = perImage((image: JoinedImage): readonly Addr[] => {
  const places = joinedPlaces(image);
  return image.asm.fentrySites.filter((site) => !places.has(site));
});

/** Fentry sites of all functions that run: real ones that ours stand for have none, ours have theirs. */
export const joinedSites = perImage((image: JoinedImage): readonly Addr[] => {
  const { native, hosting } = image.real;
  const { replaced } = hosting;
  let at = 0;
  const sites: Addr[] = [];
  for (const site of native.fentrySites) {
    while (at < replaced.length && lo32(replaced[at].addr) + replaced[at].size <= site) at++;
    if (at >= replaced.length || site < lo32(replaced[at].addr)) sites.push(high(site));
  }
  sites.push(...joinedPlaces(image).keys());
  return sites;
});

/** The sites by the kernel's own tables: __mcount_loc and kallsyms. */
export const kernelSites = (image: JoinedImage, maxOffset: number): KernelSites => ({
  places: joinedPlaces(image),
  listed: () => listedSites(image, maxOffset),
});

/** kallsyms_lookup() of each: the first name of the last address that has one. */
function listedSites({ real: { native } }: JoinedImage, maxOffset: number): KernelSite[] {
  const { names, low, high: upper } = native.symbols;
  let at = upper.indexOf(hi32(IMAGE_BASE));
  return Array.from(native.fentrySites, (site) => {
    for (let next = at; next < low.length && low[next] <= site; next++) if (low[next] !== low[at]) at = next;
    return { ip: high(site), name: functionAtSite(names.at(at), site - low[at], maxOffset) };
  });
}
