// The object file that a member becomes, while it is put together: sections, symbols, and which of the uber module's each
// of them is.

import type { CodeArch } from '../../arch/code.ts';
import { SHF_ALLOC, SHF_WRITE, SHT_PROGBITS, STB_LOCAL, STT_SECTION } from '../../elf/constants.ts';
import type { ElfObject, ElfSection, ElfSymbol } from '../../elf/elf_object.ts';
import { type NewRelocation, type NewSection, type NewSymbol, writeObject } from '../../elf/object_writer.ts';

export interface Part extends NewSection {
  readonly relocations: NewRelocation[];
}

/** What a relocation of the member is against. */
export type Target = Pick<NewRelocation, 'symbol' | 'addend'>;

export class MemberObject {
  readonly parts: Part[] = [];
  readonly symbols: NewSymbol[] = [];
  /** By index in the uber module. */
  readonly partOf = new Map<number, Part>();
  readonly symbolOf = new Map<number, NewSymbol>();
  /** Of what is not in the member, by name. */
  readonly imports = new Map<string, NewSymbol>();
  readonly #sectionSymbols = new Map<Part, NewSymbol>();
  readonly #code: CodeArch;

  constructor(code: CodeArch) {
    this.#code = code;
  }

  /** @param index of the section of the uber module that it stands for @param size of one without bytes */
  addPart(
    section: Pick<ElfSection, 'name' | 'type' | 'flags' | 'align' | 'entsize'>,
    data: Uint8Array,
    index?: number,
    size?: number,
  ): Part {
    const { name, type, flags, align, entsize } = section;
    const sized = size === undefined ? {} : { size };
    const part = { name, type, flags, align, entsize, data, relocations: [], ...sized };
    this.parts.push(part);
    if (index !== undefined) this.partOf.set(index, part);
    return part;
  }

  /** A section without relocations that has to be somewhere. */
  addData(name: string, align: number, data: Uint8Array): Part {
    return this.addPart({ name, type: SHT_PROGBITS, flags: SHF_ALLOC, align, entsize: 0 }, data);
  }

  /** A table of livepatch's structures. */
  addTable(name: string, size: number): { part: Part; add: (offset: number, target: Target) => void } {
    const flags = SHF_ALLOC | SHF_WRITE;
    const part = this.addPart(
      { name, type: SHT_PROGBITS, flags, align: 32, entsize: 0 },
      new Uint8Array(size),
    );
    const type = this.#code.wholeAddress;
    return { part, add: (offset, target) => part.relocations.push({ ...target, offset, type }) };
  }

  /** One of the uber module's, elsewhere. */
  addSymbol(
    { index, name, bind, type, size }: ElfSymbol,
    section: NewSection | number,
    value: bigint,
  ): NewSymbol {
    const symbol = { name, bind, type, section, value, size };
    this.symbols.push(symbol);
    this.symbolOf.set(index, symbol);
    return symbol;
  }

  sectionSymbol(part: Part): NewSymbol {
    let symbol = this.#sectionSymbols.get(part);
    if (!symbol) {
      symbol = { name: '', bind: STB_LOCAL, type: STT_SECTION, section: part, value: 0n, size: 0 };
      this.#sectionSymbols.set(part, symbol);
    }
    return symbol;
  }

  import(name: string, bind: number, section: number, value = 0n): NewSymbol {
    let symbol = this.imports.get(name);
    if (!symbol) {
      symbol = { name, bind, type: 0, section, value, size: 0 };
      this.imports.set(name, symbol);
      this.symbols.push(symbol);
    }
    return symbol;
  }

  /** Sections in the order of the uber module, those that were made here last. */
  write(file: string, elf: ElfObject): Uint8Array {
    const order = new Map([...this.partOf].map(([index, part]) => [part, index]));
    const last = elf.sections.length;
    const parts = [...this.parts].sort((a, b) => (order.get(a) ?? last) - (order.get(b) ?? last));
    return writeObject(file, elf.bytes, parts, [...this.#sectionSymbols.values(), ...this.symbols]);
  }
}
