// From an image to memory that a CPU can execute: sections, symbols, per-CPU areas.
// Mirrors what an architecture's head.S and setup_percpu.c, and kallsyms, set up before start_kernel().

import type { AsmImage, AsmSymbol } from '../../asm/assembler.ts';
import { perImage } from '../../asm/per_image.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import { type GuestMemory, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../guest/memory.ts';
import { USER_STACK_SLOT } from '../../guest/windows.ts';
import { type ExportedSymbol, Kallsyms, type KernelSymbol } from '../../kernel/kallsyms.ts';
import { SortedSymbols } from '../../kernel/object_symbols.ts';
import { OrcLookup } from '../../unwind/orc_lookup.ts';
import { MachineError } from '../machine_error.ts';
import type { KernelImage } from './image.ts';

const PROTECTION: Readonly<Record<string, number>> = {
  '.text': PROT_READ | PROT_EXEC,
  '.rodata': PROT_READ,
  '.data': PROT_READ | PROT_WRITE,
  '.bss': PROT_READ | PROT_WRITE,
  '.user.text': PROT_READ | PROT_EXEC,
  '.user.data': PROT_READ | PROT_WRITE,
};
/** Labels of instructions that tables speak of. */
const TABLE_LABEL = /^__(?:bug_at|branch_at|branch_to|ex_at|ex_to|stac_at|clac_at)_/;
const PERCPU = '.data..percpu';

/** Maps the image's sections with their protections, and the user stacks. */
export function mapImage(mem: GuestMemory, image: AsmImage): void {
  for (const { name, addr, size, bytes } of image.sections) {
    if (name === PERCPU || size === 0) continue;
    const pages = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
    mem.map(addr, pages, PROTECTION[name]);
    if (bytes.length > 0) mem.pokeText(addr, bytes);
  }
  for (let space = 1; space <= mem.geometry.stacks; space++)
    mem.inSpace(space, () => mem.map(mem.userStackOf(space), USER_STACK_SLOT, PROT_READ | PROT_WRITE));
}

/** nm letters: capital for global symbols. */
function letter(symbol: AsmSymbol): string {
  const base =
    symbol.section === '.text'
      ? 't'
      : symbol.section === '.rodata'
        ? 'r'
        : symbol.section === '.bss'
          ? 'b'
          : 'd';
  return symbol.global ? base.toUpperCase() : base;
}

/** Symbols of the kernel's part of the image, and what it exports to modules. */
export function imageSymbols(image: AsmImage): Kallsyms {
  const kallsyms = new Kallsyms();
  const { symbols, exports } = symbolsOf(image);
  kallsyms.addImage(symbols);
  for (const [name, symbol] of exports) kallsyms.addExport(name, symbol);
  return kallsyms;
}

/** What has an entry in a table (bug.inc, smap.inc) has a label for its sake; the kernel knows no such symbol. */
const isKernels = ({ section, name }: AsmSymbol): boolean =>
  !section.startsWith('.user') && section !== PERCPU && !TABLE_LABEL.test(name);

/** With their sizes. @param isWanted by name */
export function kernelSymbols(image: AsmImage, isWanted: (name: string) => boolean): KernelSymbol[] {
  return sizedByNext(
    image,
    image.symbols.filter((s) => isKernels(s) && isWanted(s.name)),
  );
}

const symbolsOf = perImage((image: AsmImage) => {
  const byName = new Map(image.symbols.filter((s) => s.global).map((s) => [s.name, s]));
  const exports = image.exports.flatMap(({ name, gpl }): [string, ExportedSymbol][] => {
    const symbol = byName.get(name);
    return symbol ? [[name, { addr: symbol.addr, gpl }]] : [];
  });
  return { symbols: new SortedSymbols(kernelSymbols(image, () => true)), exports };
});

