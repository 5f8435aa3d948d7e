// ORC tables for text: one entry wherever the stack state changes.
// Mirrors check(), orc_create() and init_orc_entry() of tools/objtool.
//
// Invariant: every byte of a section is covered; what nothing reaches is undefined, and a
// terminator ends each section.

import { type CodeArch, UNDEFINED } from '../arch/code.ts';
import type { AsmImage } from '../asm/assembler.ts';
import { ORC_REG_UNDEFINED, ORC_SIGNAL, type OrcTable, packOrcFlags } from '../elf/orc.ts';
import { addAlternatives } from './alternatives.ts';
import { CFA_BASE, CFA_OFFSET, CfiTable, END, NO_CFI, SIGNAL, TYPE, TYPE_CALL } from './cfi.ts';
import { CodeTable } from './decode.ts';
import { Destinations } from './destinations.ts';
import { readHints } from './hints.ts';
import { inputFromImage, type ObjtoolInput } from './input.ts';
import {
  type Code,
  find,
  IN_ALT_GROUP,
  IN_IGNORE,
  IN_IGNORE_ALTS,
  IN_IGNORE_ARM,
  IN_INNER_CALL,
  IN_LAST,
  warn,
} from './insn.ts';
import { addJumpTables } from './jump_tables.ts';
import { type OrcRows, OrcRowsBuilder, rowsAt } from './orc_rows.ts';
import { validateCode } from './validate.ts';

export interface OrcResult {
  readonly rows: OrcRows;
  /** As objtool words them, without its `warning: objtool: `. */
  readonly warnings: readonly string[];
  /** The instructions they were made from, for reports. */
  readonly code: Code;
}

/** Entries of stack states, each worked out once. */
class Entries {
  readonly #code: Code;
  readonly #cfis: CfiTable;
  readonly spOffset: Int32Array;
  readonly fpOffset: Int32Array;
  readonly flags: Int32Array;
  readonly #known: Uint8Array;

  constructor(code: Code, cfis: CfiTable) {
    this.#code = code;
    this.#cfis = cfis;
    this.spOffset = new Int32Array(cfis.count);
    this.fpOffset = new Int32Array(cfis.count);
    this.flags = new Int32Array(cfis.count);
    this.#known = new Uint8Array(cfis.count);
    this.#known[NO_CFI] = 1;
  }

