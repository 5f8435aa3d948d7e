// Entries as lines, in the words of `objtool --dump=orc`.

import type { OrcPort } from '../arch/orc.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { ORC_SIGNAL, unpackOrcEntry } from '../elf/orc.ts';
import type { OrcRows } from './orc_rows.ts';

export function dumpOrc(elf: ElfObject, rows: OrcRows, orc: OrcPort): string[] {
  return Array.from({ length: rows.count }, (_, i) => {
    const signal = rows.flags[i] & ORC_SIGNAL ? ' signal:1' : '';
    const place = `${elf.sections[rows.section[i]].name}+${rows.offset[i].toString(16)}`;
    return `${place}: ${orc.text(unpackOrcEntry(rows, i))}${signal}`;
  });
}
