// The bytes of a table's section, read in order, with the relocations that it has before it is linked.
//
// Invariant: nothing outside of the limits is read; whoever would gets an ElfError that names section and place.

import type { ElfObject, ElfRelocation, ElfSection } from '../elf/elf_object.ts';
import type { ElfError } from '../elf/error.ts';

/** A place in the object that a field points to. */
export interface Target {
  readonly section: ElfSection;
  readonly offset: number;
}

/** What a section has of relocations, by place. */
export class RelocatedSection {
  readonly elf: ElfObject;
  readonly section: ElfSection;
  readonly view: DataView;
  readonly #relocations = new Map<number, ElfRelocation>();

  constructor(elf: ElfObject, section: ElfSection) {
    this.elf = elf;
    this.section = section;
    this.view = elf.view(section);
    for (const relocation of elf.relocations(section.index)) {
      this.#relocations.set(relocation.offset, relocation);
    }
  }

  get bytes(): Uint8Array {
    return this.elf.data(this.section);
  }

  error(reason: string, at: number): ElfError {
    return this.elf.error(reason, this.section.name, at);
  }

  hasRelocation(at: number): boolean {
    return this.#relocations.has(at);
  }

  /** Where the field of that width leads. `pcRelative`: its value is a distance from the field itself. */
  target(at: number, width: number, pcRelative: boolean, what: string): Target {
    const relocation = this.#relocations.get(at);
    if (!relocation) throw this.error(`${what} is relocated by nothing`, at);
    const { symbol, addend, type } = relocation;
    const kind = this.elf.machine.relocations.get(type);
    if (!kind) throw this.error(`${what} has a relocation of type ${type}, which none of the tables has`, at);
    if (kind.width !== width || kind.pcRelative !== pcRelative) {
      throw this.error(`${what} of ${width} bytes has a relocation ${kind.name}`, at);
    }
    const { section } = symbol;
    const offset = symbol.value + addend;
    if (!section || offset < 0n || offset > BigInt(section.size)) {
      throw this.error(`${what} is for no place in a section`, at);
    }
    return { section, offset: Number(offset) };
  }
}

/** A part of it, read from its start on. */
export class SectionReader {
  readonly from: RelocatedSection;
  readonly end: number;
  at: number;

  constructor(from: RelocatedSection, at: number, end: number) {
    this.from = from;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  error(reason: string, at = this.at): ElfError {
    return this.from.error(reason, at);
  }

  /** The place of so many bytes, which are then behind. */
  take(size: number): number {
    const { at } = this;
    if (!(size >= 0) || at + size > this.end) throw this.error(`${size} bytes run out of what holds them`);
    this.at = at + size;
    return at;
  }

  u8(): number {
    return this.from.view.getUint8(this.take(1));
  }
  u16(): number {
    return this.from.view.getUint16(this.take(2), true);
  }
  u32(): number {
    return this.from.view.getUint32(this.take(4), true);
  }
  /** Signed or not, of 1, 2, 4 or 8 bytes. */
  integer(size: number, isSigned: boolean): number {
    const { view } = this.from;
    const at = this.take(size);
    if (size === 1) return isSigned ? view.getInt8(at) : view.getUint8(at);
    if (size === 2) return isSigned ? view.getInt16(at, true) : view.getUint16(at, true);
    if (size === 4) return isSigned ? view.getInt32(at, true) : view.getUint32(at, true);
    return this.#safe(isSigned ? view.getBigInt64(at, true) : view.getBigUint64(at, true), at);
  }

  uleb(): number {
    const start = this.at;
    // Most are of one byte.
    if (!this.done && this.from.view.getUint8(start) < 0x80) return this.u8();
    let value = 0n;
    for (let bits = 0n; ; bits += 7n) {
      if (bits >= 70n) throw this.error('a number of more than 64 bits', start);
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << bits;
      if ((byte & 0x80) === 0) return this.#safe(value, start);
    }
  }

  sleb(): number {
    const start = this.at;
    let value = 0n;
    for (let bits = 0n; ; bits += 7n) {
      if (bits >= 70n) throw this.error('a number of more than 64 bits', start);
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << bits;
      if ((byte & 0x80) === 0) return this.#safe(BigInt.asIntN(Number(bits) + 7, value), start);
    }
  }

  /** So many bytes; no copy. */
  block(size: number): Uint8Array {
    const at = this.take(size);
    return this.from.bytes.subarray(at, at + size);
  }

  /** A NUL-terminated string. */
  string(): string {
    const start = this.at;
    while (this.u8() !== 0);
    return Buffer.from(this.from.bytes.subarray(start, this.at - 1)).toString('latin1');
  }

  #safe(value: bigint, at: number): number {
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      throw this.error(`a value of ${value}, which is none of a frame's`, at);
    }
    return Number(value);
  }
}
