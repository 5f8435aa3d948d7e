// ORC tables for text: one entry wherever the stack state changes.
// Mirrors orc_create() and init_orc_entry() of tools/objtool/orc_gen.c (6.1 encoding).
//
// Invariant: every byte of a section is covered; what nothing reaches is undefined, and a
// terminator ends each section.

import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_PREV_SP,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
  ORC_REG_UNDEFINED,
  type OrcTable,
  packOrcFlags,
  sortOrcTable,
} from '../elf/orc.ts';
import type { AsmImage } from '../isa/assembler.ts';
import { BP, BP_INDIRECT, CFA, type Cfi, DI, DX, R10, R13, SP, SP_INDIRECT, UNDEFINED } from './cfi.ts';
import { CodeBuilder } from './code.ts';
import { inputFromImage, type ObjtoolInput } from './input.ts';
import { type CodeInsn, placeName, type SectionCode } from './insn.ts';
import { validateCode } from './validate.ts';

export interface OrcResult {
  readonly table: OrcTable;
  /** As objtool words them, without its `warning: objtool: `. */
  readonly warnings: readonly string[];
}

const SP_REGS: ReadonlyMap<number, number> = new Map([
  [UNDEFINED, ORC_REG_UNDEFINED],
  [SP, ORC_REG_SP],
  [SP_INDIRECT, ORC_REG_SP_INDIRECT],
  [BP, ORC_REG_BP],
  [BP_INDIRECT, ORC_REG_BP_INDIRECT],
  [R10, ORC_REG_R10],
  [R13, ORC_REG_R13],
  [DI, ORC_REG_DI],
  [DX, ORC_REG_DX],
]);
const BP_REGS: ReadonlyMap<number, number> = new Map([
  [UNDEFINED, ORC_REG_UNDEFINED],
  [CFA, ORC_REG_PREV_SP],
  [BP, ORC_REG_BP],
]);

interface Entry {
  readonly ip: number;
  readonly spOffset: number;
  readonly bpOffset: number;
  readonly flags: number;
}

type EntryState = Omit<Entry, 'ip'>;
const NULL_ENTRY: EntryState = { spOffset: 0, bpOffset: 0, flags: 0 };

function entryOf(cfi: Cfi | undefined, unknown: (text: string) => void): EntryState {
  if (!cfi) return NULL_ENTRY;
  if (cfi.cfaBase === UNDEFINED) {
    return { ...NULL_ENTRY, flags: packOrcFlags(ORC_REG_UNDEFINED, ORC_REG_UNDEFINED, 0, cfi.end) };
  }
  const spReg = SP_REGS.get(cfi.cfaBase);
  const bpReg = BP_REGS.get(cfi.bp.base);
  if (spReg === undefined || bpReg === undefined) {
    unknown(
      spReg === undefined ? `unknown CFA base reg ${cfi.cfaBase}` : `unknown BP base reg ${cfi.bp.base}`,
    );
    return NULL_ENTRY;
  }
  return {
    spOffset: cfi.cfaOffset,
    bpOffset: cfi.bp.offset,
    flags: packOrcFlags(spReg, bpReg, cfi.type, cfi.end),
  };
}

const same = (a: EntryState, b: EntryState): boolean =>
  a.spOffset === b.spOffset && a.bpOffset === b.bpOffset && a.flags === b.flags;

function sectionEntries(
  section: SectionCode,
  unknown: (insn: CodeInsn, text: string) => void,
  out: Entry[],
): void {
  const base = Number(BigInt.asUintN(32, section.source.addr));
  const before = out.length;
  let previous = NULL_ENTRY;
  let lastCfi: Cfi | undefined;
  for (const insn of section.insns) {
    if (insn.cfi === lastCfi && insn.cfi) continue;
    lastCfi = insn.cfi;
    const state = entryOf(insn.cfi, (text) => unknown(insn, text));
    if (same(state, previous)) continue;
    out.push({ ip: (base + insn.offset) >>> 0, ...state });
    previous = state;
  }
  if (out.length > before) out.push({ ip: (base + section.source.bytes.length) >>> 0, ...NULL_ENTRY });
}

function toTable(entries: readonly Entry[]): OrcTable {
  return sortOrcTable({
    count: entries.length,
    ip: Uint32Array.from(entries, (e) => e.ip),
    spOffset: Int16Array.from(entries, (e) => e.spOffset),
    bpOffset: Int16Array.from(entries, (e) => e.bpOffset),
    flags: Uint16Array.from(entries, (e) => e.flags),
  });
}

/** The table of any text given as an ObjtoolInput. */
export function createOrc(input: ObjtoolInput): OrcResult {
  const code = new CodeBuilder(input);
  validateCode(code);
  const entries: Entry[] = [];
  const unknown = (insn: CodeInsn, text: string): void => {
    code.warnings.push(`${placeName(code, insn)}: ${text}`);
  };
  for (const section of code.sections) {
    if (!section.source.replacement) sectionEntries(section, unknown, entries);
  }
  return { table: toTable(entries), warnings: code.warnings };
}

/** The table of an assembled image's kernel text. */
export const generateOrc = (image: AsmImage): OrcResult => createOrc(inputFromImage(image));
