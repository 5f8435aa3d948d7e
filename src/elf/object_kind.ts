// What an object is that was read and has nothing to look at: its kind, and the way to what was meant.

import { SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS } from './constants.ts';
import type { ElfObject } from './elf_object.ts';

/** The kind of an object that has nothing to look at; undefined for one that has. */
export function objectKind(elf: ElfObject): string | undefined {
  const code = elf.sections.filter((s) => s.flags & SHF_EXECINSTR && s.flags & SHF_ALLOC && s.size > 0);
  if (code.length > 0 && code.every((s) => s.type === SHT_NOBITS)) {
    return 'debug information alone (objcopy --only-keep-debug); the object that it belongs to has the code';
  }
  const isLto = elf.sections.some(({ name }) => name.startsWith('.gnu.lto_'));
  if (isLto && code.length === 0) {
    return "an object of gcc's LTO (-flto) without code, which is made when the module is linked";
  }
  return elf.symtab ? undefined : 'stripped (no symbol table): nothing tells where its functions are';
}
