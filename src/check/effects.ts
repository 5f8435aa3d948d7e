// What an instruction may do to rsp and rbp, from its encoding alone.
//
// Invariant: a change that happens is in the answer. More may be: an unknown instruction is taken to change the
// registers that it names.

import { type Insn, REX_W } from '../isa/decoder.ts';

/** May change rsp. */
export const CHANGES_SP = 1;
/** May change rbp. */
export const CHANGES_BP = 2;
/** push rbp */
export const PUSHES_BP = 4;
/** mov [rsp or rbp + constant], rbp */
export const STORES_BP = 8;
/** Nothing is known: to be executed by itself. */
export const ODD = 16;

const RSP = 4;
const RBP = 5;
const named = (register: number): number =>
  register === RSP ? CHANGES_SP : register === RBP ? CHANGES_BP : 0;

// By opcode: which operand is written.
const TO_RM = 1;
const TO_REG = 2;
const TO_BOTH = 3;
const TO_NONE = 4;
const ONE = new Uint8Array(256);
const TWO = new Uint8Array(256);
for (let group = 0; group < 0x40; group += 8) {
  // add or adc sbb and sub xor, then cmp
  const writes = group !== 0x38;
  ONE.fill(writes ? TO_RM : TO_NONE, group, group + 2);
  ONE.fill(writes ? TO_REG : TO_NONE, group + 2, group + 4);
}
const set = (table: Uint8Array, what: number, opcodes: readonly number[]): void => {
  for (const opcode of opcodes) table[opcode] = what;
};
set(ONE, TO_RM, [0x88, 0x89, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3]);
set(ONE, TO_REG, [0x63, 0x69, 0x6b, 0x8a, 0x8b, 0x8d]);
set(ONE, TO_BOTH, [0x86, 0x87]);
set(ONE, TO_NONE, [0x84, 0x85]);
for (let cc = 0; cc < 16; cc++) set(TWO, TO_REG, [0x40 + cc]);
for (let cc = 0; cc < 16; cc++) set(TWO, TO_RM, [0x90 + cc]);
set(TWO, TO_REG, [0xaf, 0xb6, 0xb7, 0xb8, 0xbc, 0xbd, 0xbe, 0xbf]);
set(TWO, TO_RM, [0xa4, 0xa5, 0xab, 0xac, 0xad, 0xb3, 0xbb]);
set(TWO, TO_BOTH, [0xb0, 0xb1, 0xc0, 0xc1]);
set(TWO, TO_NONE, [0x0d, 0x18, 0x1f, 0xa3]);

export function effectsOf(insn: Insn): number {
  const { opcode } = insn;
  if (opcode > 0xff) return effectsOfTwo(insn);
  if (opcode >= 0x50 && opcode <= 0x5f) {
    const register = (opcode & 7) | ((insn.rex & 1) << 3);
    if (opcode < 0x58) return register === RBP ? CHANGES_SP | PUSHES_BP : CHANGES_SP;
    return register === RSP ? ODD : CHANGES_SP | named(register);
  }
  if (opcode >= 0x80 && opcode <= 0x83) return (insn.reg & 7) === 7 ? 0 : toRm(insn);
  // xchg with rax, mov of a constant
  if ((opcode >= 0x91 && opcode <= 0x97) || (opcode >= 0xb0 && opcode <= 0xbf)) {
    return named((opcode & 7) | ((insn.rex & 1) << 3));
  }
  switch (opcode) {
    case 0x68:
    case 0x6a:
    case 0x9c:
    case 0x9d:
      return CHANGES_SP;
    case 0x8f:
    case 0xc8:
      return ODD;
    case 0xc9:
      return CHANGES_SP | CHANGES_BP;
    case 0xf6:
    case 0xf7: {
      const extension = insn.reg & 7;
      return extension === 2 || extension === 3 ? toRm(insn) : 0;
    }
    case 0xfe:
    case 0xff: {
      const extension = insn.reg & 7;
      return extension === 6 ? CHANGES_SP : extension < 2 ? toRm(insn) : ODD;
    }
    case 0x89:
      if (insn.mod !== 3 && insn.reg === RBP) return storeOfBp(insn);
      return toRm(insn);
    default:
      return operands(insn, ONE[opcode]);
  }
}

function effectsOfTwo(insn: Insn): number {
  const { opcode } = insn;
  // push and pop of fs and gs
  if (opcode === 0x0fa0 || opcode === 0x0fa8) return CHANGES_SP;
  if (opcode === 0x0fa1 || opcode === 0x0fa9) return ODD;
  if (opcode >= 0x0fc8 && opcode <= 0x0fcf) return named((opcode & 7) | ((insn.rex & 1) << 3));
  // bt by a constant writes nothing
  if (opcode === 0x0fba) return (insn.reg & 7) === 4 ? 0 : toRm(insn);
  return operands(insn, opcode < 0x1000 ? TWO[opcode & 0xff] : 0);
}

function operands(insn: Insn, written: number): number {
  if (!insn.hasModrm || written === TO_NONE) return 0;
  if (written === TO_RM) return toRm(insn);
  return written === TO_REG ? named(insn.reg) : named(insn.reg) | toRm(insn);
}

/** What a push, a pop, or an addition of a constant makes of rsp; 0 where that is not what changes it. */
export function stackDelta(insn: Insn): number {
  const { opcode } = insn;
  if (opcode >= 0x50 && opcode <= 0x57) return insn.opsize16 ? 0 : -8;
  if (opcode >= 0x58 && opcode <= 0x5f) {
    const intoSp = opcode === 0x5c && (insn.rex & 1) === 0;
    return insn.opsize16 || intoSp ? 0 : 8;
  }
  if (opcode !== 0x81 && opcode !== 0x83) return 0;
  const extension = insn.reg & 7;
  if (insn.mod !== 3 || insn.rm !== RSP || (insn.rex & REX_W) === 0) return 0;
  return extension === 0 ? insn.imm : extension === 5 ? -insn.imm : 0;
}

const toRm = (insn: Insn): number => (insn.mod === 3 ? named(insn.rm) : 0);

/** Half of the register, or somewhere else than in the frame: what it leaves is seen when the piece ends. */
function storeOfBp(insn: Insn): number {
  if ((insn.rex & REX_W) === 0) return 0;
  return baseOf(insn) < 0 ? ODD : STORES_BP;
}

/** rsp or rbp where it alone makes up the address, with a constant; -1 otherwise. */
export function baseOf(insn: Insn): number {
  if (insn.ripRelative || insn.mod === 3) return -1;
  const base = insn.hasSib ? insn.sibBase : insn.rm;
  if (insn.hasSib && (insn.sibIndex !== 4 || (insn.mod === 0 && (base & 7) === RBP))) return -1;
  return base === RSP || base === RBP ? base : -1;
}

/** Whether it has an operand in memory whose place hangs on more than rsp or rbp and a constant. */
export function accessesElsewhere(insn: Insn): boolean {
  return insn.hasModrm && insn.mod !== 3 && !insn.ripRelative && baseOf(insn) < 0;
}
