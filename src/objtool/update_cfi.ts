// The stack state after one stack operation.
// Mirrors update_cfi_state() of tools/objtool/check.c, the realigned frames (DRAP), restores
// and stack switches that GCC emits included.
//
// Invariant: `cfi` is a copy that nothing else holds yet.

import {
  BP,
  BP_INDIRECT,
  CFA,
  type Cfi,
  SP,
  SP_INDIRECT,
  TYPE_REGS,
  TYPE_REGS_PARTIAL,
  UNDEFINED,
} from './cfi.ts';
import {
  FROM_ADD,
  FROM_AND,
  FROM_MEM,
  FROM_POP,
  FROM_REG,
  type StackOp,
  TO_MEM,
  TO_PUSH,
  TO_REG,
  TO_REG_MEM,
} from './stack_op.ts';

export interface OpContext {
  /** The instruction is in a callable function. */
  readonly callable: boolean;
  /** The next instruction carries an unwind hint. */
  readonly hintFollows: boolean;
}

/** Below pt_regs only the distance to them is followed. */
function updateRegs(cfi: Cfi, op: StackOp): void {
  if (cfi.cfaBase !== SP && cfi.cfaBase !== SP_INDIRECT) return;
  if (op.to === TO_PUSH) cfi.cfaOffset += 8;
  if (op.from === FROM_POP) cfi.cfaOffset -= 8;
  const adds = op.to === TO_REG && op.from === FROM_ADD && op.toReg === SP && op.fromReg === SP;
  if (adds) cfi.cfaOffset -= op.fromOffset;
}

/** The stack pointer moves by `bytes`, away from the caller when positive. */
function grow(cfi: Cfi, bytes: number): void {
  cfi.stackSize += bytes;
  if (cfi.cfaBase === SP) cfi.cfaOffset += bytes;
}

function bpIsPushed(cfi: Cfi): boolean {
  return cfi.bp.base === CFA && cfi.bp.offset === -cfi.cfaOffset;
}

/** `mov %rax, (%rsp-like)` earlier put the old stack pointer at the top of another stack. */
function holdsSwitchedStack(cfi: Cfi, reg: number): boolean {
  const value = cfi.values[reg];
  return value?.base === SP_INDIRECT && value.offset === cfi.cfaOffset;
}

function moveFromSp(cfi: Cfi, to: number): boolean {
  if (to === BP && cfi.cfaBase === SP && bpIsPushed(cfi)) cfi.cfaBase = BP;
  else if (to === BP && cfi.drap) cfi.setBp(BP, -cfi.stackSize);
  else if (cfi.cfaBase === SP) cfi.setValue(to, CFA, -cfi.stackSize);
  else return false;
  return true;
}

function moveIntoCfaBase(cfi: Cfi, from: number): void {
  const value = cfi.values[from];
  if (cfi.cfaBase === SP && value?.base === CFA) {
    cfi.cfaOffset = -value.offset;
    cfi.stackSize = cfi.cfaOffset;
  } else if (cfi.cfaBase === SP && holdsSwitchedStack(cfi, from)) {
    cfi.cfaBase = SP_INDIRECT;
  } else {
    cfi.cfaBase = UNDEFINED;
    cfi.cfaOffset = 0;
  }
}

function move(cfi: Cfi, from: number, to: number): void {
  if (from === SP && moveFromSp(cfi, to)) return;
  if (from === BP && to === SP && (cfi.cfaBase === BP || cfi.cfaBase === cfi.drapReg)) {
    cfi.stackSize = -cfi.bp.offset;
  } else if (to === cfi.cfaBase) {
    moveIntoCfaBase(cfi, from);
  } else if (to === SP && holdsSwitchedStack(cfi, from)) {
    // The pop that comes back will look like any other: count the slot it takes off.
    cfi.stackSize += 8;
  }
}

/** add to rsp, and lea of either direction. */
function addTo(cfi: Cfi, op: StackOp, context: OpContext): string | undefined {
  const { fromReg, fromOffset, toReg } = op;
  if (toReg === SP && fromReg === SP) grow(cfi, -fromOffset);
  else if (toReg === SP && fromReg === BP) cfi.stackSize = -(fromOffset + cfi.bp.offset);
  else if (fromReg === SP && cfi.cfaBase === SP) {
    cfi.drapReg = toReg;
    cfi.setValue(toReg, CFA, -cfi.stackSize + fromOffset);
  } else if (cfi.drap && toReg === SP && fromReg === cfi.drapReg) {
    cfi.cfaBase = SP;
    cfi.cfaOffset = cfi.stackSize = -fromOffset;
    cfi.drapReg = UNDEFINED;
    cfi.drap = false;
  } else if (toReg === cfi.cfaBase && !context.hintFollows) {
    return 'unsupported stack register modification';
  }
  return undefined;
}

