// The frames of a chain of functions, made by executing each one from its entry along its way to the call of the next, on made-up
// memory, as a check executes code: what then lies on the stack is what that code leaves there.
//
// Invariant: stores of the code itself are kept; a return address that a stray pointer has written over is an error, and not
// put right.

import { INSN_CALL, INSN_CALL_DYNAMIC, INSN_JUMP, INSN_JUMP_CONDITIONAL } from '../arch/code.ts';
import { CheckGuest, POINTER, STACK_BASE, STACK_HALF, STACK_LO, STACK_SIZE } from '../check/check_guest.ts';
import { loadSaved } from '../check/saved_registers.ts';
import { FP, INSNS, openEngine, PC, REGISTERS, SP } from '../check/target.ts';
import { fromHalves, TEXT_HI } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import { PoseError } from './error.ts';
import type { Way, WayStep } from './way.ts';

/** Why the port would not execute an instruction: it goes where the stack says. */
const INTERRUPT = 4;
const MOST_REPETITIONS = 4096;
const REPETITIONS = 8n;
/** Room for the frames of what sleeps. */
const ROOM = 0x400;

interface MadeFrame {
  /** Bytes from the stack's base to where the return address lies. */
  readonly at: number;
  /** Low half of it. */
  readonly address: number;
}

interface MadeFrames {
  /** What lies from the last return address up to the first function's; by words from the stack's base. */
  readonly from: number;
  readonly words: Uint32Array;
  /** Outermost first. */
  readonly frames: readonly MadeFrame[];
  /** The frame pointer as the last function has it at its call. */
  readonly fp: bigint;
}

export class FrameMaker {
  readonly #mem: GuestMemory;
  readonly #guest: CheckGuest;

  constructor(mem: GuestMemory) {
    this.#mem = mem;
    this.#guest = sharedGuest();
  }

  /**
   * @param entry bytes from the stack's base to where the return address of the first function lies
   * @param stackBase of the task: words that point into the stack point into its stack
   * @throws PoseError
   */
  make(ways: readonly Way[], names: readonly string[], entry: number, stackBase: bigint): MadeFrames {
    const { context, words } = this.#guest;
    const { halves } = context;
    this.#guest.prepare(STACK_LO);
    context.regs.fill(POINTER, 0, REGISTERS.general);
    halves[SP] = STACK_LO + entry;
    halves[SP + 1] = STACK_HALF;
    loadSaved(halves);
    context.regs[REGISTERS.flags] = REGISTERS.flagsAtEntry;
    context.touch();
    const frames: MadeFrame[] = [];
    ways.forEach((way, i) => {
      const before = halves[SP];
      for (const step of way.steps.slice(0, -1)) this.#step(step, names[i]);
      const call = way.steps[way.steps.length - 1];
      if (way.isTail) {
        if (halves[SP] !== before) throw new PoseError(`${names[i]}: its jump to ${names[i + 1]} is no call`);
        return;
      }
      const at = halves[SP] - 8 - STACK_LO;
      if (at < ROOM || at >= entry) throw new PoseError(`${names[i]}: its stack pointer leaves the stack`);
      this.#put(at, call.at + call.length, TEXT_HI);
      halves[SP] -= 8;
      context.touch();
      frames.push({ at, address: (call.at + call.length) >>> 0 });
    });
    for (const { at, address } of frames)
      if (words[at >> 2] !== address || words[(at >> 2) + 1] !== TEXT_HI)
        throw new PoseError(`a store of ${names.at(-2)} goes over a return address: the memory is made up`);
    const from = halves[SP] - STACK_LO;
    const moved = words.slice(from >> 2, entry >> 2);
    moveStack(moved, stackBase);
    const fp = fromHalves(halves[FP + 1], halves[FP]);
    return { from, words: moved, frames, fp: onStack(fp) ? fp - STACK_BASE + stackBase : fp };
  }

  #put(at: number, low: number, high: number): void {
    const { words } = this.#guest;
    words[at >> 2] = low;
    words[(at >> 2) + 1] = high;
  }

  #step({ at, length, type }: WayStep, name: string): void {
    const { context, engine } = this.#guest;
    const { halves } = context;
    if (type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL) return;
    if (type === INSN_CALL || type === INSN_CALL_DYNAMIC) {
      // Nothing is known of what a callee leaves.
      for (const { number } of REGISTERS.callerSaved) context.regs[number] = POINTER;
      context.touch();
      return;
    }
    const bytes = this.#mem.readBytes(fromHalves(TEXT_HI, at), length);
    const insn = INSNS.decode(bytes, 0, at, INSNS.newInsn());
    const why = INSNS.skipped(insn);
    if (why === INTERRUPT) {
      halves[SP] += INSNS.takesOff(insn);
      context.touch();
      return;
    }
    const counter = INSNS.counter(insn);
    if (counter >= 0 && context.regs[counter] > BigInt(MOST_REPETITIONS)) context.regs[counter] = REPETITIONS;
    halves[PC] = at;
    halves[PC + 1] = TEXT_HI;
    const stop = engine.step(context, insn, bytes, 0, fromHalves(TEXT_HI, at));
    if (stop === undefined) return;
    const delta = INSNS.deltaAlone(insn);
    // One that faults on made-up memory, and has nothing to do with the stack, is stepped over.
    if (delta === undefined) throw new PoseError(`${name}: its stack has no memory at 0x${at.toString(16)}`);
    halves[SP] += delta;
    context.touch();
  }
}

/** One for all: each time it begins anew. On the core, whatever the machine is on: it executes instructions that are nowhere. */
let shared: CheckGuest | undefined;

function sharedGuest(): CheckGuest {
  if (!shared) {
    shared = new CheckGuest(openEngine('core'));
    shared.loadText(new Uint8Array(16));
  }
  return shared;
}

const onStack = (value: bigint): boolean => value >= STACK_BASE && value < STACK_BASE + BigInt(STACK_SIZE);

function moveStack(words: Uint32Array, to: bigint): void {
  const view = new BigUint64Array(words.buffer, words.byteOffset, words.length / 2);
  for (let i = 0; i < view.length; i++) if (onStack(view[i])) view[i] += to - STACK_BASE;
}
