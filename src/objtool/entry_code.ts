// Code that is entered otherwise than by a call, in a kernel whose source is not there: what its own ORC table says of how
// such code begins stands for the hints that the source had.
// Mirrors what SYM_CODE_START and UNWIND_HINT_* of arch/x86/entry say to objtool.
//
// Invariant: of the table only what it says of the first instruction is taken; all that follows is worked out, and what
// needed a hint further on differs from the table.

import type { CodeArch } from '../arch/code.ts';
import {
  ORC_REG_UNDEFINED,
  ORC_SIGNAL,
  ORC_TYPE_CALL,
  ORC_TYPE_REGS,
  ORC_TYPE_REGS_PARTIAL,
  unpackOrcEntry,
} from '../elf/orc.ts';
import { type CodeHint, type CodeHintKind, type ObjtoolInput, SYM_FUNC } from './input.ts';
import { orcFormatRule } from './orc_format.ts';
import { OrcRowFinder, type OrcRows } from './orc_rows.ts';

const KINDS: Readonly<Record<number, CodeHintKind>> = {
  [ORC_TYPE_CALL]: 'call',
  [ORC_TYPE_REGS]: 'regs',
  [ORC_TYPE_REGS_PARTIAL]: 'regs_partial',
};

/** The input with such functions marked, and begun, as the table says. */
export function withEntryCode(input: ObjtoolInput, rows: OrcRows): ObjtoolInput {
  const { symbols, sections, arch } = input;
  const entryCode = new Set<number>();
  const hints: CodeHint[] = [];
  const finder = new OrcRowFinder(rows);
  for (let s = 1; s < symbols.count; s++) {
    const section = symbols.section[s];
    if (symbols.type[s] !== SYM_FUNC || !sections[section]?.text || sections[section].replacement) continue;
    const start = symbols.value[s];
    const row = finder.at(section, start);
    if (!speaksOfEntry(rows, row, section, start + symbols.size[s])) continue;
    entryCode.add(s);
    hints.push({ section, offset: start, ...hintOf(arch, rows, row) });
  }
  return entryCode.size === 0 ? input : { ...input, entryCode, hints: [...input.hints, ...hints] };
}

/** A row of it speaks of registers, or of the end of a stack. */
function speaksOfEntry(rows: OrcRows, row: number, section: number, end: number): boolean {
  if (row < 0) return false;
  for (let i = row; i < rows.count && rows.section[i] === section && rows.offset[i] < end; i++) {
    const { spReg, type, end: isLast } = unpackOrcEntry(rows, i);
    if (isLast || (spReg !== ORC_REG_UNDEFINED && type !== ORC_TYPE_CALL)) return true;
  }
  return false;
}

function hintOf(arch: CodeArch, rows: OrcRows, row: number): Omit<CodeHint, 'section' | 'offset'> {
  const nothing = { base: '', frameOffset: 0 };
  const { spReg, spOffset, type, end } = unpackOrcEntry(rows, row);
  if (spReg === ORC_REG_UNDEFINED) return { ...nothing, kind: end ? 'empty' : 'undefined' };
  if (type === ORC_TYPE_CALL && spReg === arch.orc.sp && spOffset === arch.registers.callFrame)
    return { ...nothing, kind: 'func' };
  const base = orcFormatRule(arch.orc, arch.orc.own).hintName(spReg);
  const signal = (rows.flags[row] & ORC_SIGNAL) !== 0;
  return { kind: KINDS[type] ?? 'undefined', base, frameOffset: spOffset, signal };
}
