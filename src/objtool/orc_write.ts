// ORC sections into a copy of an object.
// Mirrors write_orc_entry() of tools/objtool/orc_gen.c: each ip is a relocation against the section's symbol.

import type { CodeArch } from '../arch/code.ts';
import type { OrcFormat } from '../arch/orc.ts';
import { RELA_SIZE, SHF_ALLOC, SHT_PROGBITS, SHT_RELA } from '../elf/constants.ts';
import type { ElfObject, ElfSection } from '../elf/elf_object.ts';
import { rewriteElf, type SectionChange } from '../elf/elf_writer.ts';
import { ORC_IP_SIZE } from '../elf/orc.ts';
import { kernelVersion } from './elf_input.ts';
import { ElfTables } from './elf_tables.ts';
import { ObjtoolError } from './error.ts';
import { SYM_SECTION } from './input.ts';
import { encodeOrc, orcFormatRule } from './orc_format.ts';
import type { OrcRows } from './orc_rows.ts';

/** The object, in pieces, with these entries in place of those it has. @throws ObjtoolError where a section has no symbol */
export function writeOrc(elf: ElfObject, rows: OrcRows, format: OrcFormat, arch: CodeArch): Uint8Array[] {
  const { symtab } = elf;
  if (!symtab) throw new ObjtoolError(`${elf.file}: no symbol table to relocate ORC entries by`);
  // Of several the last: it is the one that the kernel reads.
  const [orc, ip] = [elf.lastSection('.orc_unwind'), elf.lastSection('.orc_unwind_ip')];
  const rela = ip && elf.relaSections.find((s) => s.info === ip.index);
  const plain = { flags: SHF_ALLOC, type: SHT_PROGBITS, align: 1, entsize: 0 };
  const changes: SectionChange[] = [
    { ...plain, ...at(orc), name: '.orc_unwind', data: encodeOrc(rows, arch.orc, format) },
    { ...plain, ...at(ip), name: '.orc_unwind_ip', data: new Uint8Array(rows.count * ORC_IP_SIZE) },
    {
      ...at(rela),
      name: '.rela.orc_unwind_ip',
      type: SHT_RELA,
      flags: SHF_INFO_LINK,
      align: 8,
      entsize: RELA_SIZE,
      data: relocations(elf, rows, arch.distance),
      linkIndex: symtab.index,
      ...(ip ? { infoIndex: ip.index } : { info: '.orc_unwind_ip' }),
    },
  ];
  const header = orcFormatRule(arch.orc, format).hash;
  // Linking a module puts it there; an object before that has none.
  if (header && kernelVersion(elf) !== undefined && !elf.section('.orc_header')) {
    changes.push({
      ...plain,
      name: '.orc_header',
      align: 4,
      data: Uint8Array.from(Buffer.from(header, 'hex')),
    });
  }
  return rewriteElf(elf, changes);
}

const at = (section: ElfSection | undefined) => (section ? { index: section.index } : {});

const SHF_INFO_LINK = 0x40;

/** @param type counts from the field itself */
function relocations(elf: ElfObject, rows: OrcRows, type: number): Uint8Array {
  const bases = baseSymbols(elf);
  const bytes = new Uint8Array(rows.count * RELA_SIZE);
  const words = new Int32Array(bytes.buffer);
  for (let i = 0, w = 0; i < rows.count; i++, w += RELA_SIZE / 4) {
    const base = bases.get(rows.section[i]);
    if (!base) {
      const name = elf.sections[rows.section[i]].name;
      throw new ObjtoolError(`${elf.file}: section ${name} has no symbol to relocate ORC entries by`);
    }
    const addend = rows.offset[i] - base.value;
    words[w] = i * ORC_IP_SIZE;
    words[w + 2] = type;
    words[w + 3] = base.symbol;
    words[w + 4] = addend;
    words[w + 5] = addend >> 31;
  }
  return bytes;
}

/** By section the symbol that its places are counted from: its own, or else any of its symbols. */
function baseSymbols(elf: ElfObject): Map<number, { symbol: number; value: number }> {
  const { count, section, type, value } = ElfTables.of(elf).symbols;
  const bases = new Map<number, { symbol: number; value: number }>();
  for (let s = 1; s < count; s++) {
    if (section[s] <= 0) continue;
    if (type[s] === SYM_SECTION || !bases.has(section[s]))
      bases.set(section[s], { symbol: s, value: value[s] });
  }
  return bases;
}