function align(cfi: Cfi, op: StackOp): string | undefined {
  const hasDrap = cfi.drapReg !== UNDEFINED;
  if (op.toReg !== SP || (hasDrap ? cfi.cfaBase !== SP : cfi.cfaBase !== BP)) {
    return 'unsupported stack pointer realignment';
  }
  if (hasDrap) {
    cfi.cfaBase = cfi.drapReg;
    cfi.cfaOffset = cfi.stackSize = 0;
    cfi.drap = true;
  }
  return undefined;
}

function popInto(cfi: Cfi, reg: number): void {
  if (reg === SP && cfi.cfaBase === SP_INDIRECT) {
    cfi.cfaBase = SP;
    return;
  }
  if (!cfi.drap && reg === cfi.cfaBase) cfi.cfaBase = SP;
  const isDrap = cfi.drap && cfi.cfaBase === BP_INDIRECT && reg === cfi.drapReg;
  if (isDrap && cfi.drapOffset === -cfi.stackSize) drapIsBack(cfi);
  else if (cfi.stackSize === -cfi.savedAt(reg).offset) cfi.restore(reg);
  grow(cfi, -8);
}

function drapIsBack(cfi: Cfi): void {
  cfi.cfaBase = cfi.drapReg;
  cfi.cfaOffset = 0;
  cfi.drapOffset = -1;
}

/** mov disp(base), reg */
function load(cfi: Cfi, op: StackOp): void {
  const { fromReg, fromOffset, toReg } = op;
  if (!cfi.drap && toReg === cfi.cfaBase && toReg === BP) {
    cfi.cfaBase = SP;
    cfi.cfaOffset = cfi.stackSize;
  }
  if (cfi.drap && fromReg === BP && fromOffset === cfi.drapOffset) drapIsBack(cfi);
  const kept = cfi.savedAt(toReg).offset;
  const inDrapFrame = cfi.drap && fromReg === BP && fromOffset === kept;
  const fromCfaBase = fromReg === cfi.cfaBase && fromOffset === kept + cfi.cfaOffset;
  const fromStack = fromReg === SP && fromOffset === kept + cfi.stackSize;
  if (inDrapFrame || fromCfaBase || fromStack) cfi.restore(toReg);
}

function push(cfi: Cfi, op: StackOp): void {
  grow(cfi, 8);
  if (op.from !== FROM_REG) return;
  const reg = op.fromReg;
  if (!cfi.drap) cfi.save(reg, CFA, -cfi.stackSize);
  else if (reg === cfi.cfaBase && reg === cfi.drapReg) {
    cfi.cfaBase = BP_INDIRECT;
    cfi.cfaOffset = cfi.drapOffset = -cfi.stackSize;
  } else if (reg === BP && cfi.cfaBase === cfi.drapReg) cfi.stackSize = 0;
  else cfi.save(reg, BP, -cfi.stackSize);
}

/** mov reg, disp(base) */
function store(cfi: Cfi, op: StackOp): void {
  const { fromReg, toReg, toOffset } = op;
  if (cfi.drap) {
    if (fromReg === cfi.cfaBase && fromReg === cfi.drapReg) {
      cfi.cfaBase = BP_INDIRECT;
      cfi.cfaOffset = cfi.drapOffset = toOffset;
    } else cfi.save(fromReg, BP, toOffset);
  } else if (toReg === cfi.cfaBase) cfi.save(fromReg, CFA, toOffset - cfi.cfaOffset);
  else if (toReg === SP) cfi.save(fromReg, CFA, toOffset - cfi.stackSize);
  else if (fromReg === SP && toOffset === 0) cfi.setValue(toReg, SP_INDIRECT, cfi.cfaOffset);
}

/** Changes `cfi`; the text of a warning when it cannot be followed. */
export function updateCfi(cfi: Cfi, op: StackOp, context: OpContext): string | undefined {
  if (cfi.cfaBase === UNDEFINED) return context.callable ? 'undefined stack state' : undefined;
  if (cfi.type === TYPE_REGS || cfi.type === TYPE_REGS_PARTIAL) {
    updateRegs(cfi, op);
    return undefined;
  }
  switch (op.to) {
    case TO_PUSH:
      push(cfi, op);
      return undefined;
    case TO_REG_MEM:
      store(cfi, op);
      return undefined;
    case TO_MEM:
      grow(cfi, -8);
      return undefined;
  }
  switch (op.from) {
    case FROM_REG:
      move(cfi, op.fromReg, op.toReg);
      return undefined;
    case FROM_ADD:
      return addTo(cfi, op, context);
    case FROM_AND:
      return align(cfi, op);
    case FROM_POP:
      popInto(cfi, op.toReg);
      return undefined;
    case FROM_MEM:
      load(cfi, op);
      return undefined;
    default:
      return 'unknown stack-related instruction';
  }
}
