// What code of x86_64 does to its function's frame, from its bytes alone, by what the table of opcodes says.

import { lo32 } from '../../../guest/addr.ts';
import {
  decodeAt,
  FLOW_JMP,
  FLOW_RET,
  Insn,
  OPCODE,
  REX_W,
  STACK,
  STACK_MASK,
} from '../../../isa/decoder.ts';
import type { FrameCode } from '../../checking.ts';
import { REG } from '../context.ts';

/** With `return thunks` on, a return is a jump there. */
const THUNK = '__x86_return_thunk';

const decoded = new Insn();
const stackOf = (insn: Insn): number => insn.facts & STACK_MASK;

/** Adds to rsp, or takes from it. */
const movesSp = ({ mod, rm, rex }: Insn): boolean => mod === 3 && rm === REG.rsp && (rex & REX_W) !== 0;

/** mov rbp, rsp: of its two forms the one that assemblers make. */
const setsFp = ({ mod, reg, rm, rex }: Insn): boolean =>
  mod === 3 && reg === REG.rsp && rm === REG.rbp && (rex & REX_W) !== 0;

function makesFrame(insn: Insn): boolean {
  switch (stackOf(insn)) {
    case STACK.PUSH_REG:
      return true;
    case STACK.STORE:
      return setsFp(insn);
    default:
      return stackOf(insn) === STACK.SUB_IMM && movesSp(insn);
  }
}

function givesUp(insn: Insn): boolean {
  const stack = stackOf(insn);
  return stack === STACK.POP_REG || stack === STACK.LEAVE || (stack === STACK.ADD_IMM && movesSp(insn));
}

export const FRAME_CODE: FrameCode = {
  makesFrame: (code) => makesFrame(decodeAt(code, 0, 0, decoded)),
  pops: (code) => stackOf(decodeAt(code, 0, 0, decoded)) === STACK.POP_REG,
  // Backwards an instruction is found by where it ends.
  hasPopped: (before) =>
    before.some((_, at) => {
      const insn = decodeAt(before, at, 0, decoded);
      return insn.length === before.length - at && givesUp(insn);
    }),
  returns: (code, at, addressOf) => {
    const { flow, target } = decodeAt(code, 0, lo32(at), decoded);
    return flow === FLOW_RET || (flow === FLOW_JMP && target === lo32(addressOf(THUNK)));
  },
  codeSize: (trampoline) => trampoline.lastIndexOf(OPCODE.RET) + 1,
};
