// What each opcode is in 64-bit mode: the one table that says what follows it, where it goes, what it does to the stack
// and what it writes. Intel SDM volume 2, appendix A: the one-byte map, the 0F map, and the groups that ModRM extends.
//
// Invariant: who wants to know what an opcode does asks here, by way of Insn.facts; nothing else lists opcodes.
// Made once into typed arrays, because the decoder stands in hot loops.

import {
  BYTE,
  CLEARS_DF,
  DEBUG_REGISTER,
  DIVIDES,
  FLAGS,
  FLOW_CALL,
  FLOW_CALL_INDIRECT,
  FLOW_FAR,
  FLOW_HLT,
  FLOW_INT,
  FLOW_INT3,
  FLOW_IRET,
  FLOW_JCC,
  FLOW_JMP,
  FLOW_JMP_INDIRECT,
  FLOW_RET,
  FLOW_SYSCALL,
  FLOW_SYSRET,
  FLOW_UD2,
  FORM,
  LOCKABLE,
  MACHINE,
  NO_PREFIX,
  NOP,
  REGISTER_RM,
  REP_REGISTER_RM,
  SETS_DF,
  STACK,
  STRING,
  WRITES,
} from './facts.ts';

/** Opcodes that are written into text. */
export const OPCODE = { JMP8: 0xeb, JMP32: 0xe9, CALL: 0xe8, RET: 0xc3, INT3: 0xcc, NOP: 0x90 } as const;

/** By extension, beside the facts of the opcode. */
type Extensions = Readonly<Record<number, number>>;
/** A later row stands over an earlier one. */
type Row = readonly [from: number, to: number, form: number, facts?: number, extensions?: Extensions];

const { NONE, MODRM, IMM8, IMM16, IMMZ, IMMV, MOFFS, IMM_TEST, IMM32, IMM8_MORE } = FORM;
const { INVALID, PREFIX, REGISTERS } = FORM;
const { RM, REG, BOTH } = WRITES;
const [NOTHING, IN_OPCODE] = [WRITES.NONE, WRITES.OPCODE];

/** add or adc sbb and sub xor: the same six forms each. */
const arithmetic = [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30].flatMap((op): Row[] => [
  [op, op, MODRM, RM | LOCKABLE | BYTE],
  [op + 1, op + 1, MODRM, RM | LOCKABLE],
  [op + 2, op + 2, MODRM, REG | BYTE],
  [op + 3, op + 3, MODRM, REG],
  [op + 4, op + 4, IMM8, BYTE],
  [op + 5, op + 5, IMMZ],
  [op + 6, op + 7, INVALID],
]);

/** add or adc sbb and sub xor cmp with a constant. */
const byConstant: Extensions = {
  0: RM | LOCKABLE | STACK.ADD_IMM,
  1: RM | LOCKABLE,
  2: RM | LOCKABLE,
  3: RM | LOCKABLE,
  4: RM | LOCKABLE | STACK.AND_IMM,
  5: RM | LOCKABLE | STACK.SUB_IMM,
  6: RM | LOCKABLE,
  7: NOTHING,
};

/** test test not neg mul imul div idiv */
const group3: Extensions = {
  0: NOTHING,
  1: NOTHING,
  2: RM | LOCKABLE,
  3: RM | LOCKABLE,
  4: NOTHING,
  5: NOTHING,
  6: NOTHING | DIVIDES,
  7: NOTHING | DIVIDES,
};

/** bt bts btr btc; before them there are none. */
const bitByConstant: Extensions = {
  0: RM,
  1: RM,
  2: RM,
  3: RM,
  4: NOTHING,
  5: RM | LOCKABLE,
  6: RM | LOCKABLE,
  7: RM | LOCKABLE,
};

const increment = { 0: RM | LOCKABLE, 1: RM | LOCKABLE };
const unknown = { 2: WRITES.UNKNOWN, 3: WRITES.UNKNOWN, 4: WRITES.UNKNOWN, 5: WRITES.UNKNOWN };

