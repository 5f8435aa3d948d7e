// The loop: one operation after the other, and where a block ends, the next block.
//
// A block's instructions are taken from the budget when it is entered; who leaves it early gives the rest back. Between two
// blocks nothing is looked at but that, so what may stop a run elsewhere is an operation of its own (STOP_HERE).

import { adc, add, cmp, cmpxchg, dec, div, idiv, imul, imul1, inc, mul, neg, sbb, sub, xadd } from './arithmetic';
import { bsf, bsr, bt, btc, btr, bts, byteSwap, lzcnt, popcount, tzcnt } from './bit';
import { findBlock } from './blocks';
import { AC, condition, DF, IF, isCarry, isOverflow, isParity, isSign, isZero, setCarry } from './flags';
import { ADC, ADD, ADD_BIT_OFFSET, ADD_SEGMENT, AND, B, BSF, BSR, BSWAP, BREAK_HERE, BT, BTC, BTR, BTS, BUDGET_HERE, CALL, CALL_INDIRECT, CALL_INDIRECT_NOTED, CALL_NOTED, CALL_TRAMPOLINE, CHANGED_HERE, CLAC, CLC, CLD, CLI, CMC, CMOV, CMP, CMPS, CMPXCHG, CMPXCHG16B, CMPXCHG8B, CWD, D, DEC, DIV, DRAIN, ENTER, GOTO, IDIV, IMUL, IMUL1, INC, IRET, JCC, JMP, JMP_INDIRECT, LAHF, LEA, LEA32, LEAVE, LOAD, LOAD_SX16, LOAD_SPACE, LOAD_SX32, LOAD_SX8, LOAD_TO_WRITE, LOAD_ZX16, LOAD_ZX8, LODS, LOOP, LZCNT, MOV, MOVS, MOVSX16, MOVSX32, MOVSX8, MOVZX16, MOVZX8, MUL, NEG, NOP, NOT, OBSERVED, OR, POP, POP16, POPCNT, POPF, PUSH, PUSH16, PUSHF, Q, RCL, RCR, REP_CMPS, REP_LODS, REP_MOVS, REP_SCAS, REP_STOS, RET, RET_NOTED, RET_TRAMPOLINE, ROL, ROR, SAHF, SAR, SBB, SCAS, SETCC, SHL, SHLD, SHR, SHRD, STAC, STC, STD, STI, STOP_BLOCK_END, STOP_BREAKPOINT, STOP_BUDGET, STOP_DECODE, STOP_DIVIDE, STOP_HERE, STOP_PROTECTION, STORE, STOS, SUB, SWAPGS, SYSRET, TEST, TZCNT, W, XADD, XCHG, XLAT, XOR } from './kinds';
import { BLOCK_COUNT, BLOCK_HEADER, BLOCK_RIP, BLOCK_SIZE, BREAK_PASS, CPL, ENTERED, LEFT, LEFT_IT, OP_END, OP_INDEX, OP_LINK, OP_SIZE, OP_START, RFLAGS, RIP, STOP, TRANSFER } from './layout';
import { and, not, or, test, xor } from './logic';
import { choosePrivilege, read, stopped, write } from './memory';
import { cmov, cmpxchg8b, cmpxchg16b, lea, loadMemory, loadSx, loadToWrite, loadZx, mov, movsx, movzx, signToRdx, storeMemory, xchg, xlat } from './move';
import { drain, endRun, observeInstruction } from './observe';
import { isInModules, noteCall, noteReturn, noteStackPointer, noteTrampoline } from './shadow';
import { rcl, rcr, rol, ror, sar, shl, shld, shr, shrd } from './shift';
import { enterFrame, leaveFrame, pop, popf, push, pushf } from './stack';
import { a, b, c, imm, RCX, RSP } from './state';
import { cmps, lods, movs, REP_BUDGET, REP_DONE, repCmps, repLods, repMovs, repScas, repStos, scas, stos } from './string';
import { canonical, iret, lahf, loadSpace, privileged, sahf, swapgs, sysret } from './system';
import { vector } from './vector';

/** An operation that the budget's end was written over, and what it was. */
let planted: u32 = 0;
let plantedKind: u16 = 0;

/** Instructions of the block from this operation's on: they were taken from the budget. */
// @ts-expect-error: decorator
@inline function rest(op: u32, block: u32): i32 {
  return <i32>load<u32>(block, BLOCK_SIZE) - <i32>load<u16>(op, OP_INDEX);
}

/** Executed of the block before this operation's instruction: the rest is given back. @returns why it stopped */
function leave(op: u32, block: u32, left: i32): i32 {
  uncount(op, block);
  const rip = load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_START);
  return end(load<u32>(STOP), rip, left + rest(op, block));
}

