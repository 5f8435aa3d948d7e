// The loop: one operation after the other, and where a block ends, the next block.
//
// A block's instructions are taken from the budget when it is entered; who leaves it early gives the rest back (leave.ts).
// Between two blocks nothing is looked at but that, so what may stop a run elsewhere is an operation of its own (STOP_HERE).
//
// The switch is one, and dense: it becomes a table of jumps. It says which function an operation is; what it does stands
// in the file of its family.

import { adc, add, cmp, cmpxchg, dec, div, idiv, imul, imul1, inc, mul, neg, sbb, sub, xadd } from './arithmetic';
import { addBitOffset, bsf, bsr, bt, btc, btr, bts, byteSwap, lzcnt, popcount, tzcnt } from './bit';
import { findBlock } from './blocks';
import { behind, call, callIndirect, callIndirectNoted, callNoted, jumpIndirect, loopAgain, ret } from './branch';
import { AC, condition, DF, IF, isCarry, isOverflow, isParity, isSign, isZero, setCarry } from './flags';
import * as K from './kinds';
import * as L from './layout';
import { end, leave, leaveBehind, leaveBy, leaveRepetition, plant, rest, startOf } from './leave';
import { and, not, or, test, xor } from './logic';
import { cmov, cmpxchg8b, cmpxchg16b, lea, loadMemory, loadSx, loadToWrite, loadZx, mov, movsx, movzx, signToRdx, storeMemory, xchg, xlat } from './move';
import { drain, observeInstruction } from './observe';
import { isInModules, noteReturn, noteStackPointer, noteTrampoline } from './shadow';
import { rcl, rcr, rol, ror, sar, shl, shld, shr, shrd } from './shift';
import { enterFrame, leaveFrame, pop, popf, push, pushf } from './stack';
import { a, b, c, imm, RSP } from './state';
import { cmps, lods, movs, repCmps, repLods, repMovs, repScas, repStos, scas, stos } from './string';
import { iret, lahf, loadSpace, sahf, setPrivileged, swapgs, sysret } from './system';
import { vector } from './vector';

/**
 * Executes at most `budget` instructions from RIP.
 * @param oneBlock end behind the first block
 * @returns a STOP_; LEFT has what is left of the budget
 */
export function run(budget: i32, oneBlock: bool): i32 {
  const block = findBlock(load<u64>(L.RIP));
  if (block == 0) return end(K.STOP_DECODE, load<u64>(L.RIP), budget);
  if (budget <= 0) return end(K.STOP_BUDGET, load<u64>(L.RIP), budget);
  return runFrom(block, budget, oneBlock);
}

