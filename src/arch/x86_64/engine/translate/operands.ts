// The operands of an instruction as cells and addresses. Intel SDM volume 2, chapter 2.

import { type Insn, NO_INDEX, REX_W } from '../../../../isa/decoder.ts';
import { ADD_SEGMENT, B, D, LEA, LEA32, LOAD, LOAD_TO_WRITE, MOV, Q, STORE, W } from '../../core/kinds.ts';
import { EA, FS_BASE, GS_BASE, REGS, T0, ZERO } from '../../core/layout.ts';
import type { Place } from './place.ts';
import type { Memory, OperationWriter } from './writer.ts';

export const RSP_CELL = REGS + 8 * 4;

/** log2 of the operand's size where it is not a byte. */
export function sizeOf(insn: Insn): number {
  if (insn.rex & REX_W) return Q;
  return insn.opsize16 ? W : D;
}

/** What memoryOf() and effective() say: one object, good until the next of them is asked. */
const found: { b: number; disp: number } = { b: 0, disp: 0 };
function memoryAt(b: number, disp: number): Memory {
  found.b = b;
  found.disp = disp;
  return found;
}

/** The same where it is 64 bits but for an operand-size prefix: push, pop, call. */
export function stackSize(insn: Insn): number {
  return insn.opsize16 && !(insn.rex & REX_W) ? W : Q;
}

/** Cell of a register; of bytes, ah to bh are the second bytes of rax to rbx. */
export function cellOf(insn: Insn, register: number, size: number): number {
  if (size === B && !insn.hasRex && register >= 4 && register < 8) return REGS + 8 * (register - 4) + 1;
  return REGS + 8 * register;
}

/** Base of the segment that the instruction names; 0 where it is 0. */
export function segmentBase(insn: Insn): number {
  if (insn.segment === 0x64) return FS_BASE;
  return insn.segment === 0x65 ? GS_BASE : 0;
}

/**
 * The address of the memory operand; writes operations where one addition is not enough.
 * @param next address of the next instruction
 * @param popped bytes by which a pop has moved the stack pointer, that the address goes by
 */
export function memoryOf(w: OperationWriter, insn: Insn, next: Place, popped = 0): Memory {
  const segment = segmentBase(insn);
  const simple = effective(w, insn, next, popped);
  if (segment === 0) return simple;
  if (simple.b === ZERO) return memoryAt(segment, simple.disp);
  if (simple.b !== EA || simple.disp !== 0) w.address(LEA, EA, simple.b, ZERO, simple.disp);
  w.cells(ADD_SEGMENT, EA, segment);
  return memoryAt(EA, 0);
}

/** The address without the segment's base: what lea gives. */
export function effective(w: OperationWriter, insn: Insn, next: Place, popped = 0): Memory {
  const { disp } = insn;
  if (insn.ripRelative) {
    const low = next.low(disp);
    if (!insn.addr32 && next.high(disp) === low >> 31) return memoryAt(ZERO, low);
    const target = next.plus(disp);
    return absolute(w, insn.addr32 ? BigInt.asUintN(32, target) : target);
  }
  let base = 8 * insn.rm + REGS;
  let index = ZERO;
  if (insn.hasSib) {
    base = insn.mod === 0 && (insn.sibBase & 7) === 5 ? ZERO : REGS + 8 * insn.sibBase;
    if (insn.sibIndex !== NO_INDEX) index = REGS + 8 * insn.sibIndex;
  }
  const shift = base === RSP_CELL ? popped : 0;
  const at = disp + shift;
  if (at > 0x7fffffff) {
    w.address(LEA, EA, base, ZERO, shift);
    base = EA;
  }
  const fits = at > 0x7fffffff ? disp : at;
  if (index === ZERO && !insn.addr32) return memoryAt(base, fits);
  w.address(insn.addr32 ? LEA32 : LEA, EA, base, index, fits, insn.sibScale);
  return memoryAt(EA, 0);
}

/** An address by itself. */
export function absolute(w: OperationWriter, target: bigint): Memory {
  if (BigInt.asUintN(64, BigInt.asIntN(32, target)) === target)
    return memoryAt(ZERO, Number(BigInt.asIntN(32, target)));
  w.constant(MOV + Q, EA, target);
  return memoryAt(EA, 0);
}

/** An operand that is only read: its cell. Memory is loaded into T0. */
export function readRm(w: OperationWriter, insn: Insn, size: number, next: Place): number {
  if (insn.mod === 3) return cellOf(insn, insn.rm, size);
  w.memory(LOAD + size, T0, memoryOf(w, insn, next));
  return T0;
}

/** The address as memoryOf() gives it, kept where the instruction changes one of the registers that it is made of. */
export function keptMemoryOf(w: OperationWriter, insn: Insn, next: Place): Memory {
  const { b, disp } = memoryOf(w, insn, next);
  if (b === EA) return found;
  w.address(LEA, EA, b, ZERO, disp);
  return memoryAt(EA, 0);
}

/**
 * An operand that is read and written, or only written: `write` is told its cell, and memory is stored behind it.
 * @param isRead false where its old value does not count
 * @param address keptMemoryOf where it writes another register, too
 */
export function changeRm(
  w: OperationWriter,
  insn: Insn,
  size: number,
  next: Place,
  write: (cell: number) => void,
  { isRead = true, address = memoryOf }: { isRead?: boolean; address?: typeof keptMemoryOf } = {},
): void {
  if (insn.mod === 3) {
    write(cellOf(insn, insn.rm, size));
    return;
  }
  const memory = address(w, insn, next);
  if (isRead) w.memory(LOAD_TO_WRITE + size, T0, memory);
  write(T0);
  w.memory(STORE + size, T0, memory);
}

/** changeRm() in two halves, for what most code is made of: the cell to change, and storeRm() behind the change. */
export function loadRm(w: OperationWriter, insn: Insn, size: number, next: Place): number {
  if (insn.mod === 3) return cellOf(insn, insn.rm, size);
  w.memory(LOAD_TO_WRITE + size, T0, memoryOf(w, insn, next));
  return T0;
}
export function storeRm(w: OperationWriter, insn: Insn, size: number): void {
  if (insn.mod !== 3) w.memory(STORE + size, T0, found);
}
