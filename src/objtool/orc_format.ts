// The bytes of .orc_unwind from rows and back, in any layout that the port knows.

import type { OrcFormat, OrcFormatRule, OrcPort } from '../arch/orc.ts';
import type { ElfObject } from '../elf/elf_object.ts';
import { ORC_IP_SIZE, ORC_SIGNAL, ORC_TYPE_CALL, unpackOrcEntry } from '../elf/orc.ts';
import { ElfTables } from './elf_tables.ts';
import { ObjtoolError } from './error.ts';
import { type OrcRows, OrcRowsBuilder } from './orc_rows.ts';

/** @throws ObjtoolError for a format that the port has not */
export function orcFormatRule(orc: OrcPort, format: OrcFormat): OrcFormatRule {
  const rule = orc.formats.get(format);
  if (!rule) throw new ObjtoolError(`no ORC format '${format}'`);
  return rule;
}

/** The bytes of each row. @throws ObjtoolError */
export function encodeOrc(rows: OrcRows, orc: OrcPort, format: OrcFormat): Uint8Array {
  const rule = orcFormatRule(orc, format);
  const bytes = new Uint8Array(rows.count * rule.size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < rows.count; i++) rule.write(rows, i, view, i * rule.size);
  return bytes;
}

/**
 * The object's own table, read as in `format`; undefined where it has none.
 * @throws ElfError for one that contradicts itself
 */
export function readOrcAs(elf: ElfObject, orc: OrcPort, format: OrcFormat): OrcRows | undefined {
  const [ips, unwind] = [elf.lastSection('.orc_unwind_ip'), elf.lastSection('.orc_unwind')];
  if (!ips || !unwind) return undefined;
  const rule = orcFormatRule(orc, format);
  const tables = ElfTables.of(elf);
  const relocs = tables.relocs(ips.index);
  const count = elf.data(ips).length / ORC_IP_SIZE;
  const entries = elf.view(unwind);
  if (!relocs || relocs.count !== count || entries.byteLength !== count * rule.size) {
    throw elf.error('bad or missing .orc_unwind table', ips.name);
  }
  const { symbols } = tables;
  const rows = new OrcRowsBuilder();
  for (let i = 0; i < count; i++) {
    const symbol = relocs.symbol[i];
    const at = Math.floor(relocs.offset[i] / ORC_IP_SIZE) * rule.size;
    const section = symbols.section[symbol];
    const offset = symbols.value[symbol] + relocs.addend[i];
    if (section <= 0 || offset < 0 || offset > elf.sections[section].size || at >= entries.byteLength) {
      throw elf.error(`entry ${i} is for no place in a section`, ips.name, relocs.offset[i]);
    }
    const row = rows.add(section, offset);
    if (!rule.read(entries, at, rows, row)) {
      throw elf.error(`entry ${i} goes by a register that the unwinder does not know`, unwind.name, at + 4);
    }
    if (!rule.saysSignal && unpackOrcEntry(rows, row).type !== ORC_TYPE_CALL) rows.flags[row] |= ORC_SIGNAL;
  }
  return rows.finish();
}