const ONE_BYTE: readonly Row[] = [
  ...arithmetic,
  [0x01, 0x01, MODRM, RM | LOCKABLE | STACK.ADD_REG],
  [0x29, 0x29, MODRM, RM | LOCKABLE | STACK.SUB_REG],
  [0x2b, 0x2b, MODRM, REG | STACK.SUB_FROM_REG],
  [0x26, 0x26, PREFIX],
  [0x2e, 0x2e, PREFIX],
  [0x36, 0x36, PREFIX],
  // cmp
  [0x38, 0x38, MODRM, NOTHING | BYTE],
  [0x39, 0x39, MODRM, NOTHING],
  [0x3a, 0x3a, MODRM, NOTHING | BYTE],
  [0x3b, 0x3b, MODRM, NOTHING],
  [0x3c, 0x3c, IMM8, NOTHING | BYTE],
  [0x3d, 0x3d, IMMZ, NOTHING],
  [0x3e, 0x3e, PREFIX],
  [0x3f, 0x3f, INVALID],
  [0x40, 0x4f, PREFIX],
  [0x50, 0x57, NONE, STACK.PUSH_REG],
  [0x58, 0x5f, NONE, STACK.POP_REG],
  [0x60, 0x62, INVALID],
  [0x63, 0x63, MODRM, REG],
  [0x64, 0x67, PREFIX],
  [0x68, 0x68, IMMZ, STACK.PUSH],
  [0x69, 0x69, MODRM | IMMZ, REG],
  [0x6a, 0x6a, IMM8, STACK.PUSH],
  [0x6b, 0x6b, MODRM | IMM8, REG],
  // ins outs
  [0x6c, 0x6f, NONE, STRING | MACHINE],
  [0x70, 0x7f, IMM8, FLOW_JCC],
  [0x80, 0x80, MODRM | IMM8, BYTE, byConstant],
  [0x81, 0x81, MODRM | IMMZ, 0, byConstant],
  [0x82, 0x82, INVALID],
  [0x83, 0x83, MODRM | IMM8, 0, byConstant],
  // test xchg mov
  [0x84, 0x84, MODRM, NOTHING | BYTE],
  [0x85, 0x85, MODRM, NOTHING],
  [0x86, 0x86, MODRM, BOTH | LOCKABLE | BYTE],
  [0x87, 0x87, MODRM, BOTH | LOCKABLE],
  [0x88, 0x88, MODRM, RM | BYTE | STACK.STORE],
  [0x89, 0x89, MODRM, RM | STACK.STORE],
  [0x8a, 0x8a, MODRM, REG | BYTE],
  [0x8b, 0x8b, MODRM, REG | STACK.LOAD],
  // mov of segment registers, lea, pop
  [0x8c, 0x8c, MODRM],
  [0x8d, 0x8d, MODRM, REG | STACK.LEA],
  [0x8e, 0x8e, MODRM, MACHINE],
  [0x8f, 0x8f, MODRM, STACK.POP_RM],
  [OPCODE.NOP, OPCODE.NOP, NONE, NOTHING | NOP],
  [0x91, 0x97, NONE, IN_OPCODE],
  [0x9a, 0x9a, INVALID],
  [0x9c, 0x9c, NONE, STACK.PUSH],
  [0x9d, 0x9d, NONE, STACK.POP | FLAGS | MACHINE],
  [0xa0, 0xa3, MOFFS],
  // movs cmps, test, stos lods scas
  [0xa4, 0xa7, NONE, STRING],
  [0xa8, 0xa8, IMM8, NOTHING | BYTE],
  [0xa9, 0xa9, IMMZ, NOTHING],
  [0xaa, 0xaf, NONE, STRING],
  [0xb0, 0xb7, IMM8, IN_OPCODE | BYTE],
  [0xb8, 0xbf, IMMV, IN_OPCODE],
  [0xc0, 0xc0, MODRM | IMM8, RM | BYTE],
  [0xc1, 0xc1, MODRM | IMM8, RM],
  [0xc2, 0xc2, IMM16, FLOW_RET | STACK.RET],
  [OPCODE.RET, OPCODE.RET, NONE, FLOW_RET | STACK.RET],
  // c4 c5 begin VEX
  [0xc6, 0xc6, MODRM | IMM8, RM | BYTE],
  [0xc7, 0xc7, MODRM | IMMZ, RM],
  [0xc8, 0xc8, IMM16 | IMM8_MORE, STACK.ENTER],
  [0xc9, 0xc9, NONE, STACK.LEAVE],
  [0xca, 0xca, IMM16, FLOW_FAR | STACK.RET],
  [0xcb, 0xcb, NONE, FLOW_FAR | STACK.RET],
  [OPCODE.INT3, OPCODE.INT3, NONE, FLOW_INT3],
  [0xcd, 0xcd, IMM8, FLOW_INT],
  [0xce, 0xce, INVALID],
  [0xcf, 0xcf, NONE, FLOW_IRET | STACK.IRET],
  [0xd0, 0xd0, MODRM, RM | BYTE],
  [0xd1, 0xd1, MODRM, RM],
  [0xd2, 0xd2, MODRM, RM | BYTE],
  [0xd3, 0xd3, MODRM, RM],
  [0xd4, 0xd6, INVALID],
  [0xd8, 0xdf, MODRM],
  // loop jrcxz, in out
  [0xe0, 0xe3, IMM8, FLOW_JCC],
  [0xe4, 0xe7, IMM8, MACHINE],
  [OPCODE.CALL, OPCODE.CALL, IMM32, FLOW_CALL | STACK.CALL],
  [OPCODE.JMP32, OPCODE.JMP32, IMM32, FLOW_JMP],
  [0xea, 0xea, INVALID],
  [OPCODE.JMP8, OPCODE.JMP8, IMM8, FLOW_JMP],
  [0xec, 0xef, NONE, MACHINE],
  [0xf0, 0xf0, PREFIX],
  [0xf1, 0xf1, NONE, FLOW_INT],
  [0xf2, 0xf3, PREFIX],
  [0xf4, 0xf4, NONE, FLOW_HLT | MACHINE],
  [0xf6, 0xf6, MODRM | IMM_TEST, BYTE, group3],
  [0xf7, 0xf7, MODRM | IMM_TEST, 0, group3],
  // cli sti cld std
  [0xfa, 0xfb, NONE, MACHINE],
  [0xfc, 0xfc, NONE, CLEARS_DF],
  [0xfd, 0xfd, NONE, SETS_DF | MACHINE],
  [0xfe, 0xfe, MODRM, BYTE, { ...increment, ...unknown, 6: WRITES.UNKNOWN, 7: WRITES.UNKNOWN }],
  [
    0xff,
    0xff,
    MODRM,
    0,
    {
      ...increment,
      2: WRITES.UNKNOWN | FLOW_CALL_INDIRECT | STACK.CALL,
      3: WRITES.UNKNOWN | FLOW_FAR | STACK.CALL,
      4: WRITES.UNKNOWN | FLOW_JMP_INDIRECT,
      5: WRITES.UNKNOWN | FLOW_FAR,
      6: NOTHING | STACK.PUSH,
      7: WRITES.UNKNOWN,
    },
  ],
];

