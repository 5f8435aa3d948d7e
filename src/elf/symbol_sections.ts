// Which section a symbol is in: st_shndx, or where that is SHN_XINDEX the 32 bits that SHT_SYMTAB_SHNDX has for it.

import { SHN_LORESERVE, SHN_XINDEX, SHT_SYMTAB_SHNDX } from './constants.ts';
import type { ElfSection } from './sections.ts';

/** The sections of a file, and their bytes. */
interface Sections {
  readonly sections: readonly ElfSection[];
  view(section: ElfSection): DataView;
}

export class SymbolSections {
  readonly #extended: DataView | undefined;

  constructor(elf: Sections, symtab: ElfSection) {
    const table = elf.sections.find((s) => s.type === SHT_SYMTAB_SHNDX && s.link === symtab.index);
    this.#extended = table && elf.view(table);
  }

  /** Index of the section of a symbol, -1 for none; it need not exist. */
  of(symbol: number, shndx: number): number {
    if (shndx === SHN_XINDEX && this.#extended && symbol * 4 + 4 <= this.#extended.byteLength) {
      return this.#extended.getUint32(symbol * 4, true);
    }
    return shndx === 0 || shndx >= SHN_LORESERVE ? -1 : shndx;
  }
}
