// An object file or module as input for the ORC generator: functions, relocated branches,
// and the ways that special sections add.
// Mirrors the reading half of tools/objtool: elf.c and special.c, without alternatives.

import { STT_FUNC, STT_SECTION } from '../elf/constants.ts';
import type { ElfObject, ElfRelocation, ElfSection } from '../elf/elf_object.ts';
import type { BranchTarget, CodeMark, CodeSection, CodeSymbol, ObjtoolInput } from './input.ts';

const SHF_EXECINSTR = 4;
const STB_LOCAL = 0;
/** sizeof(struct jump_entry), struct bug_entry, struct exception_table_entry. */
const JUMP_ENTRY = 16;
const BUG_ENTRY = 12;
const EX_ENTRY = 12;
const BUGFLAG_WARNING = 1;

/** Code that stands in for other code, and is laid out by it. */
const isReplacement = (name: string): boolean => name === '.altinstr_replacement' || name === '.altinstr_aux';

const isText = (section: ElfSection | undefined): boolean =>
  section !== undefined && (section.flags & SHF_EXECINSTR) !== 0;

/** S + A, in its section. */
function place(relocation: ElfRelocation, add: number): CodeMark | undefined {
  const { symbol, addend } = relocation;
  if (!symbol.section) return undefined;
  return { section: symbol.section.name, offset: Number(symbol.value + addend) + add };
}

function branchTargets(elf: ElfObject, section: ElfSection): Map<number, BranchTarget> {
  const targets = new Map<number, BranchTarget>();
  for (const relocation of elf.relocations(section.index)) {
    const { symbol, offset } = relocation;
    const name = symbol.type === STT_SECTION ? '' : symbol.name;
    const mark = place(relocation, 4);
    targets.set(offset, mark ? { name, ...mark } : { name });
  }
  return targets;
}

/** Relocations of a table, in rows of `size` bytes: per row the relocations by offset in it. */
function rows(elf: ElfObject, name: string, size: number): Map<number, ElfRelocation>[] {
  const section = elf.section(name);
  if (!section) return [];
  const out = Array.from({ length: section.size / size }, () => new Map<number, ElfRelocation>());
  for (const relocation of elf.relocations(section.index)) {
    out[Math.floor(relocation.offset / size)]?.set(relocation.offset % size, relocation);
  }
  return out;
}

type Edge = { from: CodeMark; to: CodeMark };

function tableEdges(elf: ElfObject, name: string, size: number): Edge[] {
  return rows(elf, name, size).flatMap((row) => {
    const [from, to] = [row.get(0), row.get(4)].map((r) => (r ? place(r, 0) : undefined));
    return from && to ? [{ from, to }] : [];
  });
}

/** A jump label is a nop or a jump, and may become the other. */
function jumpLabelEdge(elf: ElfObject, edge: Edge): Edge {
  const section = elf.section(edge.from.section);
  const opcode = section ? elf.data(section)[edge.from.offset] : 0;
  const length = opcode === 0xe9 ? 5 : opcode === 0xeb ? 2 : 0;
  if (length === 0) return edge;
  return { from: edge.from, to: { section: edge.from.section, offset: edge.from.offset + length } };
}

function warnings(elf: ElfObject): CodeMark[] {
  const section = elf.section('__bug_table');
  if (!section) return [];
  const view = elf.view(section);
  return rows(elf, '__bug_table', BUG_ENTRY).flatMap((row, i) => {
    const relocation = row.get(0);
    const mark = relocation ? place(relocation, 0) : undefined;
    const isWarning = (view.getUint16(i * BUG_ENTRY + 10, true) & BUGFLAG_WARNING) !== 0;
    return mark && isWarning ? [mark] : [];
  });
}

function codeSymbols(elf: ElfObject): CodeSymbol[] {
  return elf.symbols
    .filter((s) => s.type === STT_FUNC && isText(s.section))
    .map((s) => ({
      name: s.name,
      section: (s.section as ElfSection).name,
      offset: Number(s.value),
      size: s.size,
      global: s.bind !== STB_LOCAL,
      type: 'func',
    }));
}

/** `addrOf` gives each text section its address. */
export function inputFromElf(elf: ElfObject, addrOf: (section: ElfSection) => bigint): ObjtoolInput {
  const sections = elf.sections.filter(isText).map(
    (section): CodeSection => ({
      name: section.name,
      addr: addrOf(section),
      bytes: elf.data(section),
      replacement: isReplacement(section.name),
      targets: branchTargets(elf, section),
    }),
  );
  const jumpLabels = tableEdges(elf, '__jump_table', JUMP_ENTRY).map((edge) => jumpLabelEdge(elf, edge));
  return {
    sections,
    symbols: codeSymbols(elf),
    hints: [],
    noreturn: new Set(),
    deadEnds: [],
    reachable: warnings(elf),
    edges: [...jumpLabels, ...tableEdges(elf, '__ex_table', EX_ENTRY)],
  };
}
