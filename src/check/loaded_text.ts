// Text of an object where a check can execute it: its sections one after the other, relocations pointing to
// memory that is there.
//
// Invariant: control transfers are never executed, so only operands need their relocations, and only operands get
// them: the instructions are those that the object's code was decoded to, whatever its relocations say.

import { lo32 } from '../guest/addr.ts';
import type { CodeSection, ObjtoolInput } from '../objtool/input.ts';
import { type Code, INSN_CALL, INSN_JUMP, INSN_JUMP_CONDITIONAL } from '../objtool/insn.ts';
import { DATA_MIDDLE, MAX_TEXT, TEXT_BASE, TEXT_LO } from './check_layout.ts';
import { INSNS, TARGET } from './target.ts';

class TextTooLargeError extends Error {
  override readonly name = 'TextTooLargeError';
  readonly code = 'EFBIG';
}

export interface LoadedText {
  readonly bytes: Uint8Array;
  /** By section: low half of its address; 0 for one without text. */
  readonly start: Uint32Array;
  addrOf(section: number): bigint;
}

/** Of code that somebody still has: those who check it by different tables share its text. */
const known = new WeakMap<Code, LoadedText>();

/** `loaded`: with relocations that the code was decoded without, where those of its text are resolved. */
export function loadText(code: Code, loaded?: ObjtoolInput): LoadedText {
  const text = (loaded ? undefined : known.get(code)) ?? textOf(code, loaded ?? code.input);
  if (!loaded) known.set(code, text);
  return text;
}

function textOf(code: Code, input: ObjtoolInput): LoadedText {
  const start = new Uint32Array(input.sections.length);
  let size = 0;
  input.sections.forEach((section, i) => {
    if (!section.text || section.bytes.length === 0) return;
    start[i] = TEXT_LO + size;
    size = (size + section.bytes.length + 31) & ~15;
  });
  if (size > MAX_TEXT) throw new TextTooLargeError(`text of ${size} bytes is more than a module can have`);
  const bytes = new Uint8Array(size).fill(INSNS.filler);
  input.sections.forEach((section, i) => {
    if (start[i] === 0) return;
    bytes.set(section.bytes, start[i] - TEXT_LO);
    relocate(bytes, start[i] - TEXT_LO, code, i, section);
  });
  const addrOf = (section: number): bigint => 0xffffffff00000000n | BigInt(start[section]);
  return { bytes, start, addrOf };
}

function relocate(bytes: Uint8Array, at: number, code: Code, index: number, section: CodeSection): void {
  const view = new DataView(bytes.buffer);
  const { relocs, bytes: original } = section;
  const relocated = bytes.subarray(at);
  for (let r = 0; relocs && r < relocs.count; r++) {
    const offset = relocs.offset[r];
    const place = at + offset;
    const type = relocs.type[r];
    const kind = TARGET.elf.relocations.get(type);
    // A distance of 64 bits is no operand.
    if (!kind || kind.width === 0 || (kind.width === 8 && kind.pcRelative)) continue;
    const { width } = kind;
    if (offset + width > original.length) continue;
    if (width === 8) view.setBigUint64(place, DATA_MIDDLE, true);
    else if (kind.pcRelative) view.setInt32(place, FROM_TEXT - place - 4, true);
    else view.setUint32(place, lo32(DATA_MIDDLE), true);
    if (!isOperand(code, index, offset, width, relocated)) {
      bytes.set(original.subarray(offset, offset + width), place);
    }
  }
}

/** From the first byte of text to what relocations point to. */
const FROM_TEXT = Number(DATA_MIDDLE - TEXT_BASE);

const [before, after] = [INSNS.newInsn(), INSNS.newInsn()];

/** Whether what was relocated lies in one instruction and has not made another one of it. */
function isOperand(code: Code, index: number, offset: number, width: number, relocated: Uint8Array): boolean {
  let from = offset - 1;
  while (from >= 0 && from > offset - TARGET.longestInsn && code.at(index, from) === 0) from--;
  const insn = from < 0 ? 0 : code.at(index, from);
  if (insn === 0) return false;
  const type = code.type[insn];
  const isBranch = type === INSN_CALL || type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL;
  // Nothing else is at the end of a branch, and it is not executed.
  if (isBranch && from + code.length[insn] === offset + width) return true;
  INSNS.decode(code.input.sections[index].bytes, from, 0, before);
  if (from + before.length < offset + width) return false;
  if (INSNS.isValueAt(before, offset - from, width)) return true;
  INSNS.decode(relocated, from, 0, after);
  return INSNS.isSameButValue(before, after);
}
