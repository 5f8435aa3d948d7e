// Entries as lines, in the words of `objtool --dump=orc`.

import type { ElfObject } from '../elf/elf_object.ts';
import { formatOrcEntry } from '../elf/orc.ts';
import { ORC_SIGNAL, type OrcRows } from './orc_rows.ts';

export function dumpOrc(elf: ElfObject, rows: OrcRows): string[] {
  return Array.from({ length: rows.count }, (_, i) => {
    const flags = rows.flags[i];
    const entry = formatOrcEntry({
      spOffset: rows.spOffset[i],
      bpOffset: rows.bpOffset[i],
      spReg: flags & 0xf,
      bpReg: (flags >> 4) & 0xf,
      type: (flags >> 8) & 3,
      end: (flags & 0x400) !== 0,
    });
    const signal = flags & ORC_SIGNAL ? ' signal:1' : '';
    return `${elf.sections[rows.section[i]].name}+${rows.offset[i].toString(16)}: ${entry}${signal}`;
  });
}
