// Names of members, and of what they export to each other.

import { crc32 as checksum } from '../../unpack/checks.ts';

/** The object without a name. */
export const UNNAMED_KERNEL = 'vmlinux';

/** MODULE_NAME_LEN, less the NUL. */
export const LONGEST_NAME = 55;

/** As kbuild names modules. */
export const memberName = (bundle: string, object: string): string =>
  `${bundle.replace(/[^\w]/g, '_')}_${object}`;

/** What a member exports to those of its bundle is named after that; as long as a row of __versions has room for. */
export function exportName(bundle: string, label: string): string {
  const name = `${bundle}.${label}`;
  return name.length <= LONGEST_EXPORT ? name : `${name.slice(0, LONGEST_EXPORT - 9)}.${hex(crc32(name))}`;
}

/** A number for what an export is to those who use it, as genksyms makes one of its type. */
export const exportCrc = (name: string): number => crc32(name);

const LONGEST_EXPORT = 50;
const crc32 = (text: string): number => checksum(Buffer.from(text, 'latin1'));
const hex = (value: number): string => value.toString(16).padStart(8, '0');
