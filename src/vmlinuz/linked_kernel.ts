// A linked kernel as the file has it: sections at their addresses. What a stripped one knows of itself is looked up by
// address, in the sections that the file holds.
//
// Invariants: addresses are low halves, since all of a kernel lies in the highest 2 GiB; nothing is read outside of a
// section.

import { ELF_MAGIC, SHDR_SIZE, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS } from '../elf/constants.ts';
import { ElfError } from '../elf/error.ts';
import type { ElfMachine } from '../elf/machine.ts';
import { type ElfSection, parseHeader, parseSections } from '../elf/sections.ts';

const ET_EXEC = 2;
const TYPE_AT = 16;
export const KERNEL_HALF = 0xffffffff;

export interface KernelSection extends ElfSection {
  /** Low half of where it begins; 0 where it is not loaded. */
  readonly start: number;
  readonly end: number;
  readonly isText: boolean;
  /** Then it holds data, whatever else. */
  readonly isWritable: boolean;
}

/** An ELF file that is linked to run, by its header. */
export function isLinkedKernel(bytes: Uint8Array): boolean {
  if (bytes.length <= TYPE_AT + 1 || ELF_MAGIC.charCodeAt(0) !== bytes[0]) return false;
  return bytes[TYPE_AT] === ET_EXEC && bytes[TYPE_AT + 1] === 0;
}

export class LinkedKernel {
  readonly file: string;
  readonly bytes: Uint8Array;
  /** By index, as in the file. */
  readonly sections: readonly KernelSection[];
  /** Those that are loaded, by address. */
  readonly loaded: readonly KernelSection[];

  /** @throws ElfError */
  constructor(bytes: Uint8Array, file: string, machine: ElfMachine) {
    this.file = file;
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    const header = parseHeader(this.bytes, file, machine, true, [ET_EXEC]);
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    this.sections = parseSections(this.bytes, file, header).map((section): KernelSection => {
      const at = header.shoff + section.index * SHDR_SIZE;
      const [low, high] = [view.getUint32(at + 16, true), view.getUint32(at + 20, true)];
      const isLoaded = (section.flags & SHF_ALLOC) !== 0 && section.size > 0 && high === KERNEL_HALF;
      const start = isLoaded && low + section.size <= 2 ** 32 ? low : 0;
      const isText = start !== 0 && (section.flags & SHF_EXECINSTR) !== 0;
      const isWritable = (section.flags & SHF_WRITE) !== 0;
      return { ...section, start, end: start === 0 ? 0 : start + section.size, isText, isWritable };
    });
    this.loaded = this.sections.filter(({ start }) => start !== 0).sort((a, b) => a.start - b.start);
  }

  section(name: string): KernelSection | undefined {
    return this.sections.find((section) => section.name === name);
  }

  /** No copy; empty for a section that the file holds nothing of. */
  data(section: ElfSection): Uint8Array {
    if (section.type === SHT_NOBITS) return NOTHING;
    return this.bytes.subarray(section.offset, section.offset + section.size);
  }

  /** The loaded section that an address lies in. */
  at(address: number): KernelSection | undefined {
    const { loaded } = this;
    let [low, high] = [0, loaded.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (loaded[middle].start <= address) low = middle + 1;
      else high = middle;
    }
    const found = loaded[low - 1];
    return found && address < found.end ? found : undefined;
  }

  /** Bytes at an address; undefined where the file does not hold all of them. */
  read(address: number, length: number): Uint8Array | undefined {
    const section = this.at(address);
    if (!section || length < 0) return undefined;
    const data = this.data(section);
    const from = address - section.start;
    return from + length <= data.length ? data.subarray(from, from + length) : undefined;
  }

  error(reason: string, section?: string, offset?: number): ElfError {
    return new ElfError(this.file, reason, { section, offset });
  }
}

const NOTHING = new Uint8Array(0);
