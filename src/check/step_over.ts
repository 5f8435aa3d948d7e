// Which instructions a check steps over instead of executing: those that change the machine (control and
// segment registers), wait for devices, repeat by a count that nobody set, or are not in the engine.
//
// Invariant: none of them changes rsp, except popf, whose 8 bytes are taken off.

import type { Insn } from '../isa/decoder.ts';

const PRIVILEGED = new Set([
  0x0f00, 0x0f01, 0x0f06, 0x0f08, 0x0f09, 0x0f20, 0x0f21, 0x0f22, 0x0f23, 0x0f30, 0x0f32, 0x0f33, 0x0fa2,
  0x0fae, 0x0fc7, 0x8e, 0xf4, 0xfa, 0xfb, 0xfd, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d,
  0x6e, 0x6f, 0x0f31, 0x0fa9, 0x0fa1, 0x0fb2, 0x0fb4, 0x0fb5, 0x0f77,
]);
const STRING = new Set([0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]);

export const POPF = 0x9d;

export function isSteppedOver(insn: Insn): boolean {
  const { opcode } = insn;
  if (opcode === 0 || insn.vex) return true;
  if (opcode === POPF || PRIVILEGED.has(opcode)) return true;
  // A division by what happens to be there; the result is of no use to the stack.
  if ((opcode === 0xf6 || opcode === 0xf7) && (insn.reg & 7) >= 6) return true;
  return STRING.has(opcode);
}
