// The one-byte opcodes. Intel SDM volume 2, appendix A, table A-2.

import { lo32 } from '../../../../guest/addr.ts';
import { type Insn, REX_W } from '../../../../isa/decoder.ts';
import * as K from '../../core/kinds.ts';
import { EA, REGS, T0, ZERO } from '../../core/layout.ts';
import { escaped, nothing } from './fpu_state.ts';
import {
  byEngine,
  type Instruction,
  immediate,
  type Row,
  stop,
  stopBehind,
  type Translate,
  tableOf,
  undefinedInstruction,
} from './instruction.ts';
import {
  absolute,
  cellOf,
  changeRm,
  effective,
  loadRm,
  memoryOf,
  RSP_CELL,
  readRm,
  segmentBase,
  sizeOf,
  stackSize,
  storeRm,
} from './operands.ts';
import type { Place } from './place.ts';

const { B, W, D, Q } = K;
const RAX_CELL = REGS;
const RCX_CELL = REGS + 8;

/** add or adc sbb and sub xor cmp, as opcodes and extensions number them. */
const ARITHMETIC = [K.ADD, K.OR, K.ADC, K.SBB, K.AND, K.SUB, K.XOR, K.CMP];
const SHIFTS = [K.ROL, K.ROR, K.RCL, K.RCR, K.SHL, K.SHR, K.SHL, K.SAR];

/** The register in the opcode's low bits. */
const inOpcode = ({ insn }: Instruction): number => (insn.opcode & 7) | ((insn.rex & 1) << 3);
/** Size by the opcode's lowest bit: a byte, or what the prefixes say. */
const sizeByOpcode = ({ insn }: Instruction): number => (insn.opcode & 1 ? sizeOf(insn) : B);

/** Eight operations in their six forms: opcodes 00 to 3d. */
const arithmetic: Translate = (i) => {
  const { w, insn, next } = i;
  const kind = ARITHMETIC[insn.opcode >> 3] as number;
  const size = sizeByOpcode(i);
  const reg = cellOf(insn, insn.reg, size);
  switch (insn.opcode & 6) {
    case 0: // rm, reg
      if (kind === K.CMP) w.cells(kind + size, readRm(w, insn, size, next), reg);
      else {
        w.cells(kind + size, loadRm(w, insn, size, next), reg);
        storeRm(w, insn, size);
      }
      return;
    case 2: // reg, rm
      w.cells(kind + size, reg, readRm(w, insn, size, next));
      return;
    default: // rax, constant
      w.constant(kind + size, RAX_CELL, immediate(insn));
  }
};

/** 80 81 83: rm, constant */
const arithmeticByConstant: Translate = (i) => {
  const { w, insn, next } = i;
  const kind = ARITHMETIC[insn.reg & 7] as number;
  const size = sizeByOpcode(i);
  const imm = immediate(insn);
  if (kind === K.CMP) {
    const a = readRm(w, insn, size, next);
    w.constant(kind + size, a, imm);
    return;
  }
  const a = loadRm(w, insn, size, next);
  w.constant(kind + size, a, imm);
  storeRm(w, insn, size);
};

const pushReg: Translate = (i) =>
  i.w.cells(stackSize(i.insn) === W ? K.PUSH16 : K.PUSH, 0, REGS + 8 * inOpcode(i));
const popReg: Translate = (i) =>
  i.w.cells(stackSize(i.insn) === W ? K.POP16 : K.POP, REGS + 8 * inOpcode(i), 0);
const pushConstant: Translate = ({ w, insn }) =>
  w.constant(stackSize(insn) === W ? K.PUSH16 : K.PUSH, 0, immediate(insn));

/** 8f /0: the address of memory goes by the stack pointer after the pop. */
const popRm: Translate = ({ w, insn, next }) => {
  if ((insn.reg & 7) !== 0) return false;
  const size = stackSize(insn);
  const [pop, bytes] = size === W ? [K.POP16, 2] : [K.POP, 8];
  if (insn.mod === 3) {
    w.cells(pop, REGS + 8 * insn.rm, 0);
    return;
  }
  w.cells(K.LOAD + size, T0, RSP_CELL);
  w.memory(K.STORE + size, T0, memoryOf(w, insn, next, bytes));
  w.address(K.LEA, RSP_CELL, RSP_CELL, ZERO, bytes);
};

/** 63: movslq */
const movsxd: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const b = readRm(w, insn, size === Q ? D : size, next);
  w.cells(size === Q ? K.MOVSX32 + Q : K.MOV + size, cellOf(insn, insn.reg, size), b);
};

/** 69 6b */
const imulByConstant: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const b = readRm(w, insn, size, next);
  w.twoAndConstant(K.IMUL + size, cellOf(insn, insn.reg, size), b, immediate(insn));
};

