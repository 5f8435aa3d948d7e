// The ORC table in memory: for a text address, where the caller's frame is.
// Mirrors arch/x86/include/asm/orc_types.h (6.1) and unwind_module_init() of arch/x86/kernel/unwind_orc.c.
//
// Invariant: `ip` is sorted ascending; of entries with one ip the weak terminators come first,
// so that a search for the rightmost one finds the real entry.

/** Parallel arrays sorted by ip. ip: low 32 bits of the address (high 32 bits are 0xffffffff for all kernel text). */
export interface OrcTable {
  readonly count: number;
  readonly ip: Uint32Array;
  readonly spOffset: Int16Array;
  readonly bpOffset: Int16Array;
  /** The raw 6.1 bitfield: sp_reg:4 bp_reg:4 type:2 end:1. */
  readonly flags: Uint16Array;
}

export const ORC_REG_UNDEFINED = 0;
export const ORC_REG_PREV_SP = 1;
export const ORC_REG_DX = 2;
export const ORC_REG_DI = 3;
export const ORC_REG_BP = 4;
export const ORC_REG_SP = 5;
export const ORC_REG_R10 = 6;
export const ORC_REG_R13 = 7;
export const ORC_REG_BP_INDIRECT = 8;
export const ORC_REG_SP_INDIRECT = 9;

/** UNWIND_HINT_TYPE_* of include/linux/objtool.h, as far as two bits hold them. */
export const ORC_TYPE_CALL = 0;
export const ORC_TYPE_REGS = 1;
export const ORC_TYPE_REGS_PARTIAL = 2;

/** sizeof(struct orc_entry), packed. */
export const ORC_ENTRY_SIZE = 6;
/** One `.orc_unwind_ip` element: a 32-bit distance from itself. */
export const ORC_IP_SIZE = 4;

export const ORC_REG_NAMES: readonly string[] = [
  'undefined',
  'prevsp',
  'dx',
  'di',
  'bp',
  'sp',
  'r10',
  'r13',
  '(bp)',
  '(sp)',
];
const ORC_TYPE_NAMES: readonly string[] = ['call', 'regs', 'regs (partial)'];

export interface OrcEntry {
  readonly spOffset: number;
  readonly bpOffset: number;
  readonly spReg: number;
  readonly bpReg: number;
  readonly type: number;
  readonly end: boolean;
}

export class OrcTableError extends Error {
  readonly code = 'ENOEXEC';
  readonly detail: Readonly<Record<string, number>>;

  constructor(message: string, detail: Readonly<Record<string, number>>) {
    super(message);
    this.name = 'OrcTableError';
    this.detail = detail;
  }
}

export const orcSpReg = (flags: number): number => flags & 0xf;
const orcBpReg = (flags: number): number => (flags >>> 4) & 0xf;
const orcType = (flags: number): number => (flags >>> 8) & 0x3;
const orcEnd = (flags: number): boolean => (flags & 0x400) !== 0;

export function packOrcFlags(spReg: number, bpReg: number, type: number, end: boolean): number {
  return (spReg & 0xf) | ((bpReg & 0xf) << 4) | ((type & 0x3) << 8) | (end ? 0x400 : 0);
}

export function unpackOrcEntry(table: OrcTable, index: number): OrcEntry {
  const flags = table.flags[index];
  return {
    spOffset: table.spOffset[index],
    bpOffset: table.bpOffset[index],
    spReg: orcSpReg(flags),
    bpReg: orcBpReg(flags),
    type: orcType(flags),
    end: orcEnd(flags),
  };
}

/** The six bytes of a `struct orc_entry`, little endian. */
export function packOrcEntry(entry: OrcEntry): Uint8Array {
  const bytes = new Uint8Array(ORC_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, entry.spOffset, true);
  view.setInt16(2, entry.bpOffset, true);
  view.setUint16(4, packOrcFlags(entry.spReg, entry.bpReg, entry.type, entry.end), true);
  return bytes;
}

/** A line as objtool's ORC dump has it, for reports: `sp:sp+8 bp:prevsp-16 type:call end:0`. */
export function formatOrcEntry(entry: OrcEntry): string {
  const place = (reg: number, offset: number): string => {
    const name = ORC_REG_NAMES[reg] ?? `reg${reg}`;
    if (reg === ORC_REG_UNDEFINED) return '(und)';
    if (reg === ORC_REG_BP_INDIRECT) return `(bp${signed(offset)})`; // the offset is inside: bp + offset holds the address
    return `${name}${signed(offset)}`;
  };
  const sp = place(entry.spReg, entry.spOffset);
  const bp = place(entry.bpReg, entry.bpOffset);
  const type = ORC_TYPE_NAMES[entry.type] ?? `type${entry.type}`;
  return `sp:${sp} bp:${bp} type:${type} end:${entry.end ? 1 : 0}`;
}

