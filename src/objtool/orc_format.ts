// The bytes of .orc_unwind, of every kernel that has them.
// Mirrors struct orc_entry of arch/x86/include/asm/orc_types.h in 6.1, 6.3, 6.4 and 7.2.
//
// | since | 16 bits after the two offsets |
// | ----- | ----------------------------- |
// | 4.14  | sp_reg:4 bp_reg:4 type:2 end:1 |
// | 6.3   | sp_reg:4 bp_reg:4 type:2 signal:1 end:1 |
// | 6.4   | sp_reg:4 bp_reg:4 type:3 signal:1; types undefined and end of stack take over from sp_reg 0 and `end` |
// | 7.2   | the same; other numbers of the registers |

import type { ElfObject } from '../elf/elf_object.ts';
import { ORC_ENTRY_SIZE, ORC_IP_SIZE } from '../elf/orc.ts';
import { ElfTables } from './elf_tables.ts';
import type { OrcFormat } from './orc_formats.ts';
import { ORC_SIGNAL, type OrcRows, OrcRowsBuilder } from './orc_rows.ts';

const END = 0x400;
const TYPE_6_4_END = 1;
/** ORC_TYPE_CALL of 6.4, from which the types of 6.1 follow in the same order. */
const TYPE_6_4_CALL = 2;
/** By register of 6.1 that of 7.2, whose number 1 (ax) 6.1 has not. */
const TO_7_2 = [0, 8, 2, 5, 4, 3, 6, 7, 10, 9];
const NONE = 15;
const FROM_7_2 = Array.from({ length: 16 }, (_, i) => (TO_7_2.includes(i) ? TO_7_2.indexOf(i) : NONE));

interface FormatRule {
  encode(flags: number): number;
  decode(raw: number): number;
}

const SINCE_6_4: FormatRule = {
  encode: (flags) => {
    if ((flags & 0xf) === 0) return flags & END ? TYPE_6_4_END << 8 : 0;
    return (flags & 0xff) | ((((flags >> 8) & 3) + TYPE_6_4_CALL) << 8) | (flags & ORC_SIGNAL ? 0x800 : 0);
  },
  decode: (raw) => {
    const type = (raw >> 8) & 7;
    if (type < TYPE_6_4_CALL) return type === TYPE_6_4_END ? END : 0;
    return (raw & 0xff) | (((type - TYPE_6_4_CALL) & 3) << 8) | (raw & 0x800 ? ORC_SIGNAL : 0);
  },
};

/** The same bits with both registers by other numbers. */
const renumber = (bits: number, numbers: readonly number[]): number =>
  (bits & ~0xff) | numbers[bits & 0xf] | (numbers[(bits >> 4) & 0xf] << 4);

const RULES: Readonly<Record<OrcFormat, FormatRule>> = {
  '6.1': { encode: (flags) => flags & 0x7ff, decode: (raw) => raw & 0x7ff },
  '6.3': {
    encode: (flags) => (flags & 0x3ff) | (flags & ORC_SIGNAL ? 0x400 : 0) | (flags & END ? 0x800 : 0),
    decode: (raw) => (raw & 0x3ff) | (raw & 0x400 ? ORC_SIGNAL : 0) | (raw & 0x800 ? END : 0),
  },
  '6.4': SINCE_6_4,
  '7.2': {
    encode: (flags) => SINCE_6_4.encode(renumber(flags, TO_7_2)),
    decode: (raw) => renumber(SINCE_6_4.decode(raw), FROM_7_2),
  },
};

/** The number that 6.1 has for a register of a format. */
export function orcRegister(number: number, format: OrcFormat): number {
  return format === '7.2' ? (FROM_7_2[number] ?? NONE) : number;
}

/** The six bytes of each row. */
export function encodeOrc(rows: OrcRows, format: OrcFormat): Uint8Array {
  const bytes = new Uint8Array(rows.count * ORC_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  const { encode } = RULES[format];
  for (let i = 0, at = 0; i < rows.count; i++, at += ORC_ENTRY_SIZE) {
    view.setInt16(at, rows.spOffset[i], true);
    view.setInt16(at + 2, rows.bpOffset[i], true);
    view.setUint16(at + 4, encode(rows.flags[i]), true);
  }
  return bytes;
}

/** The object's own table, read as in `format`; undefined where it has none. @throws ElfError for one that contradicts itself */
export function readOrcAs(elf: ElfObject, format: OrcFormat): OrcRows | undefined {
  const [ips, orc] = [elf.lastSection('.orc_unwind_ip'), elf.lastSection('.orc_unwind')];
  if (!ips || !orc) return undefined;
  const tables = ElfTables.of(elf);
  const relocs = tables.relocs(ips.index);
  const count = elf.data(ips).length / ORC_IP_SIZE;
  const entries = elf.view(orc);
  if (!relocs || relocs.count !== count || entries.byteLength !== count * ORC_ENTRY_SIZE) {
    throw elf.error('bad or missing .orc_unwind table', ips.name);
  }
  const { decode } = RULES[format];
  const { symbols } = tables;
  const rows = new OrcRowsBuilder();
  for (let i = 0; i < count; i++) {
    const symbol = relocs.symbol[i];
    const at = Math.floor(relocs.offset[i] / ORC_IP_SIZE) * ORC_ENTRY_SIZE;
    const section = symbols.section[symbol];
    const offset = symbols.value[symbol] + relocs.addend[i];
    if (section <= 0 || offset < 0 || offset > elf.sections[section].size || at >= entries.byteLength) {
      throw elf.error(`entry ${i} is for no place in a section`, ips.name, relocs.offset[i]);
    }
    const flags = decode(entries.getUint16(at + 4, true));
    if (format === '7.2' && (flags & 0xf) === NONE) {
      throw elf.error(`entry ${i} goes by a register that the unwinder does not know`, orc.name, at + 4);
    }
    rows.add(section, offset, entries.getInt16(at, true), entries.getInt16(at + 2, true), flags);
  }
  return rows.finish();
}
