// Instructions that move from where an alternative stands to where it is wanted, as later kernels do it: any number of
// them, each branch and each rip-relative operand made right, and whatever runs of nops they leave made long ones.
// Mirrors text_poke_apply_relocation(), optimize_nops() and add_nop() of arch/x86/kernel/alternative.c from 6.10 on.

import type { Addr } from '../../../guest/addr.ts';
import { decodeAt, FLOW_CALL, FLOW_JCC, FLOW_JMP, Insn } from '../../../isa/decoder.ts';
import { NOPS } from '../../../isa/nops.ts';
import { INT3, JMP8, JMP32, NOP } from '../insn.ts';

/** NOPS goes to 8; with prefixes up to 11 (6.5). */
const LONG_PREFIXES: readonly (readonly number[])[] = [[0x66], [0x66, 0x2e], [0x66, 0x66, 0x2e]];
const LONG_NOPS = [...NOPS, ...LONG_PREFIXES.map((prefixes) => [...prefixes, ...NOPS[7]])];
/** Up to where a jump of two bytes reaches. */
const FAR = 128;

const insn = new Insn();

/** A replacement as it must read at `to`, in `size` bytes. */
export function movedCode(replacement: Uint8Array, from: Addr, to: Addr, size: number): Uint8Array {
  const code = new Uint8Array(size).fill(NOP);
  code.set(replacement);
  const view = new DataView(code.buffer);
  const distance = Number(BigInt.asIntN(32, from - to));
  const isInside = (target: number): boolean => target >= 0 && target <= replacement.length;
  for (let at = 0; at < replacement.length; at += insn.length) {
    decodeAt(code, at, at, insn);
    if (insn.length === 0) break;
    const next = at + insn.length;
    const isBranch = insn.flow === FLOW_CALL || insn.flow === FLOW_JMP || insn.flow === FLOW_JCC;
    if (isBranch && insn.immSize !== 1 && !isInside(insn.target | 0)) {
      const moved = view.getInt32(next - 4, true) + distance;
      view.setInt32(next - 4, moved, true);
      const short = moved + insn.length - JMP8_SIZE;
      if (code[at] === JMP32 && short === (short << 24) >> 24) {
        code.fill(INT3, at, next);
        code.set([JMP8, short & 0xff], at);
      }
    } else if (insn.ripRelative && !isInside(next + insn.disp)) {
      view.setInt32(next - insn.immSize - 4, insn.disp + distance, true);
    }
  }
  return code;
}

const [JMP8_SIZE, JMP32_SIZE] = [2, 5];

/** Every run of nops, of whatever length they are, becomes the fewest, or a jump over int3. Changes `code` in place. */
export function joinNops(code: Uint8Array): void {
  let at = 0;
  while (at < code.length) {
    const start = at;
    while (at < code.length && isNopAt(code, at)) at += insn.length;
    if (at > start) addNop(code.subarray(start, at));
    if (at >= code.length) return;
    if (decodeAt(code, at, 0, insn).length === 0) return;
    at += insn.length;
  }
}

function isNopAt(code: Uint8Array, at: number): boolean {
  if (decodeAt(code, at, 0, insn).length === 0) return false;
  return (insn.opcode === NOP && insn.rep === 0 && insn.rex === 0) || insn.opcode === 0x0f1f;
}

function addNop(space: Uint8Array): void {
  const nop = LONG_NOPS[space.length - 1];
  space.fill(INT3);
  if (nop) {
    space.set(nop);
  } else if (space.length < FAR) {
    space.set([JMP8, space.length - JMP8_SIZE]);
  } else {
    space[0] = JMP32;
    new DataView(space.buffer, space.byteOffset).setInt32(1, space.length - JMP32_SIZE, true);
  }
}
