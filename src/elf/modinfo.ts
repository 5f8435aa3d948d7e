// The tag=value strings of .modinfo.
// Mirrors get_modinfo(), get_next_modinfo() and next_string() of kernel/module/main.c.

import type { ElfObject } from './elf_object.ts';

export class ModInfo {
  /** Every tag and value in file order; a string without '=' has an empty value. */
  readonly entries: readonly (readonly [string, string])[];

  constructor(entries: readonly (readonly [string, string])[]) {
    this.entries = entries;
  }

  /** The first value of a tag. */
  get(tag: string): string | undefined {
    return this.entries.find(([t]) => t === tag)?.[1];
  }

  getAll(tag: string): readonly string[] {
    return this.entries.filter(([t]) => t === tag).map(([, value]) => value);
  }

  has(tag: string): boolean {
    return this.get(tag) !== undefined;
  }
}

/** The object's .modinfo; an empty one if it has none. @throws ElfError on an unterminated string */
export function readModInfo(elf: ElfObject): ModInfo {
  const section = elf.section('.modinfo');
  if (!section) return new ModInfo([]);
  const data = elf.data(section);
  if (data.length > 0 && data[data.length - 1] !== 0) {
    throw elf.error("module information isn't null terminated", section.name, data.length - 1);
  }
  // Authors and descriptions may hold UTF-8.
  const strings = new TextDecoder().decode(data).split('\0');
  const entries = strings.filter((s) => s !== '').map((s): [string, string] => splitTag(s));
  return new ModInfo(entries);
}

function splitTag(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