const test: Translate = (i) => {
  const size = sizeByOpcode(i);
  const a = readRm(i.w, i.insn, size, i.next);
  i.w.cells(K.TEST + size, a, cellOf(i.insn, i.insn.reg, size));
};
const testRax: Translate = (i) => i.w.constant(K.TEST + sizeByOpcode(i), RAX_CELL, immediate(i.insn));

const xchg: Translate = (i) => {
  const { w, insn, next } = i;
  const size = sizeByOpcode(i);
  const reg = cellOf(insn, insn.reg, size);
  if (insn.mod === 3) {
    w.cells(K.XCHG + size, cellOf(insn, insn.rm, size), reg);
    return;
  }
  const memory = memoryOf(w, insn, next);
  w.memory(K.LOAD_TO_WRITE + size, T0, memory);
  w.memory(K.STORE + size, reg, memory);
  w.cells(K.MOV + size, reg, T0);
};
const xchgRax: Translate = (i) => {
  const size = sizeOf(i.insn);
  i.w.cells(K.XCHG + size, RAX_CELL, REGS + 8 * inOpcode(i));
};
/** 90: nop, pause; with REX.B it is an xchg with r8. */
const nop: Translate = (i) => (i.insn.rex & 1 ? xchgRax(i) : i.w.plain(K.NOP));

const movToRm: Translate = (i) => {
  const { w, insn, next } = i;
  const size = sizeByOpcode(i);
  const reg = cellOf(insn, insn.reg, size);
  if (insn.mod === 3) w.cells(K.MOV + size, cellOf(insn, insn.rm, size), reg);
  else w.memory(K.STORE + size, reg, memoryOf(w, insn, next));
};
const movFromRm: Translate = (i) => {
  const { w, insn, next } = i;
  const size = sizeByOpcode(i);
  const reg = cellOf(insn, insn.reg, size);
  if (insn.mod === 3) w.cells(K.MOV + size, reg, cellOf(insn, insn.rm, size));
  else w.memory(K.LOAD + size, reg, memoryOf(w, insn, next));
};
/** c6 c7 /0 */
const movConstant: Translate = (i) => {
  const { w, insn, next } = i;
  if ((insn.reg & 7) !== 0) return false;
  const size = sizeByOpcode(i);
  const imm = immediate(insn);
  if (insn.mod === 3) {
    w.constant(K.MOV + size, cellOf(insn, insn.rm, size), imm);
    return;
  }
  const to = memoryOf(w, insn, next);
  w.constantTo(K.STORE + size, imm, to);
};
/** a0 to a3: the address is the constant. */
const movOffset: Translate = (i) => {
  const { w, insn, bytes, at } = i;
  const size = sizeByOpcode(i);
  const end = at + insn.length;
  let address = 0n;
  for (let k = 1; k <= insn.immSize; k++) address = (address << 8n) | BigInt(bytes[end - k] as number);
  let { b, disp } = absolute(w, address);
  const segment = segmentBase(insn);
  if (segment !== 0) {
    w.address(K.LEA, EA, b, ZERO, disp);
    w.cells(K.ADD_SEGMENT, EA, segment);
    [b, disp] = [EA, 0];
  }
  w.op((insn.opcode & 2 ? K.STORE : K.LOAD) + size, { a: RAX_CELL, b, disp });
};
const movByteConstant: Translate = (i) =>
  i.w.constant(K.MOV + B, cellOf(i.insn, inOpcode(i), B), immediate(i.insn));
/** b8 to bf: the only constant of 64 bits. */
const movWideConstant: Translate = (i) => {
  const { w, insn, bytes, at } = i;
  const size = sizeOf(insn);
  let imm: number | bigint = immediate(insn);
  if (size === Q) {
    imm = 0n;
    const end = at + insn.length;
    for (let k = 1; k <= 8; k++) imm = (imm << 8n) | BigInt(bytes[end - k] as number);
  }
  w.constant(K.MOV + size, REGS + 8 * inOpcode(i), imm);
};

const lea: Translate = ({ w, insn, next }) => {
  if (insn.mod === 3) return false;
  const size = sizeOf(insn);
  const { b, disp } = effective(w, insn, next);
  const a = cellOf(insn, insn.reg, size);
  if (size === Q) w.address(K.LEA, a, b, ZERO, disp);
  else {
    w.address(K.LEA, EA, b, ZERO, disp);
    w.cells(K.MOV + size, a, EA);
  }
};

