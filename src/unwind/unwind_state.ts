// A walk over one task stack: where it stands, and how it reads.
// Mirrors struct unwind_state (arch/x86/include/asm/unwind.h), on_stack() and get_stack_info().
//
// Invariant: no read leaves the task's own 16 KiB, whatever the stack holds. Positions are byte offsets from
// the stack's lowest address; an address elsewhere is kept as BELOW or ABOVE, which no frame offset can bring
// back. Nothing is allocated for a frame.

import { type PtRegsLayout, ptRegsOffset, ptRegsSize } from '../arch/pt_regs.ts';
import type { PtRegs, StackArena, TextTable, Unwinder, UnwindTask } from '../arch/unwinders.ts';
import { STACK_HI, stackBegin, THREAD_SIZE } from './stack_slots.ts';

export const BELOW = -0x20000000;
export const ABOVE = 0x20000000;
/** No position at all: a null pointer that is only ever tested for being one. */
export const NONE = 0x3fffffff;
/** The registers that the walk began with, which need not be on the stack. */
export const GIVEN = 0x3ffffffe;

/** Stands for every address that cannot be kernel text. Text addresses are kept as negative int32. */
export const IP_FOREIGN = 2;

/** Why a walk ended in error; what there is to say stands in FAILURE_TEXT. */
export const FAIL_NONE = 0;
export const FAIL_ON_CPU = 1;
export const FAIL_OFF_STACK = 2;
export const FAIL_DEREF = 3;
export const FAIL_NOT_TEXT = 4;
export const FAIL_KERNEL_REGS = 5;
export const FAIL_FULL = 6;
export const FAIL_ENDLESS = 7;
export const FAIL_UNSUPPORTED = 8;
/** From here on they are the port's own. */
export const FIRST_PORT_FAILURE = 32;

/** `%s` is the address the walk stood at. The kernel's words where it has words. */
export const FAILURE_TEXT: readonly string[] = [
  'no failure',
  'the task executes on another CPU',
  'the stack pointer is not on the task stack',
  'frame of %s is not on the task stack',
  'return address %s is not kernel text',
  'kernel mode registers on the stack: interrupted at %s',
  'stack trace has too many entries at %s',
  'stack walk does not end at %s',
  'no reliable stack trace on this architecture',
];

export abstract class UnwindState implements Unwinder {
  done = true;
  error = false;
  /** First thing that went wrong (FAIL_*). */
  failure = FAIL_NONE;
  /** Address the walk stood at when it failed. */
  failedLo = 0;
  failedHi = 0;
  /** Kernel text as int32; 0 for a null address; IP_FOREIGN for the rest. The raw address in ipLo, ipHi. */
  ip = 0;
  ipLo = 0;
  ipHi = 0;
  /** Offset of pt_regs on the stack, or GIVEN, or NONE. */
  regs = NONE;
  task: UnwindTask | null = null;

  readonly lookup: TextTable;
  protected words: Uint32Array;
  protected base = 0;
  protected begin = 0;
  protected given: PtRegs | null = null;
  protected valLo = 0;
  protected valHi = 0;
  private readonly arena: StackArena;
  private readonly regsSize: number;
  private readonly hardwareRegs: number;
  private readonly modeAt: number;
  private readonly isUser: (low: number) => boolean;

  constructor(arena: StackArena, lookup: TextTable, ptRegs: PtRegsLayout) {
    this.arena = arena;
    this.words = arena.words;
    this.lookup = lookup;
    this.regsSize = ptRegsSize(ptRegs);
    this.hardwareRegs = ptRegsOffset(ptRegs, ptRegs.hardware);
    this.modeAt = ptRegsOffset(ptRegs, ptRegs.mode.word);
    this.isUser = ptRegs.mode.isUser;
  }

  /** Start where a task that is switched out went to sleep. */
  abstract startInactive(task: UnwindTask): void;
  /** Start from registers, as from an exception: the first frame is the caller's. */
  abstract startRegs(task: UnwindTask, regs: PtRegs): void;
  /** Start in the function that `regs` stand in, as the kernel does for `current`. */
  abstract startCurrent(task: UnwindTask, regs: PtRegs): void;
  /** One frame outwards; false at the end or in error. */
  abstract next(): boolean;
  /** Whether `regs` hold only what hardware saved. */
  abstract partial(): boolean;
  /** Offset of the word the current return address was read from, or NONE. */
  abstract returnAddressAt(): number;

  /** The return address of the current frame (low 32 bits, unsigned), or 0 when it is not kernel text. */
  returnAddress(): number {
    if (this.done) return 0;
    return this.lookup.kernelTextAddress(this.ip) ? this.ip >>> 0 : 0;
  }

  /** unwind_get_entry_regs(): whether the current frame has registers. */
  hasRegs(): boolean {
    return !this.done && this.regs !== NONE;
  }

