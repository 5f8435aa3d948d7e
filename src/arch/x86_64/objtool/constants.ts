// Registers that hold constants, or `current`, as a function's instructions are read one after the other. An argument is what
// stands in its register of the System V ABI when a call is made.

import {
  decodeAt,
  FLOW_CALL,
  FLOW_CALL_INDIRECT,
  Insn,
  REX_B,
  REX_W,
  WRITES,
  WRITES_MASK,
} from '../../../isa/decoder.ts';
import type { ConstantReader } from '../../constants.ts';

const [RAX, RCX, RDX, RSI, RDI] = [0, 1, 2, 6, 7];
const ARGUMENTS = [RDI, RSI, RDX, RCX, 8, 9];
/** What a callee may leave anything in. */
const CALLER_SAVED = [RAX, RCX, RDX, RSI, RDI, 8, 9, 10, 11];
const COUNT = 16;
const SEGMENT_GS = 0x65;

const MOV_IMM = 0xb8;
const MOV_RM_IMM = 0xc7;
const MOV_TO_RM = 0x89;
const MOV_FROM_RM = 0x8b;
const LEA = 0x8d;
const XCHG = 0x87;
const XOR = [0x31, 0x33];

type Known = number | 'current' | undefined;

export class Constants implements ConstantReader {
  readonly #insn = new Insn();
  readonly #known: Known[] = new Array(COUNT).fill(undefined);
  readonly #current: number;
  stored: ConstantReader['stored'];

  constructor(current: number) {
    this.#current = current;
  }

  forget(): void {
    this.#known.fill(undefined);
  }

  argument(index: number): number | undefined {
    const known = this.#known[ARGUMENTS[index]];
    return known === 'current' ? undefined : known;
  }

  step(bytes: Uint8Array, at: number, address: number): number {
    const insn = decodeAt(bytes, at, address, this.#insn);
    this.stored = undefined;
    if (insn.length === 0) return 0;
    if (insn.flow === FLOW_CALL || insn.flow === FLOW_CALL_INDIRECT) {
      for (const register of CALLER_SAVED) this.#known[register] = undefined;
      return insn.length;
    }
    this.stored = this.#store(insn);
    const value = this.#value(insn, address);
    this.#overwrite(insn);
    if (value !== undefined) this.#known[destination(insn)] = value;
    return insn.length;
  }

  /** What the instruction puts into its destination; undefined where that is nothing that is known. */
  #value(insn: Insn, address: number): Known {
    const { opcode, mod, reg, rm } = insn;
    if (insn.vex) return undefined;
    if (opcode >= MOV_IMM && opcode < MOV_IMM + 8) return insn.imm >>> 0;
    if (opcode === MOV_RM_IMM && mod === 3) return insn.imm >>> 0;
    if (opcode === LEA && insn.ripRelative) return (address + insn.length + insn.disp) >>> 0;
    if (XOR.includes(opcode) && mod === 3 && reg === rm) return 0;
    if (opcode === MOV_TO_RM && mod === 3) return this.#copied(reg, insn);
    if (opcode !== MOV_FROM_RM) return undefined;
    if (mod === 3) return this.#copied(rm, insn);
    return this.#isCurrent(insn, address) ? 'current' : undefined;
  }

  #copied(from: number, { rex }: Insn): Known {
    const known = this.#known[from];
    return known === 'current' && (rex & REX_W) === 0 ? undefined : known;
  }

  #isCurrent(insn: Insn, address: number): boolean {
    if (insn.segment !== SEGMENT_GS || (insn.rex & REX_W) === 0) return false;
    const at = insn.ripRelative ? address + insn.length + insn.disp : insn.disp;
    const isAbsolute = insn.mod === 0 && (insn.ripRelative || insn.hasSib);
    return isAbsolute && at >>> 0 === this.#current >>> 0;
  }

  #store(insn: Insn): ConstantReader['stored'] {
    const { opcode, mod, reg, rm, disp: offset } = insn;
    if (insn.vex || !insn.hasModrm || mod === 3 || insn.hasSib || this.#known[rm] !== 'current')
      return undefined;
    if (opcode === MOV_RM_IMM) return { offset, value: insn.imm >>> 0 };
    const value = opcode === MOV_TO_RM || opcode === XCHG ? this.#known[reg] : undefined;
    return typeof value === 'number' ? { offset, value } : undefined;
  }

  #overwrite({ facts, vex, mod, reg, rm, opcode, rex, hasModrm }: Insn): void {
    const known = this.#known;
    const ofRm = (): void => {
      if (mod === 3) known[rm] = undefined;
    };
    const writes = facts & WRITES_MASK;
    if (vex || writes === WRITES.ANY || writes === WRITES.UNKNOWN) {
      for (const register of [RAX, RCX, RDX]) known[register] = undefined;
      if (hasModrm) {
        ofRm();
        known[reg] = undefined;
      }
      if (writes === WRITES.UNKNOWN) this.forget();
      return;
    }
    if (writes === WRITES.RM || writes === WRITES.BOTH) ofRm();
    if (writes === WRITES.REG || writes === WRITES.BOTH) known[reg] = undefined;
    if (writes === WRITES.OPCODE) known[(opcode & 7) | (rex & REX_B ? 8 : 0)] = undefined;
  }
}

/** Of those that #value() knows. */
function destination({ opcode, reg, rm, rex }: Insn): number {
  if (opcode >= MOV_IMM && opcode < MOV_IMM + 8) return (opcode & 7) | (rex & REX_B ? 8 : 0);
  return opcode === MOV_FROM_RM || opcode === LEA ? reg : rm;
}
