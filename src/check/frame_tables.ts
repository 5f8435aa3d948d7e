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
  /** undefined where the object has none. @throws ElfError */
  readonly read: ((elf: ElfObject) => ObjectFrames | undefined) | undefined;
  /** Sections that an unwinder of the kind needs, for their sizes. */
  readonly sections: readonly string[];
}

const { registers, sframe } = TABLES;

const TABLES_OF: Readonly<Record<Unwinder, Tables>> = {
  orc: { name: '.orc_unwind table', read: undefined, sections: ['.orc_unwind', '.orc_unwind_ip'] },
  fp: { name: 'frame pointers', read: undefined, sections: [] },
  sframe: {
    name: '.sframe table',
    read: (elf) => readSFrame(elf, sframe, registers),
    sections: ['.sframe'],
  },
  dwarf: {
    name: '.eh_frame or .debug_frame table',
    read: (elf) => readDwarfFrames(elf, registers),
    sections: ['.eh_frame', '.debug_frame'],
  },
};

export function readFrames(elf: ElfObject, unwinder: Unwinder): ObjectFrames | undefined {
  const { read, name } = TABLES_OF[unwinder];
  if (!read) return undefined;
  const found = read(elf);
  if (!found) throw elf.error(`no ${name} to check`);
  return found;
}
