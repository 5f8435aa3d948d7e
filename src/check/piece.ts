// A straight piece of a path as it is put on the tape: the instructions as they are, one after the other, jumps
// left out, and a store that notes the register behind each that changes rbp, or rsp other than by a push, a pop
// or a constant.
//
// Invariant: what is executed is the code's own bytes; only a distance from rip is made another.

import { REG } from '../arch/x86_64/context.ts';
import { decodeAt, Insn } from '../isa/decoder.ts';
import { baseOf, CHANGES_BP, CHANGES_SP, effectsOf, ODD, STORES_BP, stackDelta } from './effects.ts';
import { CALLER_SAVED } from './paths.ts';
import { isPopf, Skips, whySteppedOver } from './step_over.ts';
import { KEPT, LOG_SLOTS, TAPE, TAPE_DATA, TAPE_POINTER, type TapeMachine } from './tape_machine.ts';

/** A call, the register file of whose callee is not ours. */
export const IS_CALL = 32;
/** A call within the function: it leaves its return address. */
export const PUSHES_RETURN = 64;

const MOST = Math.min(512, LOG_SLOTS / 2);
const NO_SLOT = -1;
/** mov eax, pointer; then mov of rax to the others. */
const CLOBBER = clobber();
const JUMP_ON = Uint8Array.of(0xeb, 0);
/** lea rsp, [rsp + 8] */
const POP_NOTHING = Uint8Array.of(0x48, 0x8d, 0x64, 0x24, 0x08);

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
  readonly #bpSlot = new Int16Array(MOST);
  /** Of a store of rbp: register and distance. */
  readonly #base = new Uint8Array(MOST);
  readonly #distance = new Int32Array(MOST);
  readonly #machine: TapeMachine;
  readonly #decoded = new Insn();
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
    this.#bpSlot[i] = NO_SLOT;
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
    const { tape, view, end } = this.#machine;
    tape[end] = 0x68;
    view.setInt32(end + 1, value | 0, true);
    this.#machine.end = end + 5;
    this.effects[i] = CHANGES_SP | PUSHES_RETURN;
    this.#delta[i] = -8;
  }

  /** The instruction itself. False, and nothing is added, if it must be alone and is not the first. */
  addCopy(insn: number, text: Uint8Array, at: number): boolean {
    const decoded = decodeAt(text, at, at, this.#decoded);
    const why = whySteppedOver(decoded);
    if (why >= 0) {
      const i = this.add(insn);
      this.skips.counts[why]++;
      if (!isPopf(decoded)) return true;
      this.#write(POP_NOTHING);
      this.effects[i] = CHANGES_SP;
      this.#delta[i] = 8;
      return true;
    }
    const effects = effectsOf(decoded);
    if (effects & ODD && this.count > 0) return false;
    const i = this.add(insn);
    const machine = this.#machine;
    const { tape, end } = machine;
    const { length } = decoded;
    for (let b = 0; b < length; b++) tape[end + b] = text[at + b];
    if (decoded.ripRelative) {
      const place = end + length - decoded.immSize - 4;
      machine.view.setInt32(place, TAPE_DATA - (TAPE + end + length), true);
    }
    machine.end = end + length;
    this.#size[i] = length;
    this.effects[i] = effects;
    if (this.#split) this.#write(JUMP_ON);
    if (effects === 0) return true;
    if (effects & STORES_BP) {
      this.#base[i] = baseOf(decoded);
      this.#distance[i] = decoded.disp;
    }
    const delta = effects & CHANGES_SP ? stackDelta(decoded) : 0;
    if (delta !== 0) this.#delta[i] = delta;
    else if (effects & (CHANGES_SP | ODD)) this.#spSlot[i] = machine.writeLog(REG.rsp, this.#slots++);
    if (effects & (CHANGES_BP | ODD)) this.#bpSlot[i] = machine.writeLog(REG.rbp, this.#slots++);
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
    halves[2 * REG.rsp] += this.#delta[i];
    this.#take(this.#spSlot[i], REG.rsp, halves);
    this.#take(this.#bpSlot[i], REG.rbp, halves);
  }

  #take(slot: number, register: number, halves: Uint32Array): void {
    if (slot === NO_SLOT) return;
    const { log } = this.#machine;
    halves[2 * register] = log[2 * slot];
    halves[2 * register + 1] = log[2 * slot + 1];
  }

  /** Where an instruction with STORES_BP puts it: low half. */
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

function clobber(): Uint8Array {
  const bytes = [0xb8, 0, 0, 0, 0].map((byte, i) =>
    i === 0 ? byte : (TAPE_POINTER >> (8 * (i - 1))) & 0xff,
  );
  for (const reg of CALLER_SAVED) {
    if (reg !== REG.rax) bytes.push(reg >= 8 ? 0x41 : 0x40, 0x89, 0xc0 | (reg & 7));
  }
  return Uint8Array.from(bytes);
}
