// .modinfo and __versions of a member, made from the uber module's.

import type { ElfObject, ElfSection } from '../../elf/elf_object.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { exportCrc } from './names.ts';

/**
 * @param depends modules that it needs beside the uber module's
 * @param parameters those that it has
 */
export function memberModInfo(
  data: Uint8Array,
  module: string,
  depends: readonly string[],
  parameters: ReadonlySet<string>,
): Uint8Array {
  const strings = Buffer.from(data).toString('latin1').split('\0');
  const kept = strings.flatMap((text) => {
    const [tag, value] = splitAt(text, '=');
    if (tag === '') return [];
    if (tag === 'name') return [`name=${module}`];
    if (tag === 'depends') return [`depends=${[value, ...depends].filter(Boolean).join(',')}`];
    if ((tag === 'parm' || tag === 'parmtype') && !parameters.has(splitAt(value, ':')[0])) return [];
    return [text];
  });
  return new Uint8Array(Buffer.from(`${kept.join('\0')}\0`, 'latin1'));
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** Checksums of what it imports, and of what it imports from its bundle. @throws ElfError */
export function memberVersions(
  elf: ElfObject,
  section: ElfSection,
  { structs }: KernelDescription,
  imports: ReadonlySet<string>,
  shared: ReadonlySet<string>,
): Uint8Array {
  const { size, fields } = structs.modversion_info;
  const bytes = elf.data(section);
  const rows: Uint8Array[] = [];
  for (let at = 0; at + size <= bytes.length; at += size) {
    const name = elf.stringAt(section, at + fields.name);
    if (name === 'module_layout' || imports.has(name)) rows.push(bytes.subarray(at, at + size));
  }
  for (const name of shared) {
    const row = new Uint8Array(size);
    new DataView(row.buffer).setBigUint64(fields.crc, BigInt(exportCrc(name)), true);
    row.set(Buffer.from(name, 'latin1'), fields.name);
    rows.push(row);
  }
  return new Uint8Array(Buffer.concat(rows));
}