/** 98: cbw cwde cdqe, 99: cwd cdq cqo */
const signExtend: Translate = ({ w, insn }) => {
  const size = sizeOf(insn);
  const kind = size === Q ? K.MOVSX32 + Q : size === D ? K.MOVSX16 + D : K.MOVSX8 + W;
  w.cells(kind, RAX_CELL, RAX_CELL);
};
const signToRdx: Translate = ({ w, insn }) => w.plain(K.CWD + sizeOf(insn));

/** Strings; under a rep prefix the last of their block. */
function string(kind: number, repeated: number): Translate {
  return (i) => {
    const { w, insn, next } = i;
    const size = sizeByOpcode(i);
    const operands = { a: segmentBase(insn) || ZERO, c: insn.addr32 ? 1 : 0 };
    if (insn.rep === 0) w.op(kind + size, operands);
    else {
      w.op(repeated + size, { ...operands, imm: insn.rep === 0xf3 ? 1 : 0 });
      goOn(i, next);
    }
  };
}

/** What follows a block: the next instruction. */
function goOn({ w }: Instruction, next: Place): void {
  w.toAddress(K.GOTO, next, 0);
}

/** c0 c1 d0 d1 d2 d3 */
const shift: Translate = (i) => {
  const { w, insn, next } = i;
  const size = sizeByOpcode(i);
  const kind = SHIFTS[insn.reg & 7] as number;
  const a = loadRm(w, insn, size, next);
  if (insn.opcode >= 0xd2) w.cells(kind + size, a, RCX_CELL);
  else w.constant(kind + size, a, insn.opcode >= 0xd0 ? 1 : immediate(insn));
  storeRm(w, insn, size);
};

/** f6 f7: test not neg mul imul div idiv */
const group3: Translate = (i) => {
  const { w, insn, next } = i;
  const size = sizeByOpcode(i);
  const ext = insn.reg & 7;
  if (ext < 2) {
    const a = readRm(w, insn, size, next);
    w.constant(K.TEST + size, a, immediate(insn));
  } else if (ext < 4) changeRm(w, insn, size, next, (a) => w.cells((ext === 2 ? K.NOT : K.NEG) + size, a, 0));
  else {
    const kind = [K.MUL, K.IMUL1, K.DIV, K.IDIV][ext - 4] as number;
    w.cells(kind + size, 0, readRm(w, insn, size, next));
  }
};

/** fe ff: inc dec, call jmp push */
const group5: Translate = (i) => {
  const { w, insn, next } = i;
  const ext = insn.reg & 7;
  if (ext < 2) {
    const size = sizeByOpcode(i);
    changeRm(w, insn, size, next, (a) => w.cells((ext === 0 ? K.INC : K.DEC) + size, a, 0));
    return;
  }
  if (insn.opcode === 0xfe) return false;
  switch (ext) {
    case 2:
      w.toAddress(
        i.isTrampoline ? K.CALL_INDIRECT_NOTED : K.CALL_INDIRECT,
        next,
        0,
        readRm(w, insn, Q, next),
      );
      return;
    case 4:
      w.cells(K.JMP_INDIRECT, readRm(w, insn, Q, next), 0);
      return;
    case 6: {
      const size = stackSize(insn);
      w.cells(size === W ? K.PUSH16 : K.PUSH, 0, readRm(w, insn, size, next));
      return;
    }
    case 3:
    case 5: // far, through memory; through a register there is none
      return insn.mod === 3 ? false : byEngine(i);
  }
  return false;
};

const branch = (i: Instruction, kind: number): void => i.w.toAddress(kind, i.next, immediate(i.insn));
export const jcc: Translate = (i) => {
  branch(i, K.JCC + (i.insn.opcode & 15));
  goOn(i, i.next);
};
/** e0 to e3: loopne loope loop jrcxz */
const loop: Translate = (i) => {
  const { w, insn, next } = i;
  w.toAddress(K.LOOP, next, immediate(insn), 0, insn.addr32 ? 1 : 0, insn.opcode & 3);
  goOn(i, i.next);
};
/** Whether text of an ftrace trampoline is at an address. */
const isTrampoline = (i: Instruction, lo: number): boolean => i.isTrampoline?.(lo) ?? false;
const call: Translate = (i) => {
  const target = i.next.low(immediate(i.insn)) >>> 0;
  branch(i, !i.isTrampoline ? K.CALL : isTrampoline(i, target) ? K.CALL_TRAMPOLINE : K.CALL_NOTED);
};
const jmp: Translate = (i) => branch(i, K.JMP);
const ret: Translate = (i) =>
  i.w.op(!i.isTrampoline ? K.RET : isTrampoline(i, lo32(i.next.base)) ? K.RET_TRAMPOLINE : K.RET_NOTED, {
    imm: i.insn.opcode === 0xc2 ? i.insn.imm & 0xffff : 0,
  });
