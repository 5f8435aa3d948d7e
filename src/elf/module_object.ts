// What an object file says of the module in it: its struct module, and what it takes from elsewhere.
// Mirrors what modpost writes into NAME.mod.c.
//
// Nothing here is relocated: a pointer is the symbol and addend that its relocation names.

import { SHN_UNDEF } from './constants.ts';
import type { ElfObject, ElfSection, ElfSymbol } from './elf_object.ts';

export const THIS_MODULE_SECTION = '.gnu.linkonce.this_module';

/** A pointer in an object file. */
export interface ElfPointer {
  readonly symbol: ElfSymbol;
  readonly addend: bigint;
}

/** Offsets of members of struct module, and how long a name may be; they differ between kernel builds. */
interface ModuleOffsets {
  /** MODULE_NAME_LEN */
  readonly nameLength: number;
  readonly name: number;
  readonly init: number;
  readonly exit: number;
}

interface ThisModule {
  readonly section: ElfSection;
  readonly name: string;
  readonly init: ElfPointer | undefined;
  readonly exit: ElfPointer | undefined;
}

/** The struct module of the object; undefined when it is not a module. @throws ElfError */
export function readThisModule(elf: ElfObject, offsets: ModuleOffsets): ThisModule | undefined {
  const section = elf.section(THIS_MODULE_SECTION);
  if (!section) return undefined;
  const data = elf.data(section);
  const field = data.subarray(offsets.name, offsets.name + offsets.nameLength);
  if (field.length < offsets.nameLength) {
    throw elf.error(`struct module of ${data.length} bytes has no room for a name`, section.name);
  }
  if (field.indexOf(0) < 0) throw elf.error("module name isn't null terminated", section.name, offsets.name);
  return {
    section,
    name: elf.stringAt(section, offsets.name),
    init: pointerAt(elf, section, offsets.init),
    exit: pointerAt(elf, section, offsets.exit),
  };
}

/** The pointer that a relocation puts at an offset of a section; undefined for none. */
export function pointerAt(elf: ElfObject, section: ElfSection, offset: number): ElfPointer | undefined {
  const found = elf.relocations(section.index).find((r) => r.offset === offset);
  return found && { symbol: found.symbol, addend: found.addend };
}

/** Symbols that the object takes from elsewhere, in symbol table order. */
export function undefinedSymbols(elf: ElfObject): readonly ElfSymbol[] {
  return elf.symbols.filter((s) => s.index > 0 && s.shndx === SHN_UNDEF && s.name !== '');
}
