// What a vector instruction names, in whichever of three encodings: the legacy one of SSE, VEX, EVEX. Intel SDM volume 2,
// 2.3 and 2.7.
//
// Invariant: the legacy encoding leaves what a register has above 128 bits as it is, the others make it 0.

import type { Insn } from '../../../../isa/decoder.ts';
import * as vex from '../../../../isa/vex.ts';
import { ADD_SEGMENT, B, D, LEA, LEA32, LOAD, MOV, Q, STORE, W } from '../../core/kinds.ts';
import { EA, MASKS, REGS, T0, VECTOR_REGISTER, VECTOR_T0, VECTOR_T1, ZERO, ZMM } from '../../core/layout.ts';
import * as V from '../../core/vector_kinds.ts';
import type { Instruction } from './instruction.ts';
import { cellOf, memoryOf, segmentBase } from './operands.ts';
import type { OperationWriter } from './writer.ts';

const PP_OF_REP = { 0: 0, 243: 2, 242: 3 } as Readonly<Record<number, number>>;
const MAP_OF_SECOND = { 3896: 2, 3898: 3 } as Readonly<Record<number, number>>;

/** What an operation has beside its kind. */
interface Sources {
  readonly b?: number;
  readonly c?: number;
  readonly imm?: number | bigint;
  /** 16-byte lanes of the result, where they are not the instruction's. */
  readonly lanes?: number;
  /** Bits of a shape. */
  readonly more?: number;
  /** c is the constant, and one count for all lanes. */
  readonly byConstant?: boolean;
}

export class VectorOperands {
  #i!: Instruction;
  #bits = 0;
  map = 0;
  opcode = 0;
  /** 0, 1, 2, 3 for none, 66, F3, F2. */
  pp = 0;
  /** VEX or EVEX. */
  vex = false;
  evex = false;
  w = false;
  /** Of 16 bytes: 1, 2 or 4. */
  lanes = 1;
  /** Bytes of an element that a mask or a broadcast counts. */
  element = 4;

  /** @returns false when its prefixes make it undefined */
  begin(i: Instruction): boolean {
    const { insn } = i;
    this.#i = i;
    this.vex = insn.vex;
    this.evex = false;
    if (!insn.vex) {
      this.#bits = 0;
      this.map = insn.opcode < 0x1000 ? 1 : MAP_OF_SECOND[insn.opcode >> 8];
      this.opcode = insn.opcode & 0xff;
      this.pp = insn.rep === 0 ? (insn.opsize16 ? 1 : 0) : PP_OF_REP[insn.rep];
      this.w = (insn.rex & 8) !== 0;
      this.lanes = 1;
      return true;
    }
    const bits = insn.vexBits;
    this.#bits = bits;
    this.map = vex.mapOf(bits);
    this.opcode = vex.opcodeOf(bits);
    this.pp = vex.ppOf(bits);
    this.w = vex.wOf(bits);
    this.evex = vex.isEvex(bits);
    this.lanes = 1 << vex.lengthOf(bits);
    if (insn.rep !== 0 || insn.opsize16 || insn.hasRex || insn.locked) return false;
    return this.lanes < 8 && !(this.evex && vex.hasReserved(bits));
  }

