// What an object says of single instructions, and of rows of its tables, in the two lists that replace most of the
// `.discard.*` sections since 6.13.
// Mirrors read_annotate() of tools/objtool/check.c and include/linux/objtool_types.h.
//
// Invariant: an annotation that is not known is an error. What it would change is not guessed.

import type { ElfObject } from '../elf/elf_object.ts';
import { ANNOTATION } from '../elf/table_rows.ts';
import type { ElfTables } from './elf_tables.ts';
import { type CodeMark, SYM_SECTION } from './input.ts';

/** By number, what is said; what is of no consequence for the stack has no name here. */
const OF_INSTRUCTIONS = [
  undefined,
  'no landing',
  'retpoline safe',
  'instrumentation begins',
  'instrumentation ends',
  'unret begins',
  'arm is ignored',
  'inner call',
  'reachable',
  'no CFI',
] as const;
const OF_DATA = [undefined, 'row'] as const;

type Said = NonNullable<(typeof OF_INSTRUCTIONS)[number] | (typeof OF_DATA)[number]>;

export class Annotations {
  readonly #marks = new Map<Said, CodeMark[]>();

  /** @throws ElfError for one that is about nothing, or of a type that is not known */
  constructor(elf: ElfObject, tables: ElfTables) {
    this.#read(elf, tables, '.discard.annotate_insn', OF_INSTRUCTIONS);
    this.#read(elf, tables, '.discard.annotate_data', OF_DATA);
  }

  /** The places of which that is said. */
  of(said: Said): readonly CodeMark[] {
    return this.#marks.get(said) ?? [];
  }

  #read(elf: ElfObject, tables: ElfTables, name: string, types: readonly (Said | undefined)[]): void {
    for (const section of elf.sectionsNamed(name)) {
      const view = elf.view(section);
      const { size, relocated, type } = ANNOTATION;
      if (view.byteLength % size !== 0) throw elf.error('rows of no known size', name);
      const relocs = tables.relocs(section.index);
      const seen = new Uint8Array(view.byteLength / size);
      for (let i = 0; i < (relocs?.count ?? 0); i++) {
        const at = relocs?.offset[i] ?? 0;
        if (at + size > view.byteLength) throw elf.error('relocation outside its section', name, at);
        if (at % size !== relocated[0]) throw elf.error('rows of no known size', name, at);
        const number = view.getUint32(at + type, true);
        const said = types[number];
        if (said === undefined) throw elf.error(`annotation of type ${number}, which is not known`, name, at);
        seen[at / size] = 1;
        const mark = placeOf(tables, relocs?.symbol[i] ?? 0, relocs?.addend[i] ?? 0);
        const marks = this.#marks.get(said);
        if (!mark) continue;
        if (marks) marks.push(mark);
        else this.#marks.set(said, [mark]);
      }
      const without = seen.indexOf(0);
      if (without >= 0) throw elf.error('annotation of no place', name, without * size);
    }
  }
}

/** Undefined for a symbol of another object. */
export function placeOf({ symbols }: ElfTables, symbol: number, addend: number): CodeMark | undefined {
  const section = symbols.section[symbol];
  if (section <= 0) return undefined;
  const value = symbols.type[symbol] === SYM_SECTION ? 0 : symbols.value[symbol];
  return { section, offset: value + addend };
}