/** Where executions are counted, the one that this operation's instruction began is none. */
function uncount(op: u32, block: u32): void {
  const index = load<u16>(op, OP_INDEX);
  for (let other = op - OP_SIZE; other >= block + BLOCK_HEADER && load<u16>(other, OP_INDEX) == index; other -= OP_SIZE) {
    if (load<u16>(other) == OBSERVED && a(other) != 0) store<u64>(a(other), load<u64>(a(other)) - 1);
  }
}

function leaveBy(stop: u32, op: u32, block: u32, left: i32): i32 {
  store<u32>(STOP, stop);
  return leave(op, block, left);
}

/** The instruction is done, and ends the run. */
function leaveBehind(stop: u32, op: u32, block: u32, left: i32): i32 {
  const rip = load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_END);
  return end(stop, rip, left + rest(op, block) - 1);
}

/** A repetition is at its instruction still. It is the only one of its block. */
function leaveRepetition(ended: u32, op: u32, block: u32, left: i32): i32 {
  const rip = load<u64>(block, BLOCK_RIP);
  if (ended == REP_BUDGET) return end(STOP_BUDGET, rip, left);
  return end(load<u32>(STOP), rip, left + 1);
}

function end(stop: u32, rip: u64, left: i32): i32 {
  store<u32>(STOP, stop);
  store<u64>(RIP, rip);
  store<i32>(LEFT, left);
  if (planted != 0) store<u16>(planted, plantedKind);
  planted = 0;
  if (load<u32>(TRANSFER) != 0) endRun(stop, rip);
  return <i32>stop;
}

/** Makes the block end before its instruction number `at`. */
function plant(block: u32, at: i32): void {
  let op = block + BLOCK_HEADER;
  while (<i32>load<u16>(op, OP_INDEX) < at) op += OP_SIZE;
  planted = op;
  plantedKind = load<u16>(op);
  store<u16>(op, BUDGET_HERE);
}

/** STI, CLI, STAC, CLAC. @returns false for #GP (stac and clac are invalid outside of the kernel: the same to us) */
function setPrivileged(flag: u64, on: bool): bool {
  if (!privileged()) return false;
  const flags = load<u64>(RFLAGS);
  store<u64>(RFLAGS, on ? flags | flag : flags & ~flag);
  if (flag == AC) choosePrivilege();
  return true;
}

/** a <- a + the whole operands that b's offset in bits is away */
function addBitOffset(op: u32): void {
  const size = <u32>imm(op); // log2 of the operand's bytes
  const bit = size == 3 ? load<i64>(b(op)) : size == 2 ? <i64>load<i32>(b(op)) : <i64>load<i16>(b(op));
  store<u64>(a(op), load<u64>(a(op)) + <u64>((bit >> (3 + size)) << size));
}

/**
 * Executes at most `budget` instructions from RIP.
 * @param oneBlock end behind the first block
 * @returns a STOP_; LEFT has what is left of the budget
 */
export function run(budget: i32, oneBlock: bool): i32 {
  const block = findBlock(load<u64>(RIP));
  if (block == 0) return end(STOP_DECODE, load<u64>(RIP), budget);
  if (budget <= 0) return end(STOP_BUDGET, load<u64>(RIP), budget);
  return runFrom(block, budget, oneBlock);
}

