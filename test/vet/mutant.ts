// A fixture's bytes changed at one place, by what its ELF says is there: what a build, a tool or a hand does wrong.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { RELA_SIZE } from '../../src/elf/constants.ts';
import { type ElfObject, type ElfSection, type ElfSymbol, parseElf } from '../../src/elf/elf_object.ts';

export const MODULES = join(import.meta.dirname, '../../fixtures/modules');

export class Mutant {
  readonly bytes: Uint8Array;
  readonly #elf: ElfObject;
  readonly #view: DataView;

  constructor(fixture: string | Uint8Array) {
    const own = typeof fixture === 'string' ? readFileSync(join(MODULES, `${fixture}.ko`)) : fixture;
    this.bytes = new Uint8Array(own);
    this.#elf = parseElf(new Uint8Array(own), 'mutant.ko', X86_64.elf);
    this.#view = new DataView(this.bytes.buffer);
  }

  symbol(name: string): ElfSymbol {
    const found = this.#elf.symbols.find((symbol) => symbol.name === name);
    if (!found) throw new Error(`the fixture has no symbol ${name}`);
    return found;
  }

  section(name: string): ElfSection {
    const found = this.#elf.section(name);
    if (!found) throw new Error(`the fixture has no section ${name}`);
    return found;
  }

  /** Offset in the file of a relocation in a function, to a symbol. */
  #relocation(func: string, to: string): number {
    const { section, value, size } = this.symbol(func);
    for (const rela of this.#elf.relaSections.filter(({ info }) => info === section?.index)) {
      const at = this.#elf
        .relocations(rela.info)
        .findIndex(
          ({ offset, symbol }) =>
            symbol.name === to && offset >= Number(value) && offset < Number(value) + Number(size),
        );
      if (at >= 0) return rela.offset + RELA_SIZE * at;
    }
    throw new Error(`${func} has no relocation to ${to}`);
  }

  relocationType(func: string, to: string, type: number): this {
    this.#view.setUint32(this.#relocation(func, to) + 8, type, true);
    return this;
  }

  addend(func: string, to: string, add: bigint): this {
    const at = this.#relocation(func, to) + 16;
    this.#view.setBigInt64(at, this.#view.getBigInt64(at, true) + add, true);
    return this;
  }

  /** A call is as if it had not been written. */
  withoutCall(func: string, to: string): this {
    const at = this.#relocation(func, to);
    const { section } = this.symbol(func);
    const place = (section as ElfSection).offset + Number(this.#view.getBigUint64(at, true));
    // A jump in the place of a last call becomes the return.
    const isTail = this.bytes[place - 1] === 0xe9;
    this.bytes.set(isTail ? [0xc3, 0xcc, 0xcc, 0xcc, 0xcc] : [0x0f, 0x1f, 0x44, 0x00, 0x00], place - 1);
    this.#view.setUint32(at + 8, 0, true);
    return this;
  }

  /** In the section's bytes: a string, of which the new one is no longer. */
  string(section: string, from: string, to: string): this {
    const { offset, size } = this.section(section);
    const bytes = Buffer.from(this.bytes.buffer, offset, size);
    const at = bytes.indexOf(`${from}\0`, 'latin1');
    if (at < 0 || to.length > from.length) throw new Error(`${section} has no room for ${to}`);
    bytes.write(to.padEnd(from.length, '\0'), at, 'latin1');
    return this;
  }

  /** As string(), in the first section of constants that has it: compilers put them into one or the other. */
  text(from: string, to: string): this {
    const home = this.#elf.sections.find(
      (section) =>
        section.name.startsWith('.rodata') &&
        Buffer.from(this.#elf.data(section)).includes(`${from}\0`, 0, 'latin1'),
    );
    if (!home) throw new Error(`the fixture has no text ${from}`);
    return this.string(home.name, from, to);
  }

  /** Of a symbol that the module takes from elsewhere. */
  importName(from: string, to: string): this {
    return this.string('.strtab', from, to);
  }

  code(func: string, bytes: readonly number[]): this {
    const { section, value } = this.symbol(func);
    this.bytes.set(bytes, (section as ElfSection).offset + Number(value));
    return this;
  }

  word(section: string, at: number, value: bigint): this {
    this.#view.setBigUint64(this.section(section).offset + at, value, true);
    return this;
  }

  /** A word of an object of data. */
  dataWord(symbol: string, at: number, value: bigint): this {
    return this.u64(this.offsetOf(symbol) + at, value);
  }

  /** A pointer in an object of data is NULL: nothing is put there. */
  withoutPointer(symbol: string, at: number): this {
    const { section, value } = this.symbol(symbol);
    const where = value + BigInt(at);
    for (const rela of this.#elf.relaSections.filter(({ info }) => info === section?.index)) {
      const index = this.#elf.relocations(rela.info).findIndex(({ offset }) => BigInt(offset) === where);
      if (index < 0) continue;
      this.#view.setUint32(rela.offset + RELA_SIZE * index + 8, 0, true);
      return this;
    }
    throw new Error(`nothing is relocated at ${symbol}+${at}`);
  }

  /** Where its bytes are. */
  offsetOf(symbol: string): number {
    const { section, value } = this.symbol(symbol);
    return (section as ElfSection).offset + Number(value);
  }

  u64(at: number, value: bigint): this {
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  /** The stack offset of every row of the ORC table that has one. */
  orcStackOffsets(add: number): this {
    const { offset, size } = this.section('.orc_unwind');
    for (let at = offset; at < offset + size; at += 6) {
      const sp = this.#view.getInt16(at, true);
      if (sp > 0) this.#view.setInt16(at, sp + add, true);
    }
    return this;
  }

  /** The checksum of one of the symbols that it takes. */
  crc(symbol: string): this {
    const { offset, size } = this.section('__versions');
    for (let at = offset; at < offset + size; at += 64) {
      const name = Buffer.from(this.bytes.buffer, at + 8, 56)
        .toString('latin1')
        .split('\0')[0];
      if (name !== symbol) continue;
      this.#view.setUint32(at, this.#view.getUint32(at, true) ^ 1, true);
      return this;
    }
    throw new Error(`no checksum of ${symbol}`);
  }
}
