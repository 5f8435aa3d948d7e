// Registers and cells of what executes now.

import { OP_A, OP_B, OP_C, OP_DISP, OP_IMM, REGS } from './layout';

// Registers by the number that instructions give them.
export const RAX = REGS;
export const RCX = REGS + 8;
export const RDX = REGS + 16;
export const RBX = REGS + 24;
export const RSP = REGS + 32;
export const RBP = REGS + 40;
export const RSI = REGS + 48;
export const RDI = REGS + 56;
export const R11 = REGS + 88;

/** A cell, of the size T; the high byte of a register is the cell's address + 1. */
// @ts-expect-error: decorator
@inline export function get<T>(cell: u32): T {
  return load<T>(cell);
}

/** Writes a cell as an instruction writes a register: 32 bits clear the upper half, fewer leave the rest. */
// @ts-expect-error: decorator
@inline export function set<T>(cell: u32, value: T): void {
  if (sizeof<T>() == 4) store<u64>(cell, <u64>(<u32>value));
  else store<T>(cell, value);
}

// Operands of an operation.
// @ts-expect-error: decorator
@inline export function a(op: u32): u32 {
  return load<u32>(op, OP_A);
}
// @ts-expect-error: decorator
@inline export function b(op: u32): u32 {
  return load<u32>(op, OP_B);
}
// @ts-expect-error: decorator
@inline export function c(op: u32): u32 {
  return load<u32>(op, OP_C);
}
// @ts-expect-error: decorator
@inline export function imm(op: u32): u64 {
  return load<u64>(op, OP_IMM);
}
/** The address of a memory operand. */
// @ts-expect-error: decorator
@inline export function address(op: u32): u64 {
  return load<u64>(b(op)) + <u64>(<i64>load<i32>(op, OP_DISP));
}
