// The tables that an unwinder goes by, as an object has them.

import type { ElfObject } from '../elf/elf_object.ts';
import { readDwarfFrames } from '../frames/dwarf.ts';
import type { ObjectFrames } from '../frames/rows.ts';
import { readSFrame } from '../frames/sframe.ts';
import { TABLES } from './target.ts';
import type { Unwinder } from './verdicts.ts';

interface Tables {
  /** In words, for who misses them. */
  readonly name: string;
  /** Sections that one of is enough; none where no table is needed. */
  readonly sections: readonly string[];
  /** Of tables that are rows of src/frames. undefined where the object has none. @throws ElfError */
  readonly read?: (elf: ElfObject) => ObjectFrames | undefined;
}

const { registers, sframe } = TABLES;

const TABLES_OF: Readonly<Record<Unwinder, Tables>> = {
  orc: { name: '.orc_unwind table', sections: ['.orc_unwind', '.orc_unwind_ip'] },
  fp: { name: 'frame pointers', sections: [] },
  sframe: {
    name: '.sframe table',
    sections: ['.sframe'],
    read: (elf) => readSFrame(elf, sframe, registers),
  },
  dwarf: {
    name: '.eh_frame or .debug_frame table',
    sections: ['.eh_frame', '.debug_frame'],
    read: (elf) => readDwarfFrames(elf, registers),
  },
};

/** undefined for unwinders that go by no such table. @throws ElfError where there is none, or it cannot be read */
export function readFrames(elf: ElfObject, unwinder: Unwinder): ObjectFrames | undefined {
  const { read, name } = TABLES_OF[unwinder];
  if (!read) return undefined;
  const found = read(elf);
  if (!found) throw elf.error(`no ${name} to check`);
  return found;
}

/** Bytes of the tables that the unwinder needs; undefined where it needs some and there are none. */
export function tableBytes(elf: ElfObject, unwinder: Unwinder): number | undefined {
  const { sections } = TABLES_OF[unwinder];
  const found = sections.flatMap((name) => elf.sectionsNamed(name)).filter((section) => section.size > 0);
  if (sections.length > 0 && found.length === 0) return undefined;
  return found.reduce((sum, { size }) => sum + size, 0);
}
