// The opcodes behind 0F. Intel SDM volume 2, appendix A, table A-3.

import { REX_W } from '../../../../isa/decoder.ts';
import * as K from '../../core/kinds.ts';
import { EA, REGS, T0, ZERO } from '../../core/layout.ts';
import { STATE_9, STATE_15 } from './fpu_state.ts';
import {
  byEngine,
  immediate,
  type Row,
  stop,
  stopBehind,
  type Translate,
  tableOf,
  undefinedInstruction,
} from './instruction.ts';
import { jcc } from './one_byte.ts';
import {
  cellOf,
  changeRm,
  effective,
  keptMemoryOf,
  memoryOf,
  readRm,
  segmentBase,
  sizeOf,
  stackSize,
} from './operands.ts';

const { B, D, Q, W } = K;
const RCX_CELL = REGS + 8;

const sizeByOpcode = ({ insn }: Parameters<Translate>[0]): number => (insn.opcode & 1 ? sizeOf(insn) : B);

/** 1f and others: the operand is not accessed. */
const nop: Translate = ({ w }) => w.plain(K.NOP);
const syscall: Translate = (i) => stopBehind(i, K.STOP_SYSCALL);
const sysret: Translate = (i) => (i.insn.rex & REX_W ? i.w.plain(K.SYSRET) : stop(i, K.STOP_PROTECTION));

/** 01: swapgs, stac, clac; the others are the engine's. */
const group7: Translate = (i) => {
  const { w, insn } = i;
  if (insn.mod !== 3) return byEngine(i);
  const isOther = insn.rep !== 0 || insn.opsize16; // erets and eretu, of an extension that cpuid does not tell of
  switch (((insn.reg & 7) << 3) | (insn.rm & 7)) {
    case 0o12:
      return i.user || isOther ? false : w.plain(K.CLAC);
    case 0o13:
      return i.user || isOther ? false : w.plain(K.STAC);
    case 0o70:
      w.plain(K.SWAPGS);
      return;
  }
  return byEngine(i);
};

/** 22: mov to a control register. CR3 chooses the address space. */
const toControlRegister: Translate = (i) =>
  i.insn.reg === 3 && !i.user ? i.w.cells(K.LOAD_SPACE, REGS + 8 * i.insn.rm, 0) : byEngine(i);

/** 21 23: debug registers are the machine's. */
const debugRegister: Translate = (i) => stop(i, i.user ? K.STOP_PROTECTION : K.STOP_REFUSED);

const cmov: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const b = readRm(w, insn, size, next);
  w.numbered(K.CMOV + size, cellOf(insn, insn.reg, size), b, insn.opcode & 15);
};
const setcc: Translate = ({ w, insn, next }) =>
  changeRm(w, insn, B, next, (a) => w.numbered(K.SETCC, a, 0, insn.opcode & 15), { isRead: false });

/** a3 ab b3 bb: the register's bits above the operand's size choose where in memory it is. */
function bit(kind: number): Translate {
  return ({ w, insn, next }) => {
    const size = sizeOf(insn);
    const reg = cellOf(insn, insn.reg, size);
    if (insn.mod === 3) {
      w.cells(kind + size, cellOf(insn, insn.rm, size), reg);
      return;
    }
    const { b, disp } = effective(w, insn, next);
    w.address(K.LEA, EA, b, ZERO, disp);
    w.numbered(K.ADD_BIT_OFFSET, EA, reg, size);
    if (insn.addr32) w.address(K.LEA32, EA, EA, ZERO, 0);
    const segment = segmentBase(insn);
    if (segment !== 0) w.cells(K.ADD_SEGMENT, EA, segment);
    bitOperation(kind, w, size, reg);
  };
}
type Writer = Parameters<Translate>[0]['w'];
function bitOperation(kind: number, w: Writer, size: number, b: number): void {
  w.cells((kind === K.BT ? K.LOAD : K.LOAD_TO_WRITE) + size, T0, EA);
  w.cells(kind + size, T0, b);
  if (kind !== K.BT) w.cells(K.STORE + size, T0, EA);
}
/** ba /4 to /7: bt bts btr btc with a constant. */
const bitByConstant: Translate = ({ w, insn, next }) => {
  if ((insn.reg & 7) < 4) return false;
  const size = sizeOf(insn);
  const kind = [K.BT, K.BTS, K.BTR, K.BTC][(insn.reg & 7) - 4] as number;
  const imm = immediate(insn);
  if (kind === K.BT) {
    const a = readRm(w, insn, size, next);
    w.constant(kind + size, a, imm);
  } else changeRm(w, insn, size, next, (a) => w.constant(kind + size, a, imm));
};