  /** Fills in the columns of a state. */
  need(id: number, insn: number): void {
    if (this.#known[id]) return;
    this.#known[id] = 1;
    const of = (word: number): number => this.#cfis.get(id, word);
    const end = of(END) !== 0;
    this.flags[id] = packOrcFlags(ORC_REG_UNDEFINED, ORC_REG_UNDEFINED, TYPE_CALL, end);
    if (of(CFA_BASE) === UNDEFINED) return;
    const { orc } = this.#code.input.arch;
    const { fpAt } = this.#cfis;
    const spReg = orc.spBase(of(CFA_BASE));
    const fpReg = orc.fpBase(of(fpAt));
    if (spReg === undefined) warn(this.#code, insn, `unknown CFA base reg ${of(CFA_BASE)}`);
    else if (fpReg === undefined) warn(this.#code, insn, `unknown ${orc.fpTitle} base reg ${of(fpAt)}`);
    else if (!fits(of(CFA_OFFSET)) || !fits(of(fpAt + 1))) warn(this.#code, insn, 'stack frame too large');
    else {
      this.spOffset[id] = of(CFA_OFFSET);
      this.fpOffset[id] = of(fpAt + 1);
      const signal = of(SIGNAL) === 0 ? 0 : ORC_SIGNAL;
      this.flags[id] = packOrcFlags(spReg, fpReg, of(TYPE), end) | signal;
    }
  }
}

/** struct orc_entry has 16 bits for an offset. */
const fits = (offset: number): boolean => offset >= -0x8000 && offset <= 0x7fff;

class RowWriter {
  readonly rows = new OrcRowsBuilder();
  readonly #code: Code;
  readonly #entries: Entries;
  /** The state of the last row; no state is an undefined one. */
  #last = NO_CFI;

  constructor(code: Code, cfis: CfiTable) {
    this.#code = code;
    this.#entries = new Entries(code, cfis);
  }

  addSection(section: number): void {
    const code = this.#code;
    const before = this.rows.count;
    this.#last = NO_CFI;
    const { flags, cfi } = code;
    const end = code.endOf[section];
    for (let insn = code.firstOf[section]; insn < end; insn++) {
      if (!(flags[insn] & IN_ALT_GROUP)) {
        if (cfi[insn] !== this.#last) this.#add(section, code.offset[insn], cfi[insn], insn);
        // Nothing is said of bytes that are no instruction.
        if (flags[insn] & IN_LAST && insn + 1 < end) {
          this.#add(section, code.offset[insn] + code.length[insn], NO_CFI, insn);
        }
        continue;
      }
      const group = code.altGroups.get(insn);
      if (!group || group.first < code.firstOf[section] || group.first > insn) continue;
      const start = code.offset[group.first];
      for (let i = code.offset[insn] - start; i < group.cfi.length; i++) {
        if (group.cfi[i] !== NO_CFI) this.#add(section, start + i, group.cfi[i], insn);
      }
      insn = Math.max(insn, group.last);
    }
    if (this.rows.count > before) this.rows.add(section, code.input.sections[section].bytes.length);
  }

  #add(section: number, offset: number, cfi: number, insn: number): void {
    if (cfi === this.#last) return;
    const entries = this.#entries;
    entries.need(cfi, insn);
    const last = this.#last;
    this.#last = cfi;
    const [sp, fp, flags] = [entries.spOffset[cfi], entries.fpOffset[cfi], entries.flags[cfi]];
    if (sp === entries.spOffset[last] && fp === entries.fpOffset[last] && flags === entries.flags[last])
      return;
    this.rows.add(section, offset, sp, fp, flags);
  }
}

/** What the source says of instructions, other than by hints. */
function addAnnotations(code: Code): void {
  const { symbols, ignored, ignoredAlternatives, ignoredArms = [], innerCalls = [] } = code.input;
  for (const mark of ignored) {
    let insn = find(code, mark);
    const func = code.func[insn];
    const end = symbols.value[func] + symbols.size[func];
    const last = code.endOf[mark.section];
    for (; insn !== 0 && insn < last && code.offset[insn] < end; insn++) code.flags[insn] |= IN_IGNORE;
  }
  for (const [marks, flag] of [
    [ignoredAlternatives, IN_IGNORE_ALTS],
    [ignoredArms, IN_IGNORE_ARM],
    [innerCalls, IN_INNER_CALL],
  ] as const) {
    for (const mark of marks) {
      const insn = find(code, mark);
      if (insn !== 0) code.flags[insn] |= flag;
    }
  }
}

/** The instructions and where each may go. */
export function readCode(input: ObjtoolInput): Code {
  const code = new CodeTable(input);
  addAnnotations(code);
  addAlternatives(code);
  new Destinations(code).addAll();
  addJumpTables(code);
  return code;
}

/** The entries of any text given as an ObjtoolInput. @throws CfiLimitError */
export function createOrc(input: ObjtoolInput): OrcResult {
  const code = readCode(input);
  const cfis = new CfiTable(input.arch.registers);
  readHints(code, cfis);
  validateCode(code, cfis);
  const writer = new RowWriter(code, cfis);
  input.sections.forEach((section, i) => {
    if (section.text && !section.replacement) writer.addSection(i);
  });
  return { rows: writer.rows.finish(), warnings: code.warnings, code };
}

/** The table of an assembled image's kernel text. */
export function generateOrc(
  image: AsmImage,
  arch: CodeArch,
): {
  readonly table: OrcTable;
  readonly warnings: readonly string[];
} {
  const { rows, warnings } = createOrc(inputFromImage(image, arch));
  const addr = image.sections.find((s) => s.name === '.text')?.addr ?? 0n;
  return { table: rowsAt(rows, () => addr), warnings };
}