/** The same from a block, whatever RIP is. */
export function runFrom(block: u32, budget: i32, oneBlock: bool): i32 {
  let left = budget;
  let op: u32 = 0;
  let ended: u32 = 0;
  store<u32>(STOP, STOP_BUDGET);
  let count = load<i32>(block, BLOCK_COUNT);
  if (left < count) plant(block, left);
  left -= count;
  op = block + BLOCK_HEADER;
  while (true) {
    switch (<i32>load<u16>(op)) {

      // arithmetic.ts
      case ADD + B: add<u8>(op); op += OP_SIZE; continue;
      case ADD + W: add<u16>(op); op += OP_SIZE; continue;
      case ADD + D: add<u32>(op); op += OP_SIZE; continue;
      case ADD + Q: add<u64>(op); op += OP_SIZE; continue;
      case ADC + B: adc<u8>(op); op += OP_SIZE; continue;
      case ADC + W: adc<u16>(op); op += OP_SIZE; continue;
      case ADC + D: adc<u32>(op); op += OP_SIZE; continue;
      case ADC + Q: adc<u64>(op); op += OP_SIZE; continue;
      case SUB + B: sub<u8>(op); op += OP_SIZE; continue;
      case SUB + W: sub<u16>(op); op += OP_SIZE; continue;
      case SUB + D: sub<u32>(op); op += OP_SIZE; continue;
      case SUB + Q: sub<u64>(op); op += OP_SIZE; continue;
      case SBB + B: sbb<u8>(op); op += OP_SIZE; continue;
      case SBB + W: sbb<u16>(op); op += OP_SIZE; continue;
      case SBB + D: sbb<u32>(op); op += OP_SIZE; continue;
      case SBB + Q: sbb<u64>(op); op += OP_SIZE; continue;
      case CMP + B: cmp<u8>(op); op += OP_SIZE; continue;
      case CMP + W: cmp<u16>(op); op += OP_SIZE; continue;
      case CMP + D: cmp<u32>(op); op += OP_SIZE; continue;
      case CMP + Q: cmp<u64>(op); op += OP_SIZE; continue;
      case INC + B: inc<u8>(op); op += OP_SIZE; continue;
      case INC + W: inc<u16>(op); op += OP_SIZE; continue;
      case INC + D: inc<u32>(op); op += OP_SIZE; continue;
      case INC + Q: inc<u64>(op); op += OP_SIZE; continue;
      case DEC + B: dec<u8>(op); op += OP_SIZE; continue;
      case DEC + W: dec<u16>(op); op += OP_SIZE; continue;
      case DEC + D: dec<u32>(op); op += OP_SIZE; continue;
      case DEC + Q: dec<u64>(op); op += OP_SIZE; continue;
      case NEG + B: neg<u8>(op); op += OP_SIZE; continue;
      case NEG + W: neg<u16>(op); op += OP_SIZE; continue;
      case NEG + D: neg<u32>(op); op += OP_SIZE; continue;
      case NEG + Q: neg<u64>(op); op += OP_SIZE; continue;
      case XADD + B: xadd<u8>(op); op += OP_SIZE; continue;
      case XADD + W: xadd<u16>(op); op += OP_SIZE; continue;
      case XADD + D: xadd<u32>(op); op += OP_SIZE; continue;
      case XADD + Q: xadd<u64>(op); op += OP_SIZE; continue;
      case CMPXCHG + B: cmpxchg<u8>(op); op += OP_SIZE; continue;
      case CMPXCHG + W: cmpxchg<u16>(op); op += OP_SIZE; continue;
      case CMPXCHG + D: cmpxchg<u32>(op); op += OP_SIZE; continue;
      case CMPXCHG + Q: cmpxchg<u64>(op); op += OP_SIZE; continue;
      case MUL + B: mul<u8>(op); op += OP_SIZE; continue;
      case MUL + W: mul<u16>(op); op += OP_SIZE; continue;
      case MUL + D: mul<u32>(op); op += OP_SIZE; continue;
      case MUL + Q: mul<u64>(op); op += OP_SIZE; continue;
      case IMUL1 + B: imul1<u8>(op); op += OP_SIZE; continue;
      case IMUL1 + W: imul1<u16>(op); op += OP_SIZE; continue;
      case IMUL1 + D: imul1<u32>(op); op += OP_SIZE; continue;
      case IMUL1 + Q: imul1<u64>(op); op += OP_SIZE; continue;
      case IMUL + W: imul<u16>(op); op += OP_SIZE; continue;
      case IMUL + D: imul<u32>(op); op += OP_SIZE; continue;
      case IMUL + Q: imul<u64>(op); op += OP_SIZE; continue;
      case DIV + B: if (!div<u8>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case DIV + W: if (!div<u16>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case DIV + D: if (!div<u32>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case DIV + Q: if (!div<u64>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case IDIV + B: if (!idiv<u8>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case IDIV + W: if (!idiv<u16>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case IDIV + D: if (!idiv<u32>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;
      case IDIV + Q: if (!idiv<u64>(op)) return leaveBy(STOP_DIVIDE, op, block, left); op += OP_SIZE; continue;

      // logic.ts
      case AND + B: and<u8>(op); op += OP_SIZE; continue;
      case AND + W: and<u16>(op); op += OP_SIZE; continue;
      case AND + D: and<u32>(op); op += OP_SIZE; continue;
      case AND + Q: and<u64>(op); op += OP_SIZE; continue;
      case OR + B: or<u8>(op); op += OP_SIZE; continue;
      case OR + W: or<u16>(op); op += OP_SIZE; continue;
      case OR + D: or<u32>(op); op += OP_SIZE; continue;
      case OR + Q: or<u64>(op); op += OP_SIZE; continue;
      case XOR + B: xor<u8>(op); op += OP_SIZE; continue;
      case XOR + W: xor<u16>(op); op += OP_SIZE; continue;
      case XOR + D: xor<u32>(op); op += OP_SIZE; continue;
      case XOR + Q: xor<u64>(op); op += OP_SIZE; continue;
      case NOT + B: not<u8>(op); op += OP_SIZE; continue;
      case NOT + W: not<u16>(op); op += OP_SIZE; continue;
      case NOT + D: not<u32>(op); op += OP_SIZE; continue;
      case NOT + Q: not<u64>(op); op += OP_SIZE; continue;
      case TEST + B: test<u8>(op); op += OP_SIZE; continue;
      case TEST + W: test<u16>(op); op += OP_SIZE; continue;
      case TEST + D: test<u32>(op); op += OP_SIZE; continue;
      case TEST + Q: test<u64>(op); op += OP_SIZE; continue;

      // shift.ts
      case SHL + B: shl<u8>(op); op += OP_SIZE; continue;
      case SHL + W: shl<u16>(op); op += OP_SIZE; continue;
      case SHL + D: shl<u32>(op); op += OP_SIZE; continue;
      case SHL + Q: shl<u64>(op); op += OP_SIZE; continue;
      case SHR + B: shr<u8>(op); op += OP_SIZE; continue;
      case SHR + W: shr<u16>(op); op += OP_SIZE; continue;
      case SHR + D: shr<u32>(op); op += OP_SIZE; continue;
      case SHR + Q: shr<u64>(op); op += OP_SIZE; continue;
      case SAR + B: sar<u8>(op); op += OP_SIZE; continue;
      case SAR + W: sar<u16>(op); op += OP_SIZE; continue;
      case SAR + D: sar<u32>(op); op += OP_SIZE; continue;
      case SAR + Q: sar<u64>(op); op += OP_SIZE; continue;
      case ROL + B: rol<u8>(op); op += OP_SIZE; continue;
      case ROL + W: rol<u16>(op); op += OP_SIZE; continue;
      case ROL + D: rol<u32>(op); op += OP_SIZE; continue;
      case ROL + Q: rol<u64>(op); op += OP_SIZE; continue;
      case ROR + B: ror<u8>(op); op += OP_SIZE; continue;
      case ROR + W: ror<u16>(op); op += OP_SIZE; continue;
      case ROR + D: ror<u32>(op); op += OP_SIZE; continue;
      case ROR + Q: ror<u64>(op); op += OP_SIZE; continue;
      case RCL + B: rcl<u8>(op); op += OP_SIZE; continue;
      case RCL + W: rcl<u16>(op); op += OP_SIZE; continue;
      case RCL + D: rcl<u32>(op); op += OP_SIZE; continue;
      case RCL + Q: rcl<u64>(op); op += OP_SIZE; continue;
      case RCR + B: rcr<u8>(op); op += OP_SIZE; continue;
      case RCR + W: rcr<u16>(op); op += OP_SIZE; continue;
      case RCR + D: rcr<u32>(op); op += OP_SIZE; continue;
      case RCR + Q: rcr<u64>(op); op += OP_SIZE; continue;
      case SHLD + W: shld<u16>(op); op += OP_SIZE; continue;
      case SHLD + D: shld<u32>(op); op += OP_SIZE; continue;
      case SHLD + Q: shld<u64>(op); op += OP_SIZE; continue;
      case SHRD + W: shrd<u16>(op); op += OP_SIZE; continue;
      case SHRD + D: shrd<u32>(op); op += OP_SIZE; continue;
      case SHRD + Q: shrd<u64>(op); op += OP_SIZE; continue;

      // bit.ts
      case BT + W: bt<u16>(op); op += OP_SIZE; continue;
      case BT + D: bt<u32>(op); op += OP_SIZE; continue;
      case BT + Q: bt<u64>(op); op += OP_SIZE; continue;
      case BTS + W: bts<u16>(op); op += OP_SIZE; continue;
      case BTS + D: bts<u32>(op); op += OP_SIZE; continue;
      case BTS + Q: bts<u64>(op); op += OP_SIZE; continue;
      case BTR + W: btr<u16>(op); op += OP_SIZE; continue;
      case BTR + D: btr<u32>(op); op += OP_SIZE; continue;
      case BTR + Q: btr<u64>(op); op += OP_SIZE; continue;
      case BTC + W: btc<u16>(op); op += OP_SIZE; continue;
      case BTC + D: btc<u32>(op); op += OP_SIZE; continue;
      case BTC + Q: btc<u64>(op); op += OP_SIZE; continue;
      case BSF + W: bsf<u16>(op); op += OP_SIZE; continue;
      case BSF + D: bsf<u32>(op); op += OP_SIZE; continue;
      case BSF + Q: bsf<u64>(op); op += OP_SIZE; continue;
      case BSR + W: bsr<u16>(op); op += OP_SIZE; continue;
      case BSR + D: bsr<u32>(op); op += OP_SIZE; continue;
      case BSR + Q: bsr<u64>(op); op += OP_SIZE; continue;
      case TZCNT + W: tzcnt<u16>(op); op += OP_SIZE; continue;
      case TZCNT + D: tzcnt<u32>(op); op += OP_SIZE; continue;
      case TZCNT + Q: tzcnt<u64>(op); op += OP_SIZE; continue;
      case LZCNT + W: lzcnt<u16>(op); op += OP_SIZE; continue;
      case LZCNT + D: lzcnt<u32>(op); op += OP_SIZE; continue;
      case LZCNT + Q: lzcnt<u64>(op); op += OP_SIZE; continue;
      case POPCNT + W: popcount<u16>(op); op += OP_SIZE; continue;
      case POPCNT + D: popcount<u32>(op); op += OP_SIZE; continue;
      case POPCNT + Q: popcount<u64>(op); op += OP_SIZE; continue;
      case BSWAP + W: byteSwap<u16>(op); op += OP_SIZE; continue;
      case BSWAP + D: byteSwap<u32>(op); op += OP_SIZE; continue;
      case BSWAP + Q: byteSwap<u64>(op); op += OP_SIZE; continue;

      // move.ts
      case MOV + B: mov<u8>(op); op += OP_SIZE; continue;
      case MOV + W: mov<u16>(op); op += OP_SIZE; continue;
      case MOV + D: mov<u32>(op); op += OP_SIZE; continue;
      case MOV + Q: mov<u64>(op); op += OP_SIZE; continue;
      case XCHG + B: xchg<u8>(op); op += OP_SIZE; continue;
      case XCHG + W: xchg<u16>(op); op += OP_SIZE; continue;
      case XCHG + D: xchg<u32>(op); op += OP_SIZE; continue;
      case XCHG + Q: xchg<u64>(op); op += OP_SIZE; continue;
      case LOAD + B: if (!loadMemory<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD + W: if (!loadMemory<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD + D: if (!loadMemory<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD + Q: if (!loadMemory<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_TO_WRITE + B: if (!loadToWrite<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_TO_WRITE + W: if (!loadToWrite<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_TO_WRITE + D: if (!loadToWrite<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_TO_WRITE + Q: if (!loadToWrite<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STORE + B: if (!storeMemory<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STORE + W: if (!storeMemory<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STORE + D: if (!storeMemory<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STORE + Q: if (!storeMemory<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case MOVZX8 + W: movzx<u16, u8>(op); op += OP_SIZE; continue;
      case MOVZX8 + D: movzx<u32, u8>(op); op += OP_SIZE; continue;
      case MOVZX8 + Q: movzx<u64, u8>(op); op += OP_SIZE; continue;
      case MOVZX16 + W: movzx<u16, u16>(op); op += OP_SIZE; continue;
      case MOVZX16 + D: movzx<u32, u16>(op); op += OP_SIZE; continue;
      case MOVZX16 + Q: movzx<u64, u16>(op); op += OP_SIZE; continue;
      case MOVSX8 + W: movsx<u16, u8>(op); op += OP_SIZE; continue;
      case MOVSX8 + D: movsx<u32, u8>(op); op += OP_SIZE; continue;
      case MOVSX8 + Q: movsx<u64, u8>(op); op += OP_SIZE; continue;
      case MOVSX16 + W: movsx<u16, u16>(op); op += OP_SIZE; continue;
      case MOVSX16 + D: movsx<u32, u16>(op); op += OP_SIZE; continue;
      case MOVSX16 + Q: movsx<u64, u16>(op); op += OP_SIZE; continue;
      case MOVSX32 + W: movsx<u16, u32>(op); op += OP_SIZE; continue;
      case MOVSX32 + D: movsx<u32, u32>(op); op += OP_SIZE; continue;
      case MOVSX32 + Q: movsx<u64, u32>(op); op += OP_SIZE; continue;
      case LOAD_ZX8 + W: if (!loadZx<u16, u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_ZX8 + D: if (!loadZx<u32, u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_ZX8 + Q: if (!loadZx<u64, u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_ZX16 + W: if (!loadZx<u16, u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_ZX16 + D: if (!loadZx<u32, u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_ZX16 + Q: if (!loadZx<u64, u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX8 + W: if (!loadSx<u16, u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX8 + D: if (!loadSx<u32, u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX8 + Q: if (!loadSx<u64, u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX16 + W: if (!loadSx<u16, u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX16 + D: if (!loadSx<u32, u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX16 + Q: if (!loadSx<u64, u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX32 + W: if (!loadSx<u16, u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX32 + D: if (!loadSx<u32, u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SX32 + Q: if (!loadSx<u64, u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMOV + W: cmov<u16>(op); op += OP_SIZE; continue;
      case CMOV + D: cmov<u32>(op); op += OP_SIZE; continue;
      case CMOV + Q: cmov<u64>(op); op += OP_SIZE; continue;
      case CWD + W: signToRdx<u16>(); op += OP_SIZE; continue;
      case CWD + D: signToRdx<u32>(); op += OP_SIZE; continue;
      case CWD + Q: signToRdx<u64>(); op += OP_SIZE; continue;
      case LEA: store<u64>(a(op), lea(op)); op += OP_SIZE; continue;
      case LEA32: store<u64>(a(op), <u64>(<u32>lea(op))); op += OP_SIZE; continue;
      case ADD_SEGMENT: store<u64>(a(op), load<u64>(a(op)) + load<u64>(b(op))); op += OP_SIZE; continue;
      case ADD_BIT_OFFSET: addBitOffset(op); op += OP_SIZE; continue;
      case SETCC: store<u8>(a(op), <u8>condition(<u32>imm(op))); op += OP_SIZE; continue;
      case XLAT: if (!xlat(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMPXCHG8B: if (!cmpxchg8b(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMPXCHG16B: if (!cmpxchg16b(op)) return leave(op, block, left); op += OP_SIZE; continue;

      // stack.ts
      case PUSH: if (!push<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case POP: if (!pop<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case PUSH16: if (!push<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case POP16: if (!pop<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case PUSHF: if (!(b(op) ? pushf<u16>() : pushf<u64>())) return leave(op, block, left); op += OP_SIZE; continue;
      case POPF: if (!(b(op) ? popf<u16>() : popf<u64>())) return leave(op, block, left); op += OP_SIZE; continue;
      case LEAVE: if (!(b(op) ? leaveFrame<u16>() : leaveFrame<u64>())) return leave(op, block, left); op += OP_SIZE; continue;
      case ENTER: if (!(b(op) ? enterFrame<u16>(op) : enterFrame<u64>(op))) return leave(op, block, left); op += OP_SIZE; continue;

      // string.ts
      case MOVS + B: if (!movs<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case MOVS + W: if (!movs<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case MOVS + D: if (!movs<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case MOVS + Q: if (!movs<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STOS + B: if (!stos<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STOS + W: if (!stos<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STOS + D: if (!stos<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case STOS + Q: if (!stos<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LODS + B: if (!lods<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LODS + W: if (!lods<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LODS + D: if (!lods<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case LODS + Q: if (!lods<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMPS + B: if (!cmps<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMPS + W: if (!cmps<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMPS + D: if (!cmps<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case CMPS + Q: if (!cmps<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case SCAS + B: if (!scas<u8>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case SCAS + W: if (!scas<u16>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case SCAS + D: if (!scas<u32>(op)) return leave(op, block, left); op += OP_SIZE; continue;
      case SCAS + Q: if (!scas<u64>(op)) return leave(op, block, left); op += OP_SIZE; continue;

      // system.ts
      case CLC: setCarry(false); op += OP_SIZE; continue;
      case STC: setCarry(true); op += OP_SIZE; continue;
      case CMC: setCarry(!isCarry()); op += OP_SIZE; continue;
      case CLD: store<u64>(RFLAGS, load<u64>(RFLAGS) & ~DF); op += OP_SIZE; continue;
      case STD: store<u64>(RFLAGS, load<u64>(RFLAGS) | DF); op += OP_SIZE; continue;
      case LAHF: lahf(); op += OP_SIZE; continue;
      case SAHF: sahf(); op += OP_SIZE; continue;
      case CLI: if (!setPrivileged(IF, false)) return leave(op, block, left); op += OP_SIZE; continue;
      case STI: if (!setPrivileged(IF, true)) return leave(op, block, left); op += OP_SIZE; continue;
      case CLAC: if (!setPrivileged(AC, false)) return leave(op, block, left); op += OP_SIZE; continue;
      case STAC: if (!setPrivileged(AC, true)) return leave(op, block, left); op += OP_SIZE; continue;
      case LOAD_SPACE: loadSpace(load<u64>(a(op))); op += OP_SIZE; continue;
      case SWAPGS: if (!swapgs()) return leave(op, block, left); op += OP_SIZE; continue;
      case NOP: op += OP_SIZE; continue;

      // control flow: a jump breaks out of the switch with op at the operation whose link is to be followed
      case GOTO:
      case JMP:
        break;
      case JCC + 0: if (!(isOverflow())) op += OP_SIZE; break; // jo
      case JCC + 1: if (isOverflow()) op += OP_SIZE; break; // jno
      case JCC + 2: if (!(isCarry())) op += OP_SIZE; break; // jb
      case JCC + 3: if (isCarry()) op += OP_SIZE; break; // jae
      case JCC + 4: if (!(isZero())) op += OP_SIZE; break; // je
      case JCC + 5: if (isZero()) op += OP_SIZE; break; // jne
      case JCC + 6: if (!(isCarry() || isZero())) op += OP_SIZE; break; // jbe
      case JCC + 7: if (!(!isCarry() && !isZero())) op += OP_SIZE; break; // ja
      case JCC + 8: if (!(isSign())) op += OP_SIZE; break; // js
      case JCC + 9: if (isSign()) op += OP_SIZE; break; // jns
      case JCC + 10: if (!(isParity())) op += OP_SIZE; break; // jp
      case JCC + 11: if (isParity()) op += OP_SIZE; break; // jnp
      case JCC + 12: if (!(isSign() != isOverflow())) op += OP_SIZE; break; // jl
      case JCC + 13: if (!(isSign() == isOverflow())) op += OP_SIZE; break; // jge
      case JCC + 14: if (!(isZero() || isSign() != isOverflow())) op += OP_SIZE; break; // jle
      case JCC + 15: if (!(!isZero() && isSign() == isOverflow())) op += OP_SIZE; break; // jg
      case CALL:
        if (!call(load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_END))) return leave(op, block, left);
        break;
      case CALL_NOTED: {
        const back = load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_END);
        if (!call(back)) return leave(op, block, left);
        noteCall(load<u64>(RSP), back, op + OP_SIZE);
        break;
      }
      case CALL_TRAMPOLINE: {
        const back = load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_END);
        if (!call(back)) return leave(op, block, left);
        noteCall(load<u64>(RSP), back, op + OP_SIZE);
        if (noteTrampoline(ENTERED, back, imm(op), left + count)) oneBlock = true;
        break;
      }
      case CALL_INDIRECT: {
        const target = load<u64>(a(op));
        if (!canonical(target)) return leaveBy(STOP_PROTECTION, op, block, left);
        if (!call(imm(op))) return leave(op, block, left);
        store<u64>(RIP, target);
        op = 0;
        break;
      }
      case CALL_INDIRECT_NOTED: {
        const target = load<u64>(a(op));
        if (!canonical(target)) return leaveBy(STOP_PROTECTION, op, block, left);
        if (!call(imm(op))) return leave(op, block, left);
        store<u64>(RIP, target);
        noteCall(load<u64>(RSP), imm(op), op + OP_SIZE);
        if (isInModules(target) && noteTrampoline(ENTERED, imm(op), target, left + count)) oneBlock = true;
        op = 0;
        break;
      }
      case RET: {
        const sp = load<u64>(RSP);
        const target = read<u64>(sp);
        if (stopped()) return leave(op, block, left);
        if (!canonical(target)) return leaveBy(STOP_PROTECTION, op, block, left);
        store<u64>(RSP, sp + 8 + imm(op));
        store<u64>(RIP, target);
        op = 0;
        break;
      }
      case RET_NOTED:
      case RET_TRAMPOLINE: {
        const sp = load<u64>(RSP);
        const target = read<u64>(sp);
        if (stopped()) return leave(op, block, left);
        if (!canonical(target)) return leaveBy(STOP_PROTECTION, op, block, left);
        const after = sp + 8 + imm(op);
        store<u64>(RSP, after);
        store<u64>(RIP, target);
        if (load<u16>(op) == RET_TRAMPOLINE && noteTrampoline(LEFT_IT, target, 0, left + count)) oneBlock = true;
        op = noteReturn(sp, after, target);
        break;
      }
      case JMP_INDIRECT:
        if (!canonical(load<u64>(a(op)))) return leaveBy(STOP_PROTECTION, op, block, left);
        store<u64>(RIP, load<u64>(a(op)));
        op = 0;
        break;
      case IRET: {
        const fromKernel = load<u64>(CPL) == 0;
        if (!iret()) return leave(op, block, left);
        if (load<u64>(CPL) == 0) noteStackPointer(load<u64>(RSP));
        else if (fromKernel) oneBlock = true;
        op = 0;
        break;
      }
      case SYSRET:
        if (!sysret()) return leave(op, block, left);
        oneBlock = true;
        op = 0;
        break;
      case LOOP:
        if (!loopAgain(op)) op += OP_SIZE; // the GOTO behind it
        break;
      case REP_MOVS + B: store<i32>(LEFT, left); ended = repMovs<u8>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_MOVS + W: store<i32>(LEFT, left); ended = repMovs<u16>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_MOVS + D: store<i32>(LEFT, left); ended = repMovs<u32>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_MOVS + Q: store<i32>(LEFT, left); ended = repMovs<u64>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_STOS + B: store<i32>(LEFT, left); ended = repStos<u8>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_STOS + W: store<i32>(LEFT, left); ended = repStos<u16>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_STOS + D: store<i32>(LEFT, left); ended = repStos<u32>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_STOS + Q: store<i32>(LEFT, left); ended = repStos<u64>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_LODS + B: store<i32>(LEFT, left); ended = repLods<u8>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_LODS + W: store<i32>(LEFT, left); ended = repLods<u16>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_LODS + D: store<i32>(LEFT, left); ended = repLods<u32>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_LODS + Q: store<i32>(LEFT, left); ended = repLods<u64>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_CMPS + B: store<i32>(LEFT, left); ended = repCmps<u8>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_CMPS + W: store<i32>(LEFT, left); ended = repCmps<u16>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_CMPS + D: store<i32>(LEFT, left); ended = repCmps<u32>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_CMPS + Q: store<i32>(LEFT, left); ended = repCmps<u64>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_SCAS + B: store<i32>(LEFT, left); ended = repScas<u8>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_SCAS + W: store<i32>(LEFT, left); ended = repScas<u16>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_SCAS + D: store<i32>(LEFT, left); ended = repScas<u32>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case REP_SCAS + Q: store<i32>(LEFT, left); ended = repScas<u64>(op); left = load<i32>(LEFT); if (ended != REP_DONE) return leaveRepetition(ended, op, block, left); op += OP_SIZE; break;
      case BUDGET_HERE:
        return end(STOP_BUDGET, load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_START), left + rest(op, block));
      case STOP_HERE:
        if (c(op) != 0) return leaveBehind(<u32>imm(op), op, block, left);
        return leaveBy(<u32>imm(op), op, block, left);
      case CHANGED_HERE:
        left += rest(op, block);
        store<u64>(RIP, load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_START));
        op = 0;
        break;
      case BREAK_HERE:
        if (load<u32>(BREAK_PASS) == 0) return leaveBy(STOP_BREAKPOINT, op, block, left);
        store<u32>(BREAK_PASS, 0);
        op += OP_SIZE;
        continue;
      case OBSERVED:
        observeInstruction(a(op), b(op), c(op), load<u64>(block, BLOCK_RIP) + load<u16>(op, OP_START), left + rest(op, block));
        op += OP_SIZE;
        continue;
      case DRAIN: drain(); op += OP_SIZE; continue;
      default:
        if (!vector(op)) return leave(op, block, left);
        op += OP_SIZE;
        continue;
    }
    // From one block to the next: where the operation leads, or to RIP.
    if (oneBlock) return end(STOP_BLOCK_END, op != 0 ? imm(op) : load<u64>(RIP), left);
    if (op != 0) {
      block = load<u32>(op, OP_LINK);
      if (block == 0 || load<u32>(block, BLOCK_COUNT) == 0) {
        const rip = imm(op);
        block = findBlock(rip);
        if (block == 0) return end(STOP_DECODE, rip, left);
        store<u32>(op, block, OP_LINK);
      }
    } else {
      const rip = load<u64>(RIP);
      block = findBlock(rip);
      if (block == 0) return end(STOP_DECODE, rip, left);
    }
    count = load<i32>(block, BLOCK_COUNT);
    if (left < count) {
      if (left <= 0) return end(STOP_BUDGET, load<u64>(block, BLOCK_RIP), left);
      plant(block, left);
    }
    left -= count;
    op = block + BLOCK_HEADER;
  }
}

/** A call pushes where it comes back to. @returns false after a fault */
// @ts-expect-error: decorator
@inline function call(back: u64): bool {
  const sp = load<u64>(RSP) - 8;
  write<u64>(sp, back);
  if (stopped()) return false;
  store<u64>(RSP, sp);
  return true;
}

/** LOOP, LOOPE, LOOPNE, JRCXZ: whether the branch is taken. */
function loopAgain(op: u32): bool {
  const wide = b(op) == 0;
  const how = c(op);
  let counter = wide ? load<u64>(RCX) : <u64>load<u32>(RCX);
  if (how == 3) return counter == 0;
  counter = wide ? counter - 1 : <u64>(<u32>(counter - 1));
  store<u64>(RCX, counter);
  if (counter == 0) return false;
  return how == 2 || isZero() == (how == 1);
}