  userMode(): boolean {
    return this.regs !== NONE && this.regsUserMode(this.regs);
  }

  /** A register of a pt_regs at `regs`; 0n where that is not on the stack. */
  regsValue(regs: number, offset: number): bigint {
    if (!this.readReg(regs, offset)) return 0n;
    return (BigInt(this.valHi >>> 0) << 32n) | BigInt(this.valLo >>> 0);
  }

  /** The word at a stack offset as an address; undefined off the stack. */
  wordAt(offset: number): bigint | undefined {
    if (!this.deref(offset)) return undefined;
    return (BigInt(this.valHi >>> 0) << 32n) | BigInt(this.valLo >>> 0);
  }

  /** The word at a stack offset, kept as `ip` is. */
  textWordAt(offset: number): number {
    return this.deref(offset) ? textIp(this.valLo, this.valHi) : IP_FOREIGN;
  }

  /** Low 32 bits of the address of a stack offset. */
  addressOf(offset: number): number {
    return (this.begin + offset) >>> 0;
  }

  /** The offset of an address given by its low half, taken to be a stack address. */
  offsetOf(lo: number): number {
    return this.relative(STACK_HI | 0, lo | 0);
  }

  /** The offset of an address given in halves. */
  offsetOfAddress(lo: number, hi: number): number {
    return this.relative(hi, lo);
  }

  /** Whether the current frame's registers, or hardware's part of them if that is all there is, are on the stack. */
  regsReadable(regs: number): boolean {
    return regs !== GIVEN && this.regsOnStack(regs, this.partial());
  }

  protected reset(task: UnwindTask): void {
    this.words = this.arena.words;
    this.base = task.stackSlot * (THREAD_SIZE >>> 2);
    this.begin = stackBegin(task.stackSlot);
    this.task = task;
    this.given = null;
    this.done = false;
    this.error = false;
    this.failure = FAIL_NONE;
    this.regs = NONE;
    this.setIp(0, 0);
  }

  protected setIp(lo: number, hi: number): void {
    this.ipLo = lo;
    this.ipHi = hi;
    this.ip = textIp(lo, hi);
  }

  /** Notes the first failure; later ones follow from it. */
  fail(failure: number, ipLo = this.ipLo, ipHi = this.ipHi): void {
    this.error = true;
    if (this.failure !== FAIL_NONE) return;
    this.failure = failure;
    this.failedLo = ipLo;
    this.failedHi = ipHi;
  }

  /** What `failure` means; a port adds the texts of its own. */
  failureText(): string {
    return FAILURE_TEXT[this.failure];
  }

  protected onStack(offset: number, size: number): boolean {
    return offset >= 0 && offset <= THREAD_SIZE - size;
  }

  /** Reads the long at a stack offset into valLo and valHi. */
  protected deref(offset: number): boolean {
    if (offset < 0 || offset > THREAD_SIZE - 8) return false;
    const at = this.base + (offset >> 2);
    if ((offset & 3) !== 0) return this.derefUnaligned(at, (offset & 3) * 8);
    this.valLo = this.words[at] | 0;
    this.valHi = this.words[at + 1] | 0;
    return true;
  }

  /** The value last read, as an offset on this stack. */
  protected valueOffset(): number {
    return this.relative(this.valHi, this.valLo);
  }

  protected relative(hi: number, lo: number): number {
    const distance = ((hi >>> 0) - STACK_HI) * 0x100000000 + (lo >>> 0) - this.begin;
    if (distance < -0x20000) return BELOW;
    return distance > 0x20000 ? ABOVE : distance | 0;
  }

  /** Reads a register of the pt_regs at `regs`, which may be GIVEN, into valLo and valHi. */
  protected readReg(regs: number, offset: number): boolean {
    if (regs !== GIVEN) return this.deref(regs + offset);
    const given = this.given;
    if (given === null) return false;
    this.valLo = given[offset >> 2] | 0;
    this.valHi = given[(offset >> 2) + 1] | 0;
    return true;
  }

  protected regsUserMode(regs: number): boolean {
    return this.readReg(regs, this.modeAt) && this.isUser(this.valLo);
  }

  protected regsOnStack(regs: number, partial: boolean): boolean {
    const from = partial ? this.hardwareRegs : 0;
    return this.onStack(regs + from, this.regsSize - from);
  }

  protected finish(): false {
    this.done = true;
    return false;
  }

  private derefUnaligned(at: number, shift: number): true {
    const low = this.words[at];
    const middle = this.words[at + 1];
    const high = this.words[at + 2];
    this.valLo = (low >>> shift) | (middle << (32 - shift));
    this.valHi = (middle >>> shift) | (high << (32 - shift));
    return true;
  }
}

function textIp(lo: number, hi: number): number {
  if (hi === -1 && lo < 0) return lo;
  return (lo | hi) === 0 ? 0 : IP_FOREIGN;
}
