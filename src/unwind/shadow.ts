// Ground truth: where on each task stack a return address lies, noted as calls and returns execute.
// Mirrors nothing of the kernel's; it is what the unwinders are judged by.
//
// Invariant: a frame is live exactly while the stack pointer is at or below its slot. The address itself is read
// from the stack when asked for, because a trampoline or a thunk may have replaced it since the call.

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

/** The frames of one task, outermost first. */
interface TaskFrames {
  readonly locations: number[];
  readonly pushed: number[];
  readonly kinds: ShadowKind[];
}

export class ShadowStacks {
  private readonly arena: StackArena;
  private readonly tasks = new Map<number, TaskFrames>();

  /** Offsets in struct pt_regs: of the interrupted address, and of what says user mode. */
  private readonly pcAt: number;
  private readonly modeAt: number;
  private readonly isUser: (low: number) => boolean;

  constructor(arena: StackArena, ptRegs: PtRegsLayout) {
    this.arena = arena;
    this.pcAt = ptRegsOffset(ptRegs, ptRegs.pc);
    this.modeAt = ptRegsOffset(ptRegs, ptRegs.mode.word);
    this.isUser = ptRegs.mode.isUser;
  }

  /** A call executed: `retLoc` is the stack pointer after it, `ret` what it pushed (low 32 bits). */
  call(retLoc: number, ret: number): void {
    this.push(retLoc, ret, 'call');
  }

  /**
   * The first frame of a new task, which no call made: `retLoc` is the ret_addr of its inactive frame.
   * Forgets what an earlier task left on that stack.
   */
  fork(retLoc: number, ret: number): void {
    this.release(slotOf(retLoc));
    this.push(retLoc, ret, 'call');
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
    this.push(location, this.wordAt(location), 'regs');
  }

  /**
   * The breakpoint's handler carried a CPU over an instruction. Its registers now begin at `regsLoc`, below the frame that
   * hardware pushed; a call it stood for left its return address at `retLoc`, in the room between.
   */
  emulated(regsLoc: number, retLoc?: number): void {
    const location = regsLoc + this.pcAt;
    const task = this.tasks.get(slotOf(location));
    const at = task?.kinds.lastIndexOf('regs') ?? -1;
    if (task === undefined || at < 0 || task.locations[at] < location) return;
    task.locations[at] = location >>> 0;
    if (retLoc === undefined) return;
    task.locations.splice(at, 0, retLoc >>> 0);
    task.pushed.splice(at, 0, this.wordAt(retLoc));
    task.kinds.splice(at, 0, 'call');
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
    this.tasks.delete(slot);
  }

  /** Live frames of a stack, innermost first. `sp` leaves out what a stack pointer above it has freed. */
  frames(slot: number, sp = 0): ShadowFrame[] {
    const task = this.tasks.get(slot);
    if (task === undefined) return [];
    const live: ShadowFrame[] = [];
    for (let i = task.locations.length - 1; i >= 0; i--) {
      const location = task.locations[i];
      if (location < sp) continue;
      const kind = task.kinds[i];
      if (kind === 'regs' && this.isUserRegs(location)) continue;
      live.push({ location, address: this.wordAt(location), pushed: task.pushed[i], kind });
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

  private push(location: number, ret: number, kind: ShadowKind): void {
    const slot = slotOf(location);
    let task = this.tasks.get(slot);
    if (task === undefined) {
      task = { locations: [], pushed: [], kinds: [] };
      this.tasks.set(slot, task);
    }
    // Whatever lay at or below this slot was freed without a return (a stack pointer set anew).
    this.popBelow(slot, (location >>> 0) + 8);
    task.locations.push(location >>> 0);
    task.pushed.push(ret >>> 0);
    task.kinds.push(kind);
  }

  private popBelow(slot: number, sp: number): void {
    const task = this.tasks.get(slot);
    if (task === undefined) return;
    const { locations, pushed, kinds } = task;
    let live = locations.length;
    while (live > 0 && locations[live - 1] < sp) live--;
    if (live === locations.length) return;
    locations.length = live;
    pushed.length = live;
    kinds.length = live;
  }

  private isUserRegs(ipLocation: number): boolean {
    return this.isUser(this.wordAt(ipLocation - this.pcAt + this.modeAt));
  }

  private wordAt(location: number): number {
    const offset = (location & 0x7fff) - 0x4000;
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

const slotOf = (address: number): number => (address >>> 0) >>> STACK_SLOT_SHIFT;
