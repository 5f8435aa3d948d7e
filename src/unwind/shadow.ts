// Ground truth: where on each task stack a return address lies, noted as calls and returns execute: by whoever executes
// them a block at a time, or by an engine itself. Mirrors nothing of the kernel's; it is what the unwinders are judged by.
//
// Invariant: a frame is live exactly while the stack pointer is at or below its slot. The address itself is read
// from the stack when asked for, because a trampoline or a thunk may have replaced it since the call.

import type { FrameWords } from '../arch/blocks.ts';
import { type PtRegsLayout, ptRegsOffset } from '../arch/pt_regs.ts';
import type { StackArena } from '../arch/unwinders.ts';
import { STACK_SLOT_SHIFT, THREAD_SIZE } from './stack_slots.ts';

type ShadowKind = 'call' | 'regs';

interface ShadowFrame {
  /** Low 32 bits of where the return address lies. */
  readonly location: number;
  /** What lies there now, low 32 bits. */
  readonly address: number;
  /** What the call pushed; differs from `address` after a trampoline has redirected the return. */
  readonly pushed: number;
  readonly kind: ShadowKind;
}

const SLOT_SIZE = 1 << STACK_SLOT_SHIFT;
/** In a slot, the stack begins here; below it is guard. */
const STACK_AT = SLOT_SIZE - THREAD_SIZE;

// The second word of a noted frame.
const KIND_CALL = 1;
const KIND_REGS = 2;
const KIND_BITS = 3;
/** The lowest bits of the location, which a stack pointer that is not aligned has. */
const LOW_SHIFT = 2;

export class ShadowStacks {
  private readonly arena: StackArena;
  private readonly noted: FrameWords;

  /** Offsets in struct pt_regs: of the interrupted address, and of what says user mode. */
  private readonly pcAt: number;
  private readonly modeAt: number;
  private readonly isUser: (low: number) => boolean;

  /** @param noted where an engine notes frames itself; without one, words of their own */
  constructor(arena: StackArena, ptRegs: PtRegsLayout, noted: FrameWords = wordsFor(arena)) {
    this.arena = arena;
    this.noted = noted;
    this.pcAt = ptRegsOffset(ptRegs, ptRegs.pc);
    this.modeAt = ptRegsOffset(ptRegs, ptRegs.mode.word);
    this.isUser = ptRegs.mode.isUser;
  }

  /** A call executed: `retLoc` is the stack pointer after it, `ret` what it pushed (low 32 bits). */
  call(retLoc: number, ret: number): void {
    this.push(retLoc, ret, KIND_CALL);
  }

  /**
   * The first frame of a new task, which no call made: `retLoc` is the ret_addr of its inactive frame.
   * Forgets what an earlier task left on that stack.
   */
  fork(retLoc: number, ret: number): void {
    this.release(slotOf(retLoc));
    this.push(retLoc, ret, KIND_CALL);
  }

  /** A return executed: frames below the new stack pointer are gone. */
  ret(spAfter: number): void {
    this.popBelow(slotOf(spAfter - 8), spAfter >>> 0);
  }

  /**
   * An interrupt or exception was taken in kernel or user mode: `regsLoc` is where its struct pt_regs begins,
   * though only hardware's part of it may be written yet.
   */
  interrupt(regsLoc: number): void {
    const location = regsLoc + this.pcAt;
    this.push(location, this.wordAt(location), KIND_REGS);
  }

  /**
   * The breakpoint's handler carried a CPU over an instruction. Its registers now begin at `regsLoc`, below the frame that
   * hardware pushed; a call it stood for left its return address at `retLoc`, in the room between.
   */
  emulated(regsLoc: number, retLoc?: number): void {
    const location = (regsLoc + this.pcAt) >>> 0;
    const { words } = this.noted;
    const at = this.innermostRegs(slotOf(location));
    if (at < 0 || this.locationAt(at) < location) return;
    const interrupted = words[at];
    words[at] = words[at + 1] = 0;
    this.note(location, interrupted, KIND_REGS);
    if (retLoc !== undefined) this.note(retLoc, this.wordAt(retLoc), KIND_CALL);
  }

  /** A return from an interrupt was executed: `spAfter` is the stack pointer after it, on the stack that was interrupted. */
  interruptReturned(spAfter: number): void {
    this.popBelow(slotOf(spAfter - 8), spAfter >>> 0);
  }

  /**
   * The stack pointer moved from one stack to another (or was set by other than calls and returns): frames below
   * it on the new stack are gone, those of the old one wait.
   */
  switchStack(sp: number): void {
    this.popBelow(slotOf(sp), sp >>> 0);
  }

  /** The task is gone; its slot may be used again. */
  release(slot: number): void {
    if (!this.has(slot)) return;
    this.noted.words.fill(0, this.lowest(slot), indexOfEnd(slot));
    this.noted.depths[slot] = 0;
  }

  /** Live frames of a stack, innermost first. `sp` leaves out what a stack pointer above it has freed. */
  frames(slot: number, sp = 0): ShadowFrame[] {
    if (!this.has(slot)) return [];
    const { words } = this.noted;
    const live: ShadowFrame[] = [];
    for (let at = this.lowest(slot); at < indexOfEnd(slot); at += 2) {
      const kind = words[at + 1] & KIND_BITS;
      if (kind === 0) continue;
      const location = this.locationAt(at);
      if (location < sp) continue;
      if (kind === KIND_REGS && this.isUserRegs(location)) continue;
      const address = this.wordAt(location);
      live.push({ location, address, pushed: words[at], kind: kind === KIND_REGS ? 'regs' : 'call' });
    }
    return live;
  }