  get writer(): OperationWriter {
    return this.#i.w;
  }
  get insn(): Insn {
    return this.#i.insn;
  }
  get user(): boolean {
    return this.#i.user;
  }
  get ofMemory(): boolean {
    return this.insn.mod !== 3;
  }
  /** VEX without a second source, and the legacy encoding. */
  get namesNoOther(): boolean {
    return vex.vvvvOf(this.#bits) === 0;
  }
  get maskNumber(): number {
    return this.evex ? vex.maskOf(this.#bits) : 0;
  }
  get maskCell(): number {
    return MASKS + 8 * this.maskNumber;
  }
  get constant(): bigint {
    return BigInt(this.insn.imm & 0xff);
  }

  /** The register in ModRM's reg. */
  get reg(): number {
    return vectorCell(this.insn.reg | (this.evex ? vex.highReg(this.#bits) : 0));
  }
  /** The register in ModRM's rm. */
  get rm(): number {
    return vectorCell(this.insn.rm | (this.evex ? vex.highRm(this.#bits) : 0));
  }
  /** The register that a shift by a constant writes: of the legacy encoding it is rm. */
  get other(): number {
    return vectorCell(vex.vvvvOf(this.#bits));
  }
  /** The first source: of the legacy encoding it is the destination. */
  get first(): number {
    return this.vex ? this.other : this.reg;
  }
  /** A general register that VEX names. */
  get otherGeneral(): number {
    return REGS + 8 * (vex.vvvvOf(this.#bits) & 15);
  }
  get otherMask(): number {
    return MASKS + 8 * (vex.vvvvOf(this.#bits) & 7);
  }

  /** Base and displacement of the operand in memory; EVEX counts a displacement of one byte in operands. */
  memory(bytes: number): { b: number; disp: number } {
    const { insn, w, next } = this.#i;
    if (!this.evex || insn.mod !== 1) return { ...memoryOf(w, insn, next) };
    const { disp } = insn;
    insn.disp = disp * bytes;
    const at = memoryOf(w, insn, next);
    insn.disp = disp;
    return at;
  }

  /** Where rdi points, in the segment that the prefixes name. */
  get destinationOfString(): { b: number; disp: number } {
    const { insn, w } = this.#i;
    w.op(insn.addr32 ? LEA32 : LEA, { a: EA, b: REGS + 8 * 7, c: ZERO });
    const segment = segmentBase(insn);
    if (segment !== 0) w.op(ADD_SEGMENT, { a: EA, b: segment });
    return { b: EA, disp: 0 };
  }

  /** A vector operand of so many bytes: its register, or where it is loaded. */
  source(bytes: number, isAligned = !this.vex && bytes === 16): number {
    if (!this.ofMemory) return this.rm;
    if (this.evex && vex.broadcasts(this.#bits)) {
      return this.#broadcast(this.element, false);
    }
    const at = this.memory(bytes);
    if (bytes === 4 || bytes === 8) {
      this.writer.op(LOAD + (bytes === 4 ? D : Q), { a: T0, ...at });
      return T0;
    }
    const imm = bytes | (isAligned ? V.ALIGNED : 0);
    this.writer.op(V.V_LOAD, { a: VECTOR_T0, ...at, imm });
    return VECTOR_T0;
  }
  /** So many bytes of memory again and again; under the mask only elements that it has are read. */
  #broadcast(bytes: number, underMask: boolean): number {
    const at = this.memory(bytes);
    const elements = (16 * this.lanes) / this.element;
    const c = underMask && this.maskNumber !== 0 ? this.maskCell : 0;
    const imm = bytes | (elements << 8) | (this.element << 16);
    this.writer.op(V.V_LOAD_BROADCAST, { a: VECTOR_T0, c, ...at, imm });
    return VECTOR_T0;
  }
  /** What VBROADCASTx repeats. */
  broadcastSource(bytes: number): number {
    return this.ofMemory && this.maskNumber !== 0 ? this.#broadcast(bytes, true) : this.narrow(bytes);
  }
  /** One as long as the instruction's vectors. */
  get whole(): number {
    return this.source(16 * this.lanes);
  }
  /** The same, of which only elements under the mask are accessed. */
  wholeUnderMask(isAligned = !this.vex): number {
    const bytes = 16 * this.lanes;
    if (!this.ofMemory || this.maskNumber === 0) return this.source(bytes, isAligned);
    return this.broadcasts
      ? this.#broadcast(this.element, true)
      : this.underMask(bytes, this.element, isAligned);
  }
  /** Memory, of which only elements of so many bytes under the mask are accessed. */
  underMask(bytes: number, element: number, isAligned = false): number {
    const imm = element | (bytes << 8) | (isAligned ? V.MASKED_ALIGNED : 0);
    this.writer.op(V.V_LOAD_MASKED, { a: VECTOR_T0, c: this.maskCell, ...this.memory(bytes), imm });
    return VECTOR_T0;
  }
  /** One of fewer bytes, that is never aligned. */
  narrow(bytes: number): number {
    if (!this.ofMemory) return this.rm;
    if (bytes >= 4) return this.source(bytes, false);
    this.writer.op(LOAD + (bytes === 1 ? B : W), { a: T0, ...this.memory(bytes) });
    return T0;
  }
  /** A general register of so many bits, or memory. */
  general(size: number): number {
    const { insn, w } = this.#i;
    if (!this.ofMemory) return cellOf(insn, insn.rm, size);
    w.op(LOAD + size, { a: T0, ...this.memory(1 << size) });
    return T0;
  }
  generalReg(size: number): number {
    return cellOf(this.insn, this.insn.reg, size);
  }

  get generalRm(): number {
    return REGS + 8 * this.insn.rm;
  }
  /** An operation whose result goes to a vector register, under the mask where there is one. */
  to(
    a: number,
    kind: number,
    { b = 0, c = 0, imm = 0, lanes = this.lanes, more = 0, byConstant }: Sources,
  ): void {
    const { writer } = this;
    const isMasked = this.maskNumber !== 0;
    const to = isMasked ? VECTOR_T1 : a;
    if (isMasked && kind === V.VPTERNLOG) writer.op(V.V_MOV, { a: to, c: a, disp: lanes });
    const shape = lanes | more | (byConstant ? V.COUNT : 0) | (this.vex && !isMasked ? V.CLEAR : 0);
    writer.op(kind, { a: to, b, c: byConstant ? writer.immCell : c, imm, disp: shape });
    if (isMasked) this.merge(a, lanes, to);
  }
  /** What EVEX's mask keeps. */
  merge(a: number, lanes: number, b: number): void {
    const imm = this.element | (vex.zeroes(this.#bits) ? 0x100 : 0);
    this.writer.op(V.V_MERGE, { a, b, c: this.maskCell, imm, disp: lanes | V.CLEAR });
  }
  get zeroes(): boolean {
    return vex.zeroes(this.#bits);
  }
  get broadcasts(): boolean {
    return vex.broadcasts(this.#bits);
  }

  /** Writes a cell's low bytes to the operand: memory, or a general register of so many bits. */
  toGeneral(cell: number, size: number, registerSize = size): void {
    const { insn, w } = this.#i;
    if (this.ofMemory) w.op(STORE + size, { a: cell, ...this.memory(1 << size) });
    else w.op(MOV + registerSize, { a: cellOf(insn, insn.rm, registerSize), b: cell });
  }
}

const vectorCell = (number: number): number => ZMM + VECTOR_REGISTER * number;
