// Operands of instructions that a linker fills in with addresses, and by which relocations. Only those that a kernel
// of 2 GiB has: 32 bits, counted from the next instruction or extended with their sign.

import { decodeAt, FLOW_CALL, FLOW_JCC, FLOW_JMP, Insn } from '../../../isa/decoder.ts';
import type { NoteOperand } from '../../code.ts';
import { R_X86_64_32S, R_X86_64_PC32, R_X86_64_PLT32 } from '../module/relocation.ts';

const NO_BASE = 5;
const SIZE = 4;

const insn = new Insn();

export function operands(bytes: Uint8Array, at: number, address: number, note: NoteOperand): number {
  const { length, flow, immSize, imm, disp, target } = decodeAt(bytes, at, address, insn);
  if (length === 0) return 0;
  const end = at + length;
  if (flow === FLOW_CALL || flow === FLOW_JMP || flow === FLOW_JCC) {
    if (immSize === SIZE) note(end - SIZE, R_X86_64_PLT32, target, -SIZE);
    return length;
  }
  const place = end - immSize - SIZE;
  if (insn.ripRelative) note(place, R_X86_64_PC32, (address + length + disp) >>> 0, place - end);
  else if (hasAddress(insn)) note(place, R_X86_64_32S, disp, 0);
  if (immSize === SIZE && imm < 0) note(end - SIZE, R_X86_64_32S, imm, 0);
  return length;
}

/** Absolute, or from a table's address by an index: a displacement that can be an address. */
function hasAddress({ hasModrm, mod, disp, hasSib, sibBase }: Insn): boolean {
  if (!hasModrm || mod === 3 || mod === 1 || disp >= 0) return false;
  if (mod === 2) return true;
  return hasSib && (sibBase & 7) === NO_BASE;
}
