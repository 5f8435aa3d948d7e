// What code of x86_64 does to its function's frame, from its bytes alone.

import { OPCODE } from '../../../isa/opcodes.ts';
import type { FrameCode } from '../../checking.ts';
import { CALL_SIZE, targetOf } from '../insn.ts';

const [PUSH, POP, LEAVE] = [0x50, 0x58, 0xc9];
const [REX_W, REX_B] = [0x48, 0x41];
/** mov rbp, rsp; sub rsp, n; add rsp, n behind REX.W: opcodes and ModRM. */
const [MOV, TO_RBP, BY_IMM8, BY_IMM32, SUB_RSP, ADD_RSP] = [0x89, 0xe5, 0x83, 0x81, 0xec, 0xc4];
/** With `return thunks` on, a return is a jump there. */
const THUNK = '__x86_return_thunk';

const hasRegister = (byte: number, opcode: number): boolean => (byte & 0xf8) === opcode;

export const FRAME_CODE: FrameCode = {
  makesFrame: ([a, b, c]) => {
    if (hasRegister(a, PUSH) || (a === REX_B && hasRegister(b, PUSH))) return true;
    return (
      a === REX_W && ((b === MOV && c === TO_RBP) || ((b === BY_IMM8 || b === BY_IMM32) && c === SUB_RSP))
    );
  },
  pops: ([a, b]) => hasRegister(a, POP) || (a === REX_B && hasRegister(b, POP)),
  hasPopped: (before) => {
    const [, d, , , e, f, g] = before;
    const last = before[7];
    if (hasRegister(last, POP) || last === LEAVE) return true;
    if (e === REX_W && f === BY_IMM8 && g === ADD_RSP) return true;
    return d === REX_W && before[2] === BY_IMM32 && before[3] === ADD_RSP;
  },
  returns: (code, at, addressOf) => {
    if (code[0] === OPCODE.RET) return true;
    if (code[0] !== OPCODE.JMP32 || code.length < CALL_SIZE) return false;
    return targetOf(at, code) === addressOf(THUNK);
  },
  codeSize: (trampoline) => trampoline.lastIndexOf(OPCODE.RET) + 1,
};