/** A weak entry ends a section so that there are no gaps; a real entry at the same ip beats it. */
export function isWeakTerminator(flags: number): boolean {
  return orcSpReg(flags) === ORC_REG_UNDEFINED && !orcEnd(flags);
}

/**
 * The table from the bytes of relocated `.orc_unwind_ip` and `.orc_unwind`; `ipBase` is the address
 * of the first byte of `.orc_unwind_ip`. Sorted by the rule of orc_sort_cmp().
 */
export function orcTableFromSections(ip: Uint8Array, ipBase: bigint, orc: Uint8Array): OrcTable {
  const count = ip.length / ORC_IP_SIZE;
  if (ip.length % ORC_IP_SIZE !== 0 || orc.length !== count * ORC_ENTRY_SIZE) {
    throw new OrcTableError('bad or missing .orc_unwind table', {
      ipSize: ip.length,
      orcSize: orc.length,
    });
  }
  const ipView = new DataView(ip.buffer, ip.byteOffset, ip.length);
  const orcView = new DataView(orc.buffer, orc.byteOffset, orc.length);
  const base = Number(BigInt.asUintN(32, ipBase));
  const table = allocate(count);
  for (let i = 0; i < count; i++) {
    table.ip[i] = (base + i * ORC_IP_SIZE + ipView.getInt32(i * ORC_IP_SIZE, true)) >>> 0;
    table.spOffset[i] = orcView.getInt16(i * ORC_ENTRY_SIZE, true);
    table.bpOffset[i] = orcView.getInt16(i * ORC_ENTRY_SIZE + 2, true);
    table.flags[i] = orcView.getUint16(i * ORC_ENTRY_SIZE + 4, true);
  }
  return sortOrcTable(table);
}

/** The table from entries in any order, for generated code and tests. `ip` is masked to 32 bits. */
export function orcTableFromEntries(
  entries: Iterable<OrcEntry & { readonly ip: bigint | number }>,
): OrcTable {
  const list = [...entries];
  const table = allocate(list.length);
  list.forEach((entry, i) => {
    table.ip[i] = typeof entry.ip === 'bigint' ? Number(BigInt.asUintN(32, entry.ip)) : entry.ip >>> 0;
    table.spOffset[i] = entry.spOffset;
    table.bpOffset[i] = entry.bpOffset;
    table.flags[i] = packOrcFlags(entry.spReg, entry.bpReg, entry.type, entry.end);
  });
  return sortOrcTable(table);
}

/** The same table sorted; itself if it is sorted already, as the build leaves vmlinux's. */
export function sortOrcTable(table: OrcTable): OrcTable {
  if (isSorted(table)) return table;
  const { count, ip, flags } = table;
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  order.sort((a, b) => ip[a] - ip[b] || strength(flags[a]) - strength(flags[b]) || a - b);
  const sorted = allocate(count);
  for (let i = 0; i < count; i++) {
    const from = order[i];
    sorted.ip[i] = ip[from];
    sorted.spOffset[i] = table.spOffset[from];
    sorted.bpOffset[i] = table.bpOffset[from];
    sorted.flags[i] = flags[from];
  }
  return sorted;
}

/**
 * Index of the rightmost entry with ip <= the given one, within [first, last]; -1 for an empty table.
 * As in __orc_find() an address before the first entry gets the first entry.
 */
export function orcSearch(ips: Uint32Array, first: number, last: number, ip: number): number {
  if (last < first) return -1;
  let found = first;
  let low = first;
  let high = last;
  while (low <= high) {
    const mid = (low + high) >>> 1;
    if (ips[mid] <= ip) {
      found = mid;
      low = mid + 1;
    } else {
      high = mid - 1;
    }
  }
  return found;
}

function allocate(count: number): OrcTable {
  return {
    count,
    ip: new Uint32Array(count),
    spOffset: new Int16Array(count),
    bpOffset: new Int16Array(count),
    flags: new Uint16Array(count),
  };
}

function isSorted({ count, ip, flags }: OrcTable): boolean {
  for (let i = 1; i < count; i++) {
    if (ip[i - 1] > ip[i]) return false;
    if (ip[i - 1] === ip[i] && strength(flags[i - 1]) > strength(flags[i])) return false;
  }
  return true;
}

const strength = (flags: number): number => (isWeakTerminator(flags) ? 0 : 1);

const signed = (n: number): string => (n < 0 ? `${n}` : `+${n}`);