/** a4 a5 ac ad */
const doubleShift: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const kind = (insn.opcode & 8 ? K.SHRD : K.SHLD) + size;
  const b = cellOf(insn, insn.reg, size);
  changeRm(w, insn, size, next, (a) => {
    if (insn.opcode & 1) w.three(kind, a, b, RCX_CELL);
    else w.twoAndConstant(kind, a, b, immediate(insn));
  });
};

const imul: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const c = readRm(w, insn, size, next);
  const a = cellOf(insn, insn.reg, size);
  w.three(K.IMUL + size, a, a, c);
};
/** They write a register, too, that may be one of the address. */
const KEPT = { address: keptMemoryOf };
const cmpxchg: Translate = (i) => {
  const size = sizeByOpcode(i);
  const { w, insn, next } = i;
  changeRm(w, insn, size, next, (a) => w.cells(K.CMPXCHG + size, a, cellOf(insn, insn.reg, size)), KEPT);
};
const xadd: Translate = (i) => {
  const size = sizeByOpcode(i);
  const { w, insn, next } = i;
  changeRm(w, insn, size, next, (a) => w.cells(K.XADD + size, a, cellOf(insn, insn.reg, size)), KEPT);
};
/** c7 /1: cmpxchg8b, cmpxchg16b; /6 rdrand, /7 rdseed are not there. */
const group9: Translate = (i) => {
  const { w, insn, next } = i;
  const state = STATE_9[insn.reg & 7];
  if (state && insn.mod !== 3) return state(i);
  if ((insn.reg & 7) !== 1 || insn.mod === 3) return false;
  w.op(insn.rex & REX_W ? K.CMPXCHG16B : K.CMPXCHG8B, memoryOf(w, insn, next));
};

const EXTENDED = [K.MOVZX8, K.MOVZX16, K.MOVSX8, K.MOVSX16];
const LOADED = [K.LOAD_ZX8, K.LOAD_ZX16, K.LOAD_SX8, K.LOAD_SX16];
/** b6 b7 be bf */
const extend: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const signed = (insn.opcode & 8) !== 0;
  const from = insn.opcode & 1;
  const a = cellOf(insn, insn.reg, size);
  if (insn.mod === 3) {
    const b = cellOf(insn, insn.rm, from);
    if (from === 1 && size === 1) w.cells(K.MOV + size, a, b);
    else w.cells((EXTENDED[(signed ? 2 : 0) + from] as number) + size, a, b);
    return;
  }
  w.memory((LOADED[(signed ? 2 : 0) + from] as number) + size, a, memoryOf(w, insn, next));
};

/** bc bd, and b8: with f3 tzcnt lzcnt popcnt. */
const bitScan: Translate = ({ w, insn, next }) => {
  const size = sizeOf(insn);
  const low = insn.opcode & 0xff;
  const counts = insn.rep === 0xf3;
  if (low === 0xb8 && !counts) return false;
  const kind = low === 0xb8 ? K.POPCNT : low === 0xbc ? (counts ? K.TZCNT : K.BSF) : counts ? K.LZCNT : K.BSR;
  const b = readRm(w, insn, size, next);
  w.cells(kind + size, cellOf(insn, insn.reg, size), b);
};