const TWO_BYTES: readonly Row[] = [
  [0x00, 0xff, MODRM],
  // sldt, lgdt and what else is of them, clts, invd, wbinvd, ud2
  [0x00, 0x01, MODRM, MACHINE],
  [0x04, 0x04, INVALID],
  [0x05, 0x05, NONE, FLOW_SYSCALL],
  [0x06, 0x06, NONE, MACHINE],
  [0x07, 0x07, NONE, FLOW_SYSRET],
  [0x08, 0x09, NONE, MACHINE],
  [0x0a, 0x0a, INVALID],
  [0x0b, 0x0b, NONE, FLOW_UD2],
  [0x0c, 0x0c, INVALID],
  [0x0d, 0x0d, MODRM, NOTHING | NOP],
  [0x0e, 0x0e, NONE],
  [0x0f, 0x0f, MODRM | IMM8],
  [0x18, 0x18, MODRM, NOTHING],
  [0x1f, 0x1f, MODRM, NOTHING | NOP],
  // mov of control and debug registers
  [0x20, 0x20, MODRM | REGISTERS, MACHINE],
  [0x21, 0x21, MODRM | REGISTERS, MACHINE | DEBUG_REGISTER | RM],
  [0x22, 0x22, MODRM | REGISTERS, MACHINE],
  [0x23, 0x23, MODRM | REGISTERS, MACHINE | DEBUG_REGISTER | REG],
  [0x24, 0x27, INVALID],
  // wrmsr rdtsc rdmsr rdpmc, sysenter sysexit
  [0x30, 0x33, NONE, MACHINE],
  [0x34, 0x34, NONE, FLOW_SYSCALL],
  [0x35, 0x35, NONE, FLOW_SYSRET],
  [0x36, 0x36, INVALID],
  [0x37, 0x37, NONE],
  [0x39, 0x39, INVALID],
  [0x3b, 0x3f, INVALID],
  [0x40, 0x4f, MODRM, REG],
  // movmskps, pshufw, shifts by a constant, emms, vmread
  [0x50, 0x50, MODRM, REGISTER_RM],
  [0x70, 0x70, MODRM | IMM8],
  [0x71, 0x73, MODRM | IMM8, REGISTER_RM],
  [0x77, 0x77, NONE, MACHINE],
  [0x78, 0x78, MODRM, NO_PREFIX],
  [0x7a, 0x7b, INVALID],
  [0x80, 0x8f, IMM32, FLOW_JCC],
  [0x90, 0x9f, MODRM, RM | BYTE],
  // push and pop of fs and gs, cpuid, bt bts shld shrd
  [0xa0, 0xa0, NONE, STACK.PUSH],
  [0xa1, 0xa1, NONE, STACK.POP_SEGMENT | MACHINE],
  [0xa2, 0xa2, NONE, MACHINE],
  [0xa3, 0xa3, MODRM, NOTHING],
  [0xa4, 0xa4, MODRM | IMM8, RM],
  [0xa5, 0xa5, MODRM, RM],
  [0xa8, 0xa8, NONE, STACK.PUSH],
  [0xa9, 0xa9, NONE, STACK.POP_SEGMENT | MACHINE],
  [0xaa, 0xaa, NONE],
  [0xab, 0xab, MODRM, RM | LOCKABLE],
  [0xac, 0xac, MODRM | IMM8, RM],
  [0xad, 0xad, MODRM, RM],
  [0xae, 0xae, MODRM, MACHINE],
  [0xaf, 0xaf, MODRM, REG],
  // cmpxchg, lss, btr, lfs lgs, movzx
  [0xb0, 0xb0, MODRM, BOTH | LOCKABLE | BYTE],
  [0xb1, 0xb1, MODRM, BOTH | LOCKABLE],
  [0xb2, 0xb2, MODRM, MACHINE],
  [0xb3, 0xb3, MODRM, RM | LOCKABLE],
  [0xb4, 0xb5, MODRM, MACHINE],
  [0xb6, 0xb8, MODRM, REG],
  [0xb9, 0xb9, MODRM, FLOW_UD2],
  // bt bts btr btc with a constant, btc, bsf bsr movsx, xadd
  [0xba, 0xba, MODRM | IMM8, 0, bitByConstant],
  [0xbb, 0xbb, MODRM, RM | LOCKABLE],
  [0xbc, 0xbf, MODRM, REG],
  [0xc0, 0xc0, MODRM, BOTH | LOCKABLE | BYTE],
  [0xc1, 0xc1, MODRM, BOTH | LOCKABLE],
  [0xc2, 0xc2, MODRM | IMM8],
  [0xc4, 0xc6, MODRM | IMM8],
  // cmpxchg8b, then those that save and restore
  [0xc7, 0xc7, MODRM, MACHINE, { 1: LOCKABLE }],
  [0xc8, 0xcf, NONE, IN_OPCODE],
  // movq, and between vector registers; pmovmskb, maskmovq
  [0xd6, 0xd6, MODRM, REP_REGISTER_RM],
  [0xd7, 0xd7, MODRM, REGISTER_RM],
  [0xf7, 0xf7, MODRM, REGISTER_RM],
  [0xff, 0xff, MODRM, FLOW_UD2],
];

/** What follows an opcode of the other maps; no more is said of them. */
export const FORM_0F38: number = MODRM;
export const FORM_0F3A: number = MODRM | IMM8;

function formsOf(rows: readonly Row[]): Uint16Array {
  const forms = new Uint16Array(256);
  for (const [from, to, form] of rows) forms.fill(form, from, to + 1);
  return forms;
}

/** By opcode byte, and by extension: the three bits of ModRM. */
function factsOf(rows: readonly Row[]): Uint32Array {
  const all = new Uint32Array(256 * 8);
  for (const [from, to, , facts = 0, extensions = {}] of rows) {
    for (let opcode = from; opcode <= to; opcode++) {
      for (let ext = 0; ext < 8; ext++) all[opcode * 8 + ext] = facts | (extensions[ext] ?? 0);
    }
  }
  return all;
}

export const FORM_ONE = formsOf(ONE_BYTE);
export const FORM_0F = formsOf(TWO_BYTES);
export const FACTS_ONE = factsOf(ONE_BYTE);
export const FACTS_0F = factsOf(TWO_BYTES);