  /**
   * Live return addresses from innermost to outermost, interrupted addresses in their places; `ip`, when given,
   * comes first: where the task executes or was interrupted just now.
   */
  truth(slot: number, ip?: number): Uint32Array {
    const addresses = this.frames(slot).map((frame) => frame.address);
    if (ip !== undefined) addresses.unshift(ip);
    return Uint32Array.from(addresses);
  }

  /**
   * Which functions are live, by `functionOf` of each live address. The address before a return address is asked
   * for: a call that never returns can be the last instruction of its function.
   */
  liveFunctions<T>(slot: number, ip: number | undefined, functionOf: (ip: number) => T | undefined): Set<T> {
    const live = new Set<T>();
    const note = (address: number): void => {
      const found = functionOf(address >>> 0);
      if (found !== undefined) live.add(found);
    };
    if (ip !== undefined) note(ip);
    for (const { address, pushed, kind } of this.frames(slot)) {
      const wasRedirected = address !== pushed;
      note(kind === 'call' && !wasRedirected ? address - 1 : address);
    }
    return live;
  }

  private push(location: number, ret: number, kind: number): void {
    // Whatever lay at or below this slot was freed without a return (a stack pointer set anew).
    this.popBelow(slotOf(location), (location >>> 0) + 8);
    this.note(location, ret, kind);
  }

  private note(location: number, ret: number, kind: number): void {
    const slot = slotOf(location);
    const offset = (location & (SLOT_SIZE - 1)) - STACK_AT;
    if (!this.has(slot) || offset < 0) return;
    const { words, depths } = this.noted;
    const at = (slot * THREAD_SIZE + (offset & ~7)) >>> 2;
    words[at] = ret;
    words[at + 1] = kind | ((location & 7) << LOW_SHIFT);
    depths[slot] = Math.max(depths[slot], THREAD_SIZE - offset);
  }

  private popBelow(slot: number, sp: number): void {
    if (!this.has(slot)) return;
    const { words, depths } = this.noted;
    const end = indexOfEnd(slot);
    let at = this.lowest(slot);
    while (at < end && (words[at + 1] === 0 || this.locationAt(at) < sp)) {
      words[at] = words[at + 1] = 0;
      at += 2;
    }
    depths[slot] = (end - at) << 2;
  }

  private has(slot: number): boolean {
    return slot >= 0 && slot < this.noted.depths.length;
  }

  /** Index of the lowest word of a stack that may have a frame. */
  private lowest(slot: number): number {
    return indexOfEnd(slot) - 2 * ((this.noted.depths[slot] + 7) >>> 3);
  }

  /** The location of the frame that is noted at an index. */
  private locationAt(at: number): number {
    const low = (this.noted.words[at + 1] >>> LOW_SHIFT) & 7;
    const stack = at << 2;
    const slot = Math.floor(stack / THREAD_SIZE);
    return slot * SLOT_SIZE + STACK_AT + (stack % THREAD_SIZE) + low;
  }

  /** Index of the innermost registers of an interrupt; -1 when there are none. */
  private innermostRegs(slot: number): number {
    if (!this.has(slot)) return -1;
    for (let at = this.lowest(slot); at < indexOfEnd(slot); at += 2)
      if ((this.noted.words[at + 1] & KIND_BITS) === KIND_REGS) return at;
    return -1;
  }

  private isUserRegs(ipLocation: number): boolean {
    return this.isUser(this.wordAt(ipLocation - this.pcAt + this.modeAt));
  }

  private wordAt(location: number): number {
    const offset = (location & (SLOT_SIZE - 1)) - STACK_AT;
    if (offset < 0) return 0;
    return this.arena.words[(slotOf(location) * THREAD_SIZE + offset) >>> 2];
  }
}

/**
 * The first difference between a trace that was called reliable and the truth, in words; undefined when they are
 * the same.
 */
export function compareReliable(
  entries: Uint32Array,
  count: number,
  truth: Uint32Array,
  symbolize: (addr: bigint) => string = (addr) => `0x${addr.toString(16)}`,
): string | undefined {
  const name = (lo: number): string => symbolize(0xffffffff00000000n | BigInt(lo));
  const common = Math.min(count, truth.length);
  for (let i = 0; i < common; i++) {
    if (entries[i] === truth[i]) continue;
    if (truth.indexOf(entries[i], i) > i) return `frame ${i}: trace misses ${name(truth[i])}`;
    return `frame ${i}: trace has ${name(entries[i])}, live is ${name(truth[i])}`;
  }
  if (count < truth.length) return `frame ${count}: trace ends, live is ${name(truth[count])}`;
  if (count > truth.length)
    return `frame ${truth.length}: trace has ${name(entries[truth.length])}, no frame is live`;
  return undefined;
}

function wordsFor({ words }: StackArena): FrameWords {
  return {
    words: new Uint32Array(words.length),
    depths: new Uint32Array(Math.ceil((4 * words.length) / THREAD_SIZE)),
  };
}

/** Index behind the last word of a stack. */
const indexOfEnd = (slot: number): number => ((slot + 1) * THREAD_SIZE) >>> 2;
const slotOf = (address: number): number => (address >>> 0) >>> STACK_SLOT_SHIFT;