const byteSwap: Translate = ({ w, insn }) => {
  const cell = REGS + 8 * ((insn.opcode & 7) | ((insn.rex & 1) << 3));
  const size = insn.rex & REX_W ? Q : D;
  w.cells(K.BSWAP + size, cell, cell);
};

/** a0 a8: selectors of fs and gs are 0. */
const pushSegment: Translate = ({ w, insn }) => w.cells(stackSize(insn) === W ? K.PUSH16 : K.PUSH, 0, ZERO);

/** ae: fences; rdfsbase and others with f3 are undefined, as CR4 has it. */
const group15: Translate = (i) => {
  const { w, insn } = i;
  const ext = insn.reg & 7;
  if (insn.mod === 3) {
    // lfence mfence sfence; tpause with 66 is of an extension that cpuid does not tell of
    return insn.rep === 0 && ext >= 5 && !(insn.opsize16 && ext === 6) ? w.plain(K.NOP) : false;
  }
  if (insn.rep !== 0 || (insn.opsize16 && ext < 6)) return false;
  if (ext === 7 || insn.opsize16) {
    readRm(w, insn, B, i.next); // clflush, clflushopt, clwb: a load, as far as faults go
    return;
  }
  return STATE_15[ext](i);
};

const ROWS: readonly Row[] = [
  [0x00, 0x03, byEngine],
  [0x01, 0x01, group7],
  [0x05, 0x05, syscall],
  [0x06, 0x06, byEngine], // clts
  [0x07, 0x07, sysret],
  [0x08, 0x09, (i) => (i.user ? stop(i, K.STOP_PROTECTION) : i.w.plain(K.NOP))], // invd wbinvd
  [0x0b, 0x0b, undefinedInstruction],
  [0x0d, 0x0d, nop],
  [0x18, 0x1f, nop],
  [0x20, 0x20, byEngine], // mov of control registers
  [0x21, 0x21, debugRegister],
  [0x22, 0x22, toControlRegister],
  [0x23, 0x23, debugRegister],
  [0x30, 0x33, byEngine], // wrmsr rdtsc rdmsr rdpmc
  [0x40, 0x4f, cmov],
  [0x80, 0x8f, jcc],
  [0x90, 0x9f, setcc],
  [0xa0, 0xa0, pushSegment],
  [0xa1, 0xa1, byEngine], // pop of fs
  [0xa2, 0xa2, byEngine], // cpuid
  [0xa3, 0xa3, bit(K.BT)],
  [0xa4, 0xa5, doubleShift],
  [0xa8, 0xa8, pushSegment],
  [0xa9, 0xa9, byEngine], // pop of gs
  [0xab, 0xab, bit(K.BTS)],
  [0xac, 0xad, doubleShift],
  [0xae, 0xae, group15],
  [0xaf, 0xaf, imul],
  [0xb0, 0xb1, cmpxchg],
  [0xb2, 0xb2, byEngine], // lss
  [0xb3, 0xb3, bit(K.BTR)],
  [0xb4, 0xb5, byEngine], // lfs lgs
  [0xb6, 0xb7, extend],
  [0xb8, 0xb8, bitScan],
  [0xb9, 0xb9, undefinedInstruction],
  [0xba, 0xba, bitByConstant],
  [0xbb, 0xbb, bit(K.BTC)],
  [0xbc, 0xbd, bitScan],
  [0xbe, 0xbf, extend],
  [0xc0, 0xc1, xadd],
  // movnti: a store of a register
  [
    0xc3,
    0xc3,
    ({ w, insn, next }) =>
      insn.mod === 3
        ? false
        : w.memory(K.STORE + sizeOf(insn), cellOf(insn, insn.reg, D), memoryOf(w, insn, next)),
  ],
  [0xc7, 0xc7, group9],
  [0xc8, 0xcf, byteSwap],
  [0xff, 0xff, undefinedInstruction],
];

export const TWO_BYTES = tableOf(ROWS);
