// What a kernel exports to modules: names, addresses, checksums, and who may use them.
// Mirrors include/linux/export.h and what scripts/mod/modpost.c writes, from 6.1 to 7.3.
//
// Invariant: every row of the tables is returned, with a name that stands in the file, or there is an error.

import type { KernelSection, LinkedKernel } from './linked_kernel.ts';

export interface KernelExport {
  readonly name: string;
  /** Low half; of a per-CPU symbol that is linked at zero, its offset. */
  readonly address: number;
  readonly gpl: boolean;
  /** '' for none. */
  readonly namespace: string;
  /** undefined in a kernel without CONFIG_MODVERSIONS. */
  readonly crc?: number;
}

const ROW = 12;
const KFLAG_GPL = 1;
/** Each with its checksums; the flags are in a table of their own from 7.x on. */
const TABLES = [
  { rows: '__ksymtab', crcs: '__kcrctab', gpl: false },
  { rows: '__ksymtab_gpl', crcs: '__kcrctab_gpl', gpl: true },
] as const;

/** None in a kernel without CONFIG_MODULES. @throws ElfError */
export function readExports(kernel: LinkedKernel): KernelExport[] {
  return TABLES.flatMap(({ rows, crcs, gpl }) => {
    const section = kernel.section(rows);
    return section ? tableOf(kernel, section, kernel.section(crcs), gpl) : [];
  });
}

function tableOf(
  kernel: LinkedKernel,
  section: KernelSection,
  crcs: KernelSection | undefined,
  gpl: boolean,
): KernelExport[] {
  const view = viewOf(kernel.data(section));
  const count = Math.floor(view.byteLength / ROW);
  const sums = crcs && viewOf(kernel.data(crcs));
  if (sums && sums.byteLength < 4 * count)
    throw kernel.error(`${count} exports, and checksums of ${sums.byteLength >> 2}`, crcs?.name);
  const flags = gpl ? undefined : kernel.section('__kflagstab');
  const flagBytes = flags && kernel.data(flags);
  if (flagBytes && flagBytes.length < count)
    throw kernel.error(`${count} exports, and flags of ${flagBytes.length}`, flags?.name);
  return Array.from({ length: count }, (_, i) => {
    const at = ROW * i;
    // Each is the distance from where it stands.
    const target = (from: number): number => (section.start + from + view.getInt32(from, true)) >>> 0;
    const text = (from: number): string => {
      const found = stringAt(kernel, target(from));
      if (found === undefined) throw kernel.error(`export ${i} has no name`, section.name, from);
      return found;
    };
    return {
      name: text(at + 4),
      address: target(at),
      gpl: gpl || ((flagBytes?.[i] ?? 0) & KFLAG_GPL) !== 0,
      namespace: view.getInt32(at + 8, true) === 0 ? '' : text(at + 8),
      ...(sums ? { crc: sums.getUint32(4 * i, true) } : {}),
    };
  });
}

function stringAt(kernel: LinkedKernel, address: number): string | undefined {
  const section = kernel.at(address);
  if (!section) return undefined;
  const data = kernel.data(section);
  const from = address - section.start;
  const end = data.indexOf(0, from);
  if (from >= data.length || end < 0) return undefined;
  return Buffer.from(data.buffer, data.byteOffset + from, end - from).toString('latin1');
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
