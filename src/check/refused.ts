// Keeps the engine from instructions that end the process when it meets them, or whose end it finds elsewhere than a
// processor does, so that it meets them in the midst of others (src/isa/refused.ts). It meets all that it
// translates: the straight run behind what is executed. Nothing else, since an instruction that goes elsewhere is never
// executed (walk.ts, INSNS.skipped).
//
// Invariant: what replaces them is an illegal instruction, as they are on a processor; bytes that are no instruction
// end a run: the engine decodes nothing behind them from where no instruction begins.

import type { Code } from '../objtool/insn.ts';
import { TEXT_LO } from './check_guest.ts';
import type { LoadedText } from './loaded_text.ts';
import { INSNS } from './target.ts';

/** Puts illegal instructions where the engine must not meet what is there. */
export function replaceRefused({ bytes, start }: LoadedText, code: Code): void {
  for (const { section, start: from, end } of code.undecoded) {
    if (start[section] === 0) continue;
    const at = start[section] - TEXT_LO;
    bytes.fill(INSNS.filler, at + from, at + end);
  }
  for (let insn = 1; insn < code.count; insn++) {
    const section = start[code.section[insn]];
    if (section === 0 || code.length[insn] < INSNS.undefined.length) continue;
    const at = section - TEXT_LO + code.offset[insn];
    INSNS.straighten(bytes, at);
    if (INSNS.isRefused(bytes, at)) bytes.set(INSNS.undefined, at);
  }
}

/**
 * The text as the engine has it: without what is stepped over, of which it finds another end where it does not know it.
 * Who decodes goes by the text itself.
 */
export function withoutSkipped({ bytes, start }: LoadedText, code: Code): Uint8Array {
  const known = bytes.slice();
  for (let insn = 1; insn < code.count; insn++) {
    const section = start[code.section[insn]];
    if (section === 0 || code.length[insn] < INSNS.undefined.length) continue;
    const at = section - TEXT_LO + code.offset[insn];
    if (INSNS.skipped(INSNS.decode(bytes, at, at, decoded)) >= 0) known.set(INSNS.undefined, at);
  }
  return known;
}

const decoded = INSNS.newInsn();