/** As kallsyms has it: a symbol reaches to the next address that has one, or to the end of its section. */
function sizedByNext(image: AsmImage, symbols: readonly AsmSymbol[]): KernelSymbol[] {
  return image.sections.flatMap((section) => {
    const own = symbols.filter((s) => s.section === section.name);
    const starts = [...new Set(own.map((s) => s.addr))].sort((a, b) => (a < b ? -1 : 1));
    const end = new Map(
      starts.map((addr, i) => [addr, starts[i + 1] ?? section.addr + BigInt(section.size)]),
    );
    return own.map((s) => ({
      name: s.name,
      addr: s.addr,
      size: Number((end.get(s.addr) as Addr) - s.addr),
      type: letter(s),
    }));
  });
}

export interface PerCpuTemplate {
  readonly bytes: Uint8Array;
  readonly symbols: ReadonlyMap<string, Addr>;
  /** Of those the exported ones. */
  readonly exported: readonly string[];
  /** The value of a symbol at its beginning. */
  readonly linkedAt: Addr;
}

/** Template and symbols of the per-CPU area. */
export const percpuTemplate = perImage((image: AsmImage): PerCpuTemplate => {
  const section = image.sections.find((s) => s.name === PERCPU);
  const symbols = image.symbols.filter((s) => s.section === PERCPU);
  return {
    bytes: section?.bytes ?? new Uint8Array(),
    symbols: new Map(symbols.map((s) => [s.name, s.addr])),
    exported: symbols.filter((s) => image.exports.some((e) => e.name === s.name)).map((s) => s.name),
    linkedAt: 0n,
  };
});

/** setup_per_cpu_areas(), and the masks of CPUs: what guest code goes by for other CPUs' copies. */
export function publishCpus(mem: GuestMemory, symbols: Kallsyms, base: readonly Addr[]): void {
  mem.writeU32(symbols.require('nr_cpu_ids'), base.length);
  // Counts that kernels keep beside the masks: the second one from 7.x on.
  for (const name of ['__num_online_cpus', '__num_possible_cpus']) {
    const count = symbols.lookupName(name);
    if (count !== undefined) mem.writeU32(count, base.length);
  }
  const offsets = symbols.require('__per_cpu_offset');
  const masks = ['possible', 'present', 'online'].map((name) => symbols.require(`__cpu_${name}_mask`));
  for (const [id, area] of base.entries()) {
    mem.writeU64(offsets + BigInt(8 * id), area);
    for (const mask of masks) {
      const byte = mask + BigInt(id >> 3);
      mem.writeU8(byte, mem.readU8(byte) | (1 << (id & 7)));
    }
  }
}

/** Where the image's text is, [start, end). @throws MachineError for an image without */
export function imageText(image: AsmImage): readonly [Addr, Addr] {
  const text = image.sections.find((s) => s.name === '.text');
  if (!text) throw new MachineError('the image has no text');
  return [text.addr, text.addr + BigInt(text.size)];
}

/** A real kernel's text, where there is one, and ours. */
export function kernelTexts({ asm, real }: KernelImage): (readonly [Addr, Addr])[] {
  const own = imageText(asm);
  if (!real) return [own];
  const { addr, size } = real.native.text;
  return [[addr, addr + BigInt(size)], own];
}

/** What the unwinder knows at first: the image's text, with its ORC table. */
export function imageLookup({ asm, orc, real }: KernelImage): OrcLookup {
  const [start, end] = imageText(asm);
  const lookup = new OrcLookup();
  if (real) {
    const { text, orc: table } = real.native;
    lookup.addText({ name: 'vmlinux', ranges: [{ start: lo32(text.addr), size: text.size }], orc: table });
  }
  lookup.addText({ name: 'vmlinux', ranges: [{ start: lo32(start), size: Number(end - start) }], orc });
  return lookup;
}

/** All functions of user programs, and the programs themselves, by name. */
export const userText = perImage(
  (image: AsmImage): ReadonlyMap<string, Addr> =>
    new Map(image.symbols.filter((s) => s.section === '.user.text').map((s) => [s.name, s.addr])),
);

/** Entry points of user programs, by name. */
export const userPrograms = perImage((image: AsmImage): ReadonlyMap<string, Addr> => {
  const programs = image.symbols.filter((s) => s.section === '.user.text' && s.type === 'code');
  return new Map(programs.map((s) => [s.name, s.addr]));
});
