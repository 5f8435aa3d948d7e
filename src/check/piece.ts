// A straight piece of a path as it is put on the tape: the instructions as they are, one after the other, jumps
// left out, and a store that notes the register behind each that changes rbp, or rsp other than by a push, a pop
// or a constant.
//
// Invariant: what is executed is the code's own bytes; only a distance from the program counter is made another.

import { CHANGES_FP, CHANGES_SP, ODD, STORES_FP } from '../arch/checking.ts';
import { CALLER_SAVED } from './paths.ts';
import { Skips } from './step_over.ts';
import { KEPT, LOG_SLOTS, TAPE_DATA, TAPE_POINTER, type TapeMachine } from './tape_machine.ts';
import { CODE, FP_REGISTER, INSNS, SP, SP_REGISTER } from './target.ts';

/** A call, the register file of whose callee is not ours. */
export const IS_CALL = 32;
/** A call within the function: it leaves its return address. */
export const PUSHES_RETURN = 64;

const MOST = Math.min(512, LOG_SLOTS / 2);
const NO_SLOT = -1;
/** What a callee leaves. */
const CLOBBER = CODE.clobber(CALLER_SAVED, TAPE_POINTER);

export class Piece {
  count = 0;
  /** Instructions that were left out. */
  readonly skips = new Skips();
  start = 0;
  readonly insn = new Int32Array(MOST);
  readonly effects = new Uint8Array(MOST);
  readonly #at = new Int32Array(MOST);
  readonly #size = new Uint8Array(MOST);
  /** What is added to rsp, where that needs no note: it is held against the register when the piece ends. */
  readonly #delta = new Int32Array(MOST);
  readonly #spSlot = new Int16Array(MOST);
  readonly #fpSlot = new Int16Array(MOST);
  /** Of a store of rbp: register and distance. */
  readonly #base = new Uint8Array(MOST);
  readonly #distance = new Int32Array(MOST);
  readonly #machine: TapeMachine;
  readonly #decoded = INSNS.newInsn();
  #slots = 0;
  #split = false;
  #kept = 0;
  readonly #keptAt = new Uint8Array(MOST);

  constructor(machine: TapeMachine) {
    this.#machine = machine;
  }

  /** `split`: a jump behind each instruction, so that a fault is found to be its own. */
  begin(split = false): void {
    this.#machine.reserve();
    this.#split = split;
    this.start = this.#machine.end;
    this.count = 0;
    this.skips.clear();
    this.#slots = 0;
    this.#kept = 0;
  }

  get full(): boolean {
    return this.count >= MOST || this.#kept >= KEPT;
  }
  get hasCode(): boolean {
    return this.#machine.end > this.start;
  }

  /** An instruction that is not executed, or not as itself. */
  add(insn: number): number {
    const i = this.count++;
    this.insn[i] = insn;
    this.effects[i] = 0;
    this.#at[i] = this.#machine.end;
    this.#size[i] = 0;
    this.#spSlot[i] = NO_SLOT;
    this.#fpSlot[i] = NO_SLOT;
    this.#delta[i] = 0;
    return i;
  }

  /** Keeps all registers as they are before the instruction that is added next. */
  keep(): void {
    this.#keptAt[this.count] = this.#kept;
    this.#machine.writeKeep(this.#kept++);
  }
  /** Where they were kept before an instruction. */
  keptAt(i: number): number {
    return this.#keptAt[i];
  }

  addCall(insn: number, clobbers: boolean): void {
    const i = this.add(insn);
    this.effects[i] = IS_CALL;
    if (clobbers) this.#write(CLOBBER);
  }

  /** push of the address behind it */
  addPush(insn: number, value: number): void {
    const i = this.add(insn);
    const machine = this.#machine;
    machine.end = CODE.push(machine.code, machine.end, value);
    this.effects[i] = CHANGES_SP | PUSHES_RETURN;
    this.#delta[i] = -8;
  }

  /** The instruction itself. False, and nothing is added, if it must be alone and is not the first. */
  addCopy(insn: number, text: Uint8Array, at: number): boolean {
    const decoded = INSNS.decode(text, at, at, this.#decoded);
    const why = INSNS.skipped(decoded);
    if (why >= 0) {
      const i = this.add(insn);
      this.skips.counts[why]++;
      const taken = INSNS.takesOff(decoded);
      if (taken === 0) return true;
      const { code, end } = this.#machine;
      this.#machine.end = CODE.takeOff(code, end, taken);
      this.effects[i] = CHANGES_SP;
      this.#delta[i] = taken;
      return true;
    }
    const effects = INSNS.effects(decoded);
    if (effects & ODD && this.count > 0) return false;
    const i = this.add(insn);
    const machine = this.#machine;
    const { tape, end } = machine;
    const { length } = decoded;
    for (let b = 0; b < length; b++) tape[end + b] = text[at + b];
    const fromEnd = INSNS.distanceFromEnd(decoded);
    if (fromEnd > 0) CODE.redirect(machine.code, end + length, fromEnd, TAPE_DATA);
    machine.end = end + length;
    this.#size[i] = length;
    this.effects[i] = effects;
    if (this.#split) this.#write(CODE.jumpOn);
    if (effects === 0) return true;
    if (effects & STORES_FP) {
      this.#base[i] = INSNS.base(decoded);
      this.#distance[i] = INSNS.distance(decoded);
    }
    const delta = effects & CHANGES_SP ? INSNS.stackDelta(decoded) : 0;
    if (delta !== 0) this.#delta[i] = delta;
    else if (effects & (CHANGES_SP | ODD)) this.#spSlot[i] = machine.writeLog(SP_REGISTER, this.#slots++);
    if (effects & (CHANGES_FP | ODD)) this.#fpSlot[i] = machine.writeLog(FP_REGISTER, this.#slots++);
    return true;
  }

  end(): void {
    this.#machine.writeEnd();
  }

  /** Whether the instruction last added must be the last. */
  get endsOdd(): boolean {
    return this.count > 0 && (this.effects[this.count - 1] & ODD) !== 0;
  }

  /** The registers behind an instruction, from what was noted. */
  after(i: number, halves: Uint32Array): void {
    halves[SP] += this.#delta[i];
    this.#take(this.#spSlot[i], SP_REGISTER, halves);
    this.#take(this.#fpSlot[i], FP_REGISTER, halves);
  }

  #take(slot: number, register: number, halves: Uint32Array): void {
    if (slot === NO_SLOT) return;
    const { log } = this.#machine;
    halves[2 * register] = log[2 * slot];
    halves[2 * register + 1] = log[2 * slot + 1];
  }

  /** Where an instruction with STORES_FP puts it: low half. */
  placeOfStore(i: number, halves: Uint32Array): number {
    return halves[2 * this.#base[i]] + this.#distance[i];
  }

  /** The instruction at an offset of the tape, or behind it: notes that stand before it cannot fail. -1 for none. */
  itemAt(offset: number): number {
    if (offset < this.start) return -1;
    for (let i = 0; i < this.count; i++) {
      if (this.#size[i] > 0 && offset < this.#at[i] + this.#size[i]) return i;
    }
    return -1;
  }

  /** Offset on the tape of what is behind an instruction. */
  behind(i: number): number {
    return this.#at[i] + this.#size[i];
  }

  #write(code: Uint8Array): void {
    this.#machine.tape.set(code, this.#machine.end);
    this.#machine.end += code.length;
  }
}
