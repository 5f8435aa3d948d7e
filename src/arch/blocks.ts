// How kernel code is executed while every call and return is watched. An engine that can notes them itself (FrameNotes);
// with another it is block by block, a block ending with the first transfer of control (KernelBlocks), which is also
// where a port looks at text before its engine meets it.

import type { CpuContext, Engine, Stop } from '../guest/engine.ts';
import type { GuestMemory, MapListener } from '../guest/memory.ts';

/** What the last instruction of a run did to the frames of the stack that it was on. */
export const NO_EFFECT = 0;
export const CALLED = 1;
export const RETURNED = 2;
/** Returned from an interrupt or exception: to what it interrupted, which may be user mode. */
export const INTERRUPT_RETURNED = 3;

/** Told of text that is changed or unmapped. */
export interface KernelBlocks extends MapListener {
  /** One of the constants above, for the run that was last; NO_EFFECT when it ended before its block did. */
  readonly effect: number;
  /** Executes from the PC to the end of a block, or the part of it that fits; `max` is 1 or more. */
  run(context: CpuContext, max: number): Stop;
  /**
   * After a run that CALLED: the stack slot that holds the return address while the callee is live, as the low half of
   * its address. Where a call leaves the address in a register, it is the slot that the callee's prologue saves it to.
   */
  returnSlot(context: CpuContext): number;
  /** After a run that CALLED: the low half of the return address. */
  returnAddress(context: CpuContext): number;
}

/**
 * Frames noted beside the task stacks: for each 8 bytes of a stack a pair of words, at the same index as the stack's own
 * (StackArena); and for each stack how deep it is noted.
 *
 * Invariant: what lies deeper than a stack's depth is 0.
 */
export interface FrameWords {
  /**
   * What a call pushed there, low 32 bits; and what it is: bits 0 and 1 are 0 for nothing, 1 for a return address, 2
   * for where an interrupt came; bits 2 to 4 the lowest bits of the location. What is above them is the engine's.
   */
  readonly words: Uint32Array;
  /** Bytes from a stack's end down to its lowest frame, or further. */
  readonly depths: Uint32Array;
}

/** Words of a note, signed: a call of an ftrace trampoline from an fentry site, or a trampoline's return. */
export const NOTED = {
  /** One of the constants below; else it is a return. */
  what: 0,
  /** The stack it was on: index of its slot; -1 when it was on none. */
  slot: 1,
  /** Low half of the return address that the call left, or of where the return led to. */
  address: 2,
  /** Instructions of the run before the block that ended so. */
  executed: 3,
  /** The address of the task that executed it, its halves, and its state then, in the words of TaskWords. */
  taskLo: 4,
  taskHi: 5,
  state: 6,
  /** Low half of where a call led to. */
  target: 7,
} as const;
export const NOTED_WORDS = 8;
/** A call that turned out to lead elsewhere: it says nothing. */
export const NOTED_OTHER = 0;
export const NOTED_CALL = 1;

/** Notes of a run, in their order: two for each call of a patched function, so they are words and not objects. */
export class TrampolineNotes {
  words = new Int32Array(NOTED_WORDS * 64);
  count = 0;

  /** For so many words in all. */
  makeRoom(size: number): void {
    if (size <= this.words.length) return;
    const grown = new Int32Array(2 * size);
    grown.set(this.words);
    this.words = grown;
  }
}

/** What is noted of the current task: where its pointer lies from the per-CPU base, as a signed number of 32 bits, and its state in what it points to. */
export interface TaskWords {
  readonly current: number;
  readonly state: number;
}

/** An engine that notes frames itself, while it executes for as long as it likes. */
export interface FrameNotes {
  readonly frames: FrameWords;
  /**
   * Makes the engine note from now on; nothing of the kernel's was executed before.
   * @param isTrampoline whether text of an ftrace trampoline is at an address, by its low half
   */
  begin(task: TaskWords, isTrampoline: (lo: number) => boolean): void;
  /** As Engine.run(); the frames that kernel code makes and leaves are noted, those of user mode are not. */
  run(context: CpuContext, max: number): Stop;
  /** The same to the end of a block at most. */
  runBlock(context: CpuContext, max: number): Stop;
  /** Trampolines that the last run entered and left, until the next run. */
  readonly trampolines: Readonly<TrampolineNotes>;
}

export interface Execution {
  /** The engine's own notes; undefined for one that is to be watched block by block. */
  notes?(engine: Engine): FrameNotes | undefined;
  blocks(engine: Engine, mem: GuestMemory): KernelBlocks;
  /**
   * For machines that do not watch: looks at text when it becomes executable; what its engine may not meet is found then.
   */
  sweep(engine: Engine, mem: GuestMemory): MapListener;
}