/** The same from a block, whatever RIP is. */
export function runFrom(block: u32, budget: i32, oneBlock: bool): i32 {
  let left = budget;
  store<u32>(L.STOP, K.STOP_BUDGET);
  let count = load<i32>(block, L.BLOCK_COUNT);
  if (left < count) plant(block, left);
  left -= count;
  let op: u32 = block + L.BLOCK_HEADER;
  while (true) {
    switch (<i32>load<u16>(op)) {

      // arithmetic.ts
      case K.ADD + K.B: add<u8>(op); op += L.OP_SIZE; continue;
      case K.ADD + K.W: add<u16>(op); op += L.OP_SIZE; continue;
      case K.ADD + K.D: add<u32>(op); op += L.OP_SIZE; continue;
      case K.ADD + K.Q: add<u64>(op); op += L.OP_SIZE; continue;
      case K.ADC + K.B: adc<u8>(op); op += L.OP_SIZE; continue;
      case K.ADC + K.W: adc<u16>(op); op += L.OP_SIZE; continue;
      case K.ADC + K.D: adc<u32>(op); op += L.OP_SIZE; continue;
      case K.ADC + K.Q: adc<u64>(op); op += L.OP_SIZE; continue;
      case K.SUB + K.B: sub<u8>(op); op += L.OP_SIZE; continue;
      case K.SUB + K.W: sub<u16>(op); op += L.OP_SIZE; continue;
      case K.SUB + K.D: sub<u32>(op); op += L.OP_SIZE; continue;
      case K.SUB + K.Q: sub<u64>(op); op += L.OP_SIZE; continue;
      case K.SBB + K.B: sbb<u8>(op); op += L.OP_SIZE; continue;
      case K.SBB + K.W: sbb<u16>(op); op += L.OP_SIZE; continue;
      case K.SBB + K.D: sbb<u32>(op); op += L.OP_SIZE; continue;
      case K.SBB + K.Q: sbb<u64>(op); op += L.OP_SIZE; continue;
      case K.CMP + K.B: cmp<u8>(op); op += L.OP_SIZE; continue;
      case K.CMP + K.W: cmp<u16>(op); op += L.OP_SIZE; continue;
      case K.CMP + K.D: cmp<u32>(op); op += L.OP_SIZE; continue;
      case K.CMP + K.Q: cmp<u64>(op); op += L.OP_SIZE; continue;
      case K.INC + K.B: inc<u8>(op); op += L.OP_SIZE; continue;
      case K.INC + K.W: inc<u16>(op); op += L.OP_SIZE; continue;
      case K.INC + K.D: inc<u32>(op); op += L.OP_SIZE; continue;
      case K.INC + K.Q: inc<u64>(op); op += L.OP_SIZE; continue;
      case K.DEC + K.B: dec<u8>(op); op += L.OP_SIZE; continue;
      case K.DEC + K.W: dec<u16>(op); op += L.OP_SIZE; continue;
      case K.DEC + K.D: dec<u32>(op); op += L.OP_SIZE; continue;
      case K.DEC + K.Q: dec<u64>(op); op += L.OP_SIZE; continue;
      case K.NEG + K.B: neg<u8>(op); op += L.OP_SIZE; continue;
      case K.NEG + K.W: neg<u16>(op); op += L.OP_SIZE; continue;
      case K.NEG + K.D: neg<u32>(op); op += L.OP_SIZE; continue;
      case K.NEG + K.Q: neg<u64>(op); op += L.OP_SIZE; continue;
      case K.XADD + K.B: xadd<u8>(op); op += L.OP_SIZE; continue;
      case K.XADD + K.W: xadd<u16>(op); op += L.OP_SIZE; continue;
      case K.XADD + K.D: xadd<u32>(op); op += L.OP_SIZE; continue;
      case K.XADD + K.Q: xadd<u64>(op); op += L.OP_SIZE; continue;
      case K.CMPXCHG + K.B: cmpxchg<u8>(op); op += L.OP_SIZE; continue;
      case K.CMPXCHG + K.W: cmpxchg<u16>(op); op += L.OP_SIZE; continue;
      case K.CMPXCHG + K.D: cmpxchg<u32>(op); op += L.OP_SIZE; continue;
      case K.CMPXCHG + K.Q: cmpxchg<u64>(op); op += L.OP_SIZE; continue;
      case K.MUL + K.B: mul<u8>(op); op += L.OP_SIZE; continue;
      case K.MUL + K.W: mul<u16>(op); op += L.OP_SIZE; continue;
      case K.MUL + K.D: mul<u32>(op); op += L.OP_SIZE; continue;
      case K.MUL + K.Q: mul<u64>(op); op += L.OP_SIZE; continue;
      case K.IMUL1 + K.B: imul1<u8>(op); op += L.OP_SIZE; continue;
      case K.IMUL1 + K.W: imul1<u16>(op); op += L.OP_SIZE; continue;
      case K.IMUL1 + K.D: imul1<u32>(op); op += L.OP_SIZE; continue;
      case K.IMUL1 + K.Q: imul1<u64>(op); op += L.OP_SIZE; continue;
      case K.IMUL + K.W: imul<u16>(op); op += L.OP_SIZE; continue;
      case K.IMUL + K.D: imul<u32>(op); op += L.OP_SIZE; continue;
      case K.IMUL + K.Q: imul<u64>(op); op += L.OP_SIZE; continue;
      case K.DIV + K.B: if (!div<u8>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.DIV + K.W: if (!div<u16>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.DIV + K.D: if (!div<u32>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.DIV + K.Q: if (!div<u64>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.IDIV + K.B: if (!idiv<u8>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.IDIV + K.W: if (!idiv<u16>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.IDIV + K.D: if (!idiv<u32>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;
      case K.IDIV + K.Q: if (!idiv<u64>(op)) return leaveBy(K.STOP_DIVIDE, op, block, left); op += L.OP_SIZE; continue;

      // logic.ts
      case K.AND + K.B: and<u8>(op); op += L.OP_SIZE; continue;
      case K.AND + K.W: and<u16>(op); op += L.OP_SIZE; continue;
      case K.AND + K.D: and<u32>(op); op += L.OP_SIZE; continue;
      case K.AND + K.Q: and<u64>(op); op += L.OP_SIZE; continue;
      case K.OR + K.B: or<u8>(op); op += L.OP_SIZE; continue;
      case K.OR + K.W: or<u16>(op); op += L.OP_SIZE; continue;
      case K.OR + K.D: or<u32>(op); op += L.OP_SIZE; continue;
      case K.OR + K.Q: or<u64>(op); op += L.OP_SIZE; continue;
      case K.XOR + K.B: xor<u8>(op); op += L.OP_SIZE; continue;
      case K.XOR + K.W: xor<u16>(op); op += L.OP_SIZE; continue;
      case K.XOR + K.D: xor<u32>(op); op += L.OP_SIZE; continue;
      case K.XOR + K.Q: xor<u64>(op); op += L.OP_SIZE; continue;
      case K.NOT + K.B: not<u8>(op); op += L.OP_SIZE; continue;
      case K.NOT + K.W: not<u16>(op); op += L.OP_SIZE; continue;
      case K.NOT + K.D: not<u32>(op); op += L.OP_SIZE; continue;
      case K.NOT + K.Q: not<u64>(op); op += L.OP_SIZE; continue;
      case K.TEST + K.B: test<u8>(op); op += L.OP_SIZE; continue;
      case K.TEST + K.W: test<u16>(op); op += L.OP_SIZE; continue;
      case K.TEST + K.D: test<u32>(op); op += L.OP_SIZE; continue;
      case K.TEST + K.Q: test<u64>(op); op += L.OP_SIZE; continue;

      // shift.ts
      case K.SHL + K.B: shl<u8>(op); op += L.OP_SIZE; continue;
      case K.SHL + K.W: shl<u16>(op); op += L.OP_SIZE; continue;
      case K.SHL + K.D: shl<u32>(op); op += L.OP_SIZE; continue;
      case K.SHL + K.Q: shl<u64>(op); op += L.OP_SIZE; continue;
      case K.SHR + K.B: shr<u8>(op); op += L.OP_SIZE; continue;
      case K.SHR + K.W: shr<u16>(op); op += L.OP_SIZE; continue;
      case K.SHR + K.D: shr<u32>(op); op += L.OP_SIZE; continue;
      case K.SHR + K.Q: shr<u64>(op); op += L.OP_SIZE; continue;
      case K.SAR + K.B: sar<u8>(op); op += L.OP_SIZE; continue;
      case K.SAR + K.W: sar<u16>(op); op += L.OP_SIZE; continue;
      case K.SAR + K.D: sar<u32>(op); op += L.OP_SIZE; continue;
      case K.SAR + K.Q: sar<u64>(op); op += L.OP_SIZE; continue;
      case K.ROL + K.B: rol<u8>(op); op += L.OP_SIZE; continue;
      case K.ROL + K.W: rol<u16>(op); op += L.OP_SIZE; continue;
      case K.ROL + K.D: rol<u32>(op); op += L.OP_SIZE; continue;
      case K.ROL + K.Q: rol<u64>(op); op += L.OP_SIZE; continue;
      case K.ROR + K.B: ror<u8>(op); op += L.OP_SIZE; continue;
      case K.ROR + K.W: ror<u16>(op); op += L.OP_SIZE; continue;
      case K.ROR + K.D: ror<u32>(op); op += L.OP_SIZE; continue;
      case K.ROR + K.Q: ror<u64>(op); op += L.OP_SIZE; continue;
      case K.RCL + K.B: rcl<u8>(op); op += L.OP_SIZE; continue;
      case K.RCL + K.W: rcl<u16>(op); op += L.OP_SIZE; continue;
      case K.RCL + K.D: rcl<u32>(op); op += L.OP_SIZE; continue;
      case K.RCL + K.Q: rcl<u64>(op); op += L.OP_SIZE; continue;
      case K.RCR + K.B: rcr<u8>(op); op += L.OP_SIZE; continue;
      case K.RCR + K.W: rcr<u16>(op); op += L.OP_SIZE; continue;
      case K.RCR + K.D: rcr<u32>(op); op += L.OP_SIZE; continue;
      case K.RCR + K.Q: rcr<u64>(op); op += L.OP_SIZE; continue;
      case K.SHLD + K.W: shld<u16>(op); op += L.OP_SIZE; continue;
      case K.SHLD + K.D: shld<u32>(op); op += L.OP_SIZE; continue;
      case K.SHLD + K.Q: shld<u64>(op); op += L.OP_SIZE; continue;
      case K.SHRD + K.W: shrd<u16>(op); op += L.OP_SIZE; continue;
      case K.SHRD + K.D: shrd<u32>(op); op += L.OP_SIZE; continue;
      case K.SHRD + K.Q: shrd<u64>(op); op += L.OP_SIZE; continue;

      // bit.ts
      case K.BT + K.W: bt<u16>(op); op += L.OP_SIZE; continue;
      case K.BT + K.D: bt<u32>(op); op += L.OP_SIZE; continue;
      case K.BT + K.Q: bt<u64>(op); op += L.OP_SIZE; continue;
      case K.BTS + K.W: bts<u16>(op); op += L.OP_SIZE; continue;
      case K.BTS + K.D: bts<u32>(op); op += L.OP_SIZE; continue;
      case K.BTS + K.Q: bts<u64>(op); op += L.OP_SIZE; continue;
      case K.BTR + K.W: btr<u16>(op); op += L.OP_SIZE; continue;
      case K.BTR + K.D: btr<u32>(op); op += L.OP_SIZE; continue;
      case K.BTR + K.Q: btr<u64>(op); op += L.OP_SIZE; continue;
      case K.BTC + K.W: btc<u16>(op); op += L.OP_SIZE; continue;
      case K.BTC + K.D: btc<u32>(op); op += L.OP_SIZE; continue;
      case K.BTC + K.Q: btc<u64>(op); op += L.OP_SIZE; continue;
      case K.BSF + K.W: bsf<u16>(op); op += L.OP_SIZE; continue;
      case K.BSF + K.D: bsf<u32>(op); op += L.OP_SIZE; continue;
      case K.BSF + K.Q: bsf<u64>(op); op += L.OP_SIZE; continue;
      case K.BSR + K.W: bsr<u16>(op); op += L.OP_SIZE; continue;
      case K.BSR + K.D: bsr<u32>(op); op += L.OP_SIZE; continue;
      case K.BSR + K.Q: bsr<u64>(op); op += L.OP_SIZE; continue;
      case K.TZCNT + K.W: tzcnt<u16>(op); op += L.OP_SIZE; continue;
      case K.TZCNT + K.D: tzcnt<u32>(op); op += L.OP_SIZE; continue;
      case K.TZCNT + K.Q: tzcnt<u64>(op); op += L.OP_SIZE; continue;
      case K.LZCNT + K.W: lzcnt<u16>(op); op += L.OP_SIZE; continue;
      case K.LZCNT + K.D: lzcnt<u32>(op); op += L.OP_SIZE; continue;
      case K.LZCNT + K.Q: lzcnt<u64>(op); op += L.OP_SIZE; continue;
      case K.POPCNT + K.W: popcount<u16>(op); op += L.OP_SIZE; continue;
      case K.POPCNT + K.D: popcount<u32>(op); op += L.OP_SIZE; continue;
      case K.POPCNT + K.Q: popcount<u64>(op); op += L.OP_SIZE; continue;
      case K.BSWAP + K.W: byteSwap<u16>(op); op += L.OP_SIZE; continue;
      case K.BSWAP + K.D: byteSwap<u32>(op); op += L.OP_SIZE; continue;
      case K.BSWAP + K.Q: byteSwap<u64>(op); op += L.OP_SIZE; continue;

      // move.ts
      case K.MOV + K.B: mov<u8>(op); op += L.OP_SIZE; continue;
      case K.MOV + K.W: mov<u16>(op); op += L.OP_SIZE; continue;
      case K.MOV + K.D: mov<u32>(op); op += L.OP_SIZE; continue;
      case K.MOV + K.Q: mov<u64>(op); op += L.OP_SIZE; continue;
      case K.XCHG + K.B: xchg<u8>(op); op += L.OP_SIZE; continue;
      case K.XCHG + K.W: xchg<u16>(op); op += L.OP_SIZE; continue;
      case K.XCHG + K.D: xchg<u32>(op); op += L.OP_SIZE; continue;
      case K.XCHG + K.Q: xchg<u64>(op); op += L.OP_SIZE; continue;
      case K.LOAD + K.B: if (!loadMemory<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD + K.W: if (!loadMemory<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD + K.D: if (!loadMemory<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD + K.Q: if (!loadMemory<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_TO_WRITE + K.B: if (!loadToWrite<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_TO_WRITE + K.W: if (!loadToWrite<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_TO_WRITE + K.D: if (!loadToWrite<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_TO_WRITE + K.Q: if (!loadToWrite<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STORE + K.B: if (!storeMemory<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STORE + K.W: if (!storeMemory<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STORE + K.D: if (!storeMemory<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STORE + K.Q: if (!storeMemory<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.MOVZX8 + K.W: movzx<u16, u8>(op); op += L.OP_SIZE; continue;
      case K.MOVZX8 + K.D: movzx<u32, u8>(op); op += L.OP_SIZE; continue;
      case K.MOVZX8 + K.Q: movzx<u64, u8>(op); op += L.OP_SIZE; continue;
      case K.MOVZX16 + K.W: movzx<u16, u16>(op); op += L.OP_SIZE; continue;
      case K.MOVZX16 + K.D: movzx<u32, u16>(op); op += L.OP_SIZE; continue;
      case K.MOVZX16 + K.Q: movzx<u64, u16>(op); op += L.OP_SIZE; continue;
      case K.MOVSX8 + K.W: movsx<u16, u8>(op); op += L.OP_SIZE; continue;
      case K.MOVSX8 + K.D: movsx<u32, u8>(op); op += L.OP_SIZE; continue;
      case K.MOVSX8 + K.Q: movsx<u64, u8>(op); op += L.OP_SIZE; continue;
      case K.MOVSX16 + K.W: movsx<u16, u16>(op); op += L.OP_SIZE; continue;
      case K.MOVSX16 + K.D: movsx<u32, u16>(op); op += L.OP_SIZE; continue;
      case K.MOVSX16 + K.Q: movsx<u64, u16>(op); op += L.OP_SIZE; continue;
      case K.MOVSX32 + K.W: movsx<u16, u32>(op); op += L.OP_SIZE; continue;
      case K.MOVSX32 + K.D: movsx<u32, u32>(op); op += L.OP_SIZE; continue;
      case K.MOVSX32 + K.Q: movsx<u64, u32>(op); op += L.OP_SIZE; continue;
      case K.LOAD_ZX8 + K.W: if (!loadZx<u16, u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_ZX8 + K.D: if (!loadZx<u32, u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_ZX8 + K.Q: if (!loadZx<u64, u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_ZX16 + K.W: if (!loadZx<u16, u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_ZX16 + K.D: if (!loadZx<u32, u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_ZX16 + K.Q: if (!loadZx<u64, u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX8 + K.W: if (!loadSx<u16, u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX8 + K.D: if (!loadSx<u32, u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX8 + K.Q: if (!loadSx<u64, u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX16 + K.W: if (!loadSx<u16, u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX16 + K.D: if (!loadSx<u32, u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX16 + K.Q: if (!loadSx<u64, u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX32 + K.W: if (!loadSx<u16, u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX32 + K.D: if (!loadSx<u32, u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SX32 + K.Q: if (!loadSx<u64, u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMOV + K.W: cmov<u16>(op); op += L.OP_SIZE; continue;
      case K.CMOV + K.D: cmov<u32>(op); op += L.OP_SIZE; continue;
      case K.CMOV + K.Q: cmov<u64>(op); op += L.OP_SIZE; continue;
      case K.CWD + K.W: signToRdx<u16>(); op += L.OP_SIZE; continue;
      case K.CWD + K.D: signToRdx<u32>(); op += L.OP_SIZE; continue;
      case K.CWD + K.Q: signToRdx<u64>(); op += L.OP_SIZE; continue;
      case K.LEA: store<u64>(a(op), lea(op)); op += L.OP_SIZE; continue;
      case K.LEA32: store<u64>(a(op), <u64>(<u32>lea(op))); op += L.OP_SIZE; continue;
      case K.ADD_SEGMENT: store<u64>(a(op), load<u64>(a(op)) + load<u64>(b(op))); op += L.OP_SIZE; continue;
      case K.ADD_BIT_OFFSET: addBitOffset(op); op += L.OP_SIZE; continue;
      case K.SETCC: store<u8>(a(op), <u8>condition(<u32>imm(op))); op += L.OP_SIZE; continue;
      case K.XLAT: if (!xlat(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMPXCHG8B: if (!cmpxchg8b(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMPXCHG16B: if (!cmpxchg16b(op)) return leave(op, block, left); op += L.OP_SIZE; continue;

      // stack.ts
      case K.PUSH: if (!push<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.POP: if (!pop<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.PUSH16: if (!push<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.POP16: if (!pop<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.PUSHF: if (!(b(op) ? pushf<u16>() : pushf<u64>())) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.POPF: if (!(b(op) ? popf<u16>() : popf<u64>())) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LEAVE: if (!(b(op) ? leaveFrame<u16>() : leaveFrame<u64>())) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.ENTER: if (!(b(op) ? enterFrame<u16>(op) : enterFrame<u64>(op))) return leave(op, block, left); op += L.OP_SIZE; continue;

      // string.ts
      case K.MOVS + K.B: if (!movs<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.MOVS + K.W: if (!movs<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.MOVS + K.D: if (!movs<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.MOVS + K.Q: if (!movs<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STOS + K.B: if (!stos<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STOS + K.W: if (!stos<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STOS + K.D: if (!stos<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STOS + K.Q: if (!stos<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LODS + K.B: if (!lods<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LODS + K.W: if (!lods<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LODS + K.D: if (!lods<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LODS + K.Q: if (!lods<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMPS + K.B: if (!cmps<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMPS + K.W: if (!cmps<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMPS + K.D: if (!cmps<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CMPS + K.Q: if (!cmps<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.SCAS + K.B: if (!scas<u8>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.SCAS + K.W: if (!scas<u16>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.SCAS + K.D: if (!scas<u32>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.SCAS + K.Q: if (!scas<u64>(op)) return leave(op, block, left); op += L.OP_SIZE; continue;

      // system.ts
      case K.CLC: setCarry(false); op += L.OP_SIZE; continue;
      case K.STC: setCarry(true); op += L.OP_SIZE; continue;
      case K.CMC: setCarry(!isCarry()); op += L.OP_SIZE; continue;
      case K.CLD: store<u64>(L.RFLAGS, load<u64>(L.RFLAGS) & ~DF); op += L.OP_SIZE; continue;
      case K.STD: store<u64>(L.RFLAGS, load<u64>(L.RFLAGS) | DF); op += L.OP_SIZE; continue;
      case K.LAHF: lahf(); op += L.OP_SIZE; continue;
      case K.SAHF: sahf(); op += L.OP_SIZE; continue;
      case K.CLI: if (!setPrivileged(IF, false)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STI: if (!setPrivileged(IF, true)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.CLAC: if (!setPrivileged(AC, false)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.STAC: if (!setPrivileged(AC, true)) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.LOAD_SPACE: loadSpace(load<u64>(a(op))); op += L.OP_SIZE; continue;
      case K.SWAPGS: if (!swapgs()) return leave(op, block, left); op += L.OP_SIZE; continue;
      case K.NOP: op += L.OP_SIZE; continue;

      // branch.ts: a jump breaks out of the switch with op at the operation whose link is to be followed, 0 where it goes to RIP
      case K.GOTO: break;
      case K.JMP: break;
      case K.JCC + 0: if (!(isOverflow())) op += L.OP_SIZE; break; // jo
      case K.JCC + 1: if (isOverflow()) op += L.OP_SIZE; break; // jno
      case K.JCC + 2: if (!(isCarry())) op += L.OP_SIZE; break; // jb
      case K.JCC + 3: if (isCarry()) op += L.OP_SIZE; break; // jae
      case K.JCC + 4: if (!(isZero())) op += L.OP_SIZE; break; // je
      case K.JCC + 5: if (isZero()) op += L.OP_SIZE; break; // jne
      case K.JCC + 6: if (!(isCarry() || isZero())) op += L.OP_SIZE; break; // jbe
      case K.JCC + 7: if (!(!isCarry() && !isZero())) op += L.OP_SIZE; break; // ja
      case K.JCC + 8: if (!(isSign())) op += L.OP_SIZE; break; // js
      case K.JCC + 9: if (isSign()) op += L.OP_SIZE; break; // jns
      case K.JCC + 10: if (!(isParity())) op += L.OP_SIZE; break; // jp
      case K.JCC + 11: if (isParity()) op += L.OP_SIZE; break; // jnp
      case K.JCC + 12: if (!(isSign() != isOverflow())) op += L.OP_SIZE; break; // jl
      case K.JCC + 13: if (!(isSign() == isOverflow())) op += L.OP_SIZE; break; // jge
      case K.JCC + 14: if (!(isZero() || isSign() != isOverflow())) op += L.OP_SIZE; break; // jle
      case K.JCC + 15: if (!(!isZero() && isSign() == isOverflow())) op += L.OP_SIZE; break; // jg
      case K.CALL: if (!call(op, block)) return leave(op, block, left); break;
      case K.CALL_NOTED: if (!callNoted(op, block)) return leave(op, block, left); break;
      case K.CALL_TRAMPOLINE:
        if (!callNoted(op, block)) return leave(op, block, left);
        if (noteTrampoline(L.ENTERED, behind(op, block), imm(op), left + count)) oneBlock = true;
        break;
      case K.CALL_INDIRECT: if (!callIndirect(op)) return leave(op, block, left); op = 0; break;
      case K.CALL_INDIRECT_NOTED:
        if (!callIndirectNoted(op)) return leave(op, block, left);
        if (isInModules(load<u64>(L.RIP)) && noteTrampoline(L.ENTERED, imm(op), load<u64>(L.RIP), left + count)) oneBlock = true;
        op = 0;
        break;
      case K.RET: if (!ret(op)) return leave(op, block, left); op = 0; break;
      case K.RET_NOTED:
      case K.RET_TRAMPOLINE: {
        const sp = load<u64>(RSP);
        if (!ret(op)) return leave(op, block, left);
        if (load<u16>(op) == K.RET_TRAMPOLINE && noteTrampoline(L.LEFT_IT, load<u64>(L.RIP), 0, left + count)) oneBlock = true;
        op = noteReturn(sp, load<u64>(RSP), load<u64>(L.RIP));
        break;
      }
      case K.JMP_INDIRECT: if (!jumpIndirect(op)) return leave(op, block, left); op = 0; break;
      case K.IRET: {
        const fromKernel = load<u64>(L.CPL) == 0;
        if (!iret()) return leave(op, block, left);
        if (load<u64>(L.CPL) == 0) noteStackPointer(load<u64>(RSP));
        else if (fromKernel) oneBlock = true;
        op = 0;
        break;
      }
      case K.SYSRET: if (!sysret()) return leave(op, block, left); oneBlock = true; op = 0; break;
      case K.LOOP: if (!loopAgain(op)) op += L.OP_SIZE; break; // the GOTO behind it

      // string.ts: a repetition ends its block
      case K.REP_MOVS + K.B: if (!repMovs<u8>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_MOVS + K.W: if (!repMovs<u16>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_MOVS + K.D: if (!repMovs<u32>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_MOVS + K.Q: if (!repMovs<u64>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_STOS + K.B: if (!repStos<u8>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_STOS + K.W: if (!repStos<u16>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_STOS + K.D: if (!repStos<u32>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_STOS + K.Q: if (!repStos<u64>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_LODS + K.B: if (!repLods<u8>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_LODS + K.W: if (!repLods<u16>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_LODS + K.D: if (!repLods<u32>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_LODS + K.Q: if (!repLods<u64>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_CMPS + K.B: if (!repCmps<u8>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_CMPS + K.W: if (!repCmps<u16>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_CMPS + K.D: if (!repCmps<u32>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_CMPS + K.Q: if (!repCmps<u64>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_SCAS + K.B: if (!repScas<u8>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_SCAS + K.W: if (!repScas<u16>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_SCAS + K.D: if (!repScas<u32>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;
      case K.REP_SCAS + K.Q: if (!repScas<u64>(op, left)) return leaveRepetition(block); left = load<i32>(L.LEFT); op += L.OP_SIZE; break;

      // what ends a run, or tells of one
      case K.BUDGET_HERE:
        return end(K.STOP_BUDGET, startOf(op, block), left + rest(op, block));
      case K.STOP_HERE:
        if (c(op) != 0) return leaveBehind(<u32>imm(op), op, block, left);
        return leaveBy(<u32>imm(op), op, block, left);
      case K.CHANGED_HERE:
        left += rest(op, block);
        store<u64>(L.RIP, startOf(op, block));
        op = 0;
        break;
      case K.BREAK_HERE:
        if (load<u32>(L.BREAK_PASS) == 0) return leaveBy(K.STOP_BREAKPOINT, op, block, left);
        store<u32>(L.BREAK_PASS, 0);
        op += L.OP_SIZE;
        continue;
      case K.OBSERVED:
        observeInstruction(op, startOf(op, block), left + rest(op, block));
        op += L.OP_SIZE;
        continue;
      case K.DRAIN: drain(); op += L.OP_SIZE; continue;
      default: if (!vector(op)) return leave(op, block, left); op += L.OP_SIZE; continue;
    }
    // From one block to the next: where the operation leads, or to RIP.
    if (oneBlock) return end(K.STOP_BLOCK_END, op != 0 ? imm(op) : load<u64>(L.RIP), left);
    if (op != 0) {
      block = load<u32>(op, L.OP_LINK);
      if (block == 0 || load<u32>(block, L.BLOCK_COUNT) == 0) {
        const rip = imm(op);
        block = findBlock(rip);
        if (block == 0) return end(K.STOP_DECODE, rip, left);
        store<u32>(op, block, L.OP_LINK);
      }
    } else {
      const rip = load<u64>(L.RIP);
      block = findBlock(rip);
      if (block == 0) return end(K.STOP_DECODE, rip, left);
    }
    count = load<i32>(block, L.BLOCK_COUNT);
    if (left < count) {
      if (left <= 0) return end(K.STOP_BUDGET, load<u64>(block, L.BLOCK_RIP), left);
      plant(block, left);
    }
    left -= count;
    op = block + L.BLOCK_HEADER;
  }
}