const iret: Translate = (i) => (i.insn.rex & REX_W ? i.w.plain(K.IRET) : stop(i, K.STOP_PROTECTION));

/** c8: the constant of 16 bits, then one of 8. */
const enter: Translate = ({ w, insn, bytes, at }) => {
  const end = at + insn.length;
  w.op(K.ENTER, {
    b: isWord(insn),
    imm: (bytes[end - 3] as number) | ((bytes[end - 2] as number) << 8),
    c: bytes[end - 1] as number,
  });
};

/** pushf, popf, enter, leave: 1 where they are of 16 bits. */
const isWord = (insn: Insn): number => (stackSize(insn) === W ? 1 : 0);
const ofStack =
  (kind: number): Translate =>
  ({ w, insn }) =>
    w.cells(kind, 0, isWord(insn));
/** An operation without operands. */
const plain =
  (kind: number): Translate =>
  ({ w }) =>
    w.plain(kind);
const trap: Translate = (i) => stopBehind(i, K.STOP_TRAP);
const halt: Translate = (i) => (i.user ? stop(i, K.STOP_PROTECTION) : stopBehind(i, K.STOP_HALT));
const ROWS: readonly Row[] = [
  ...[0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38].map((op): Row => [op, op + 5, arithmetic]),
  [0x50, 0x57, pushReg],
  [0x58, 0x5f, popReg],
  [0x63, 0x63, movsxd],
  [0x68, 0x68, pushConstant],
  [0x69, 0x69, imulByConstant],
  [0x6a, 0x6a, pushConstant],
  [0x6b, 0x6b, imulByConstant],
  [0x6c, 0x6f, byEngine], // ins outs
  [0x70, 0x7f, jcc],
  [0x80, 0x83, arithmeticByConstant],
  [0x84, 0x85, test],
  [0x86, 0x87, xchg],
  [0x88, 0x89, movToRm],
  [0x8a, 0x8b, movFromRm],
  [0x8c, 0x8c, byEngine], // mov of segment registers
  [0x8d, 0x8d, lea],
  [0x8e, 0x8e, byEngine],
  [0x8f, 0x8f, popRm],
  [0x90, 0x90, nop],
  [0x91, 0x97, xchgRax],
  [0x98, 0x98, signExtend],
  [0x99, 0x99, signToRdx],
  [0x9b, 0x9b, nothing],
  [0x9c, 0x9c, ofStack(K.PUSHF)],
  [0x9d, 0x9d, ofStack(K.POPF)],
  [0x9e, 0x9e, plain(K.SAHF)],
  [0x9f, 0x9f, plain(K.LAHF)],
  [0xa0, 0xa3, movOffset],
  [0xa4, 0xa5, string(K.MOVS, K.REP_MOVS)],
  [0xa6, 0xa7, string(K.CMPS, K.REP_CMPS)],
  [0xa8, 0xa9, testRax],
  [0xaa, 0xab, string(K.STOS, K.REP_STOS)],
  [0xac, 0xad, string(K.LODS, K.REP_LODS)],
  [0xae, 0xaf, string(K.SCAS, K.REP_SCAS)],
  [0xb0, 0xb7, movByteConstant],
  [0xb8, 0xbf, movWideConstant],
  [0xc0, 0xc1, shift],
  [0xc2, 0xc3, ret],
  [0xc6, 0xc7, movConstant],
  [0xc8, 0xc8, enter],
  [0xc9, 0xc9, ofStack(K.LEAVE)],
  [0xca, 0xcb, byEngine], // far ret
  [0xcc, 0xcd, trap],
  [0xcf, 0xcf, iret],
  [0xd0, 0xd3, shift],
  [0xd7, 0xd7, ({ w, insn }) => w.op(K.XLAT, { c: segmentBase(insn) || ZERO })],
  [0xd8, 0xdf, escaped],
  [0xe0, 0xe3, loop],
  [0xe4, 0xe7, byEngine], // in out
  [0xe8, 0xe8, call],
  [0xe9, 0xe9, jmp],
  [0xeb, 0xeb, jmp],
  [0xec, 0xef, byEngine], // in out
  [0xf1, 0xf1, undefinedInstruction], // int1: there is no #DB
  [0xf4, 0xf4, halt],
  [0xf5, 0xf5, plain(K.CMC)],
  [0xf6, 0xf7, group3],
  [0xf8, 0xf8, plain(K.CLC)],
  [0xf9, 0xf9, plain(K.STC)],
  [0xfa, 0xfa, plain(K.CLI)],
  [0xfb, 0xfb, plain(K.STI)],
  [0xfc, 0xfc, plain(K.CLD)],
  [0xfd, 0xfd, plain(K.STD)],
  [0xfe, 0xff, group5],
];

export const ONE_BYTE = tableOf(ROWS);
