// The ORC table in memory: for a text address, where the caller's frame is.
// Mirrors what asm/orc_types.h of every architecture with ORC has, and unwind_module_init() of its unwind_orc.c.
//
// Invariant: `ip` is sorted ascending; of entries with one ip the weak terminators come first,
// so that a search for the rightmost one finds the real entry.

/** What entries say, a row each: where the caller's stack pointer and the caller's frame pointer are. */
export interface OrcColumns {
  readonly spOffset: Int16Array;
  readonly fpOffset: Int16Array;
  /** spReg:4 fpReg:4 type:2 end:1 signal:1, whatever the layout of the kernel's own entries. */
  readonly flags: Uint16Array;
}

/** Parallel arrays sorted by ip. ip: low 32 bits of the address (high 32 bits are 0xffffffff for all kernel text). */
export interface OrcTable extends OrcColumns {
  readonly count: number;
  readonly ip: Uint32Array;
}

/** struct orc_entry of a kernel. */
export interface OrcLayout {
  /** Bytes, packed. */
  readonly size: number;
  /**
   * Takes the entry at an offset into a row. False for one that goes by a register which rows have no number for: the
   * row then has one that no unwinder knows.
   */
  read(bytes: DataView, at: number, into: OrcColumns, row: number): boolean;
  write(from: OrcColumns, row: number, bytes: DataView, at: number): void;
}

/** Numbers of registers in rows are the port's, but for these. */
export const ORC_REG_UNDEFINED = 0;
export const ORC_REG_PREV_SP = 1;

/** UNWIND_HINT_TYPE_* of include/linux/objtool.h, as far as two bits hold them. */
export const ORC_TYPE_CALL = 0;
export const ORC_TYPE_REGS = 1;
export const ORC_TYPE_REGS_PARTIAL = 2;

/** The last frame of a stack. */
export const ORC_END = 0x400;
/** An interrupt frame: the address it gives is not a return address. Of 6.3 and later. */
export const ORC_SIGNAL = 0x800;

/** One `.orc_unwind_ip` element: a 32-bit distance from itself. */
export const ORC_IP_SIZE = 4;

export interface OrcEntry {
  readonly spOffset: number;
  readonly fpOffset: number;
  readonly spReg: number;
  readonly fpReg: number;
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
const orcFpReg = (flags: number): number => (flags >>> 4) & 0xf;
const orcType = (flags: number): number => (flags >>> 8) & 0x3;
const orcEnd = (flags: number): boolean => (flags & ORC_END) !== 0;

export function packOrcFlags(spReg: number, fpReg: number, type: number, end: boolean): number {
  return (spReg & 0xf) | ((fpReg & 0xf) << 4) | ((type & 0x3) << 8) | (end ? ORC_END : 0);
}

export function unpackOrcEntry(table: OrcColumns, index: number): OrcEntry {
  const flags = table.flags[index];
  return {
    spOffset: table.spOffset[index],
    fpOffset: table.fpOffset[index],
    spReg: orcSpReg(flags),
    fpReg: orcFpReg(flags),
    type: orcType(flags),
    end: orcEnd(flags),
  };
}

/** A weak entry ends a section so that there are no gaps; a real entry at the same ip beats it. */
export function isWeakTerminator(flags: number): boolean {
  return orcSpReg(flags) === ORC_REG_UNDEFINED && !orcEnd(flags);
}

/**
 * The table from the bytes of relocated `.orc_unwind_ip` and `.orc_unwind`; `ipBase` is the address
 * of the first byte of `.orc_unwind_ip`. Sorted by the rule of orc_sort_cmp(). @throws OrcTableError
 */
export function orcTableFromSections(
  ip: Uint8Array,
  ipBase: bigint,
  orc: Uint8Array,
  layout: OrcLayout,
): OrcTable {
  const count = ip.length / ORC_IP_SIZE;
  if (ip.length % ORC_IP_SIZE !== 0 || orc.length !== count * layout.size) {
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
    layout.read(orcView, i * layout.size, table, i);
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
    table.fpOffset[i] = entry.fpOffset;
    table.flags[i] = packOrcFlags(entry.spReg, entry.fpReg, entry.type, entry.end);
  });
  return sortOrcTable(table);
}

/** The same table sorted; itself if it is sorted already, as the build leaves vmlinux's. */
export function sortOrcTable(table: OrcTable): OrcTable {
  if (isSorted(table)) return table;
  const { count, ip, flags } = table;
  const order = orderOf(table);
  const sorted = allocate(count);
  for (let i = 0; i < count; i++) {
    const from = order[i];
    sorted.ip[i] = ip[from];
    sorted.spOffset[i] = table.spOffset[from];
    sorted.fpOffset[i] = table.fpOffset[from];
    sorted.flags[i] = flags[from];
  }
  return sorted;
}

/** Numbers sort many times faster than by a comparison: address above, then strength, then the place in the table. */
function orderOf({ count, ip, flags }: OrcTable): Uint32Array {
  const order = new Uint32Array(count);
  if (count > MOST_KEYS) {
    for (let i = 0; i < count; i++) order[i] = i;
    return order.sort((a, b) => ip[a] - ip[b] || strength(flags[a]) - strength(flags[b]) || a - b);
  }
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) keys[i] = (ip[i] * 2 + strength(flags[i])) * MOST_KEYS + i;
  keys.sort();
  for (let i = 0; i < count; i++) order[i] = keys[i] % MOST_KEYS;
  return order;
}

/** Rows that fit a key below an address of 32 bits. */
const MOST_KEYS = 2 ** 20;

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
    fpOffset: new Int16Array(count),
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
