// The frame pointer unwinder: follows the chain of saved rbp.
// Mirrors arch/x86/kernel/unwind_frame.c.
//
// Invariant: a frame lies above the end of the one before it, or the walk ends in error.

import { THREAD_SIZE } from '../../../unwind/stack_slots.ts';
import { BELOW, FIRST_PORT_FAILURE, GIVEN, NONE, UnwindState } from '../../../unwind/unwind_state.ts';
import type { PtRegs, StackArena, TextTable, UnwindTask } from '../../unwinders.ts';
import { INACTIVE_FRAME_BP } from '../inactive_frame.ts';
import { PT_BP, PT_IP, PT_REGS, PT_REGS_SIZE, PT_SP } from '../pt_regs.ts';
import { FAIL_BAD_BP, FAIL_BAD_BP_REGS, FAILURES } from './failures.ts';

const FRAME_HEADER_SIZE = 16;
/** task_pt_regs(): the registers of the system call, at the top of every task's stack. */
const TASK_PT_REGS = THREAD_SIZE - PT_REGS_SIZE;
const LAST_FRAME = TASK_PT_REGS - FRAME_HEADER_SIZE;
/** GCC repeats the return address before the frame pointer when it realigns the stack. */
const LAST_ALIGNED_FRAME = LAST_FRAME - 8;
/** bp, parent's return address, bp, function's return address, parent's return address, pt_regs. */
const LAST_FTRACE_FRAME = LAST_FRAME - 3 * 8;

export class FrameUnwinder extends UnwindState {
  bp = BELOW;
  /** The real bp when the newest frame is incomplete: a call of a null pointer pushed no bp. */
  private nextBp = NONE;
  private started = false;

  startInactive(task: UnwindTask): void {
    this.restart(task);
    const sp = this.offsetOf(task.spLo);
    this.startAt(sp + INACTIVE_FRAME_BP, sp);
  }

  startRegs(task: UnwindTask, regs: PtRegs): void {
    this.restart(task);
    this.given = regs;
    if (this.regsUserMode(GIVEN)) {
      this.finish();
      return;
    }
    this.startFromGiven(true);
  }

  startCurrent(task: UnwindTask, regs: PtRegs): void {
    this.restart(task);
    this.given = regs;
    this.startFromGiven(false);
  }

  constructor(arena: StackArena, lookup: TextTable) {
    super(arena, lookup, PT_REGS);
  }

  override failureText(): string {
    return FAILURES[this.failure - FIRST_PORT_FAILURE] ?? super.failureText();
  }

  partial(): boolean {
    return false;
  }

  returnAddressAt(): number {
    if (this.done) return NONE;
    return this.regs !== NONE ? this.regs + PT_IP : this.bp + 8;
  }

  next(): boolean {
    if (this.done) return false;
    if (this.regs !== NONE && this.regsUserMode(this.regs)) return this.finish();
    if (this.isLastTaskFrame()) {
      // The registers of a kernel thread are a blank that copy_thread() left there.
      if (!this.regsUserMode(TASK_PT_REGS)) return this.finish();
      this.regs = TASK_PT_REGS;
      this.bp = BELOW;
      this.setIp(0, 0);
      return true;
    }
    let nextBp: number;
    if (this.nextBp !== NONE) {
      nextBp = this.nextBp;
      this.nextBp = NONE;
    } else {
      this.deref(this.regs !== NONE ? this.regs + PT_BP : this.bp);
      nextBp = this.valueOffset();
    }
    const interrupted = this.regs !== NONE;
    if (this.updateStackState(nextBp)) return true;
    this.fail(interrupted ? FAIL_BAD_BP_REGS : FAIL_BAD_BP);
    return this.finish();
  }

  private restart(task: UnwindTask): void {
    this.reset(task);
    this.bp = BELOW;
    this.nextBp = NONE;
    this.started = false;
  }

  private startFromGiven(exception: boolean): void {
    this.readReg(GIVEN, PT_SP);
    const sp = this.valueOffset();
    this.readReg(GIVEN, PT_BP);
    let bp = this.valueOffset();
    this.readReg(GIVEN, PT_IP);
    if (exception && (this.valLo | this.valHi) === 0) {
      // On top of the stack is the return address; the word below is where bp would have gone.
      this.nextBp = bp;
      bp = sp - 8;
    }
    this.startAt(bp, sp);
  }

  private startAt(bp: number, firstFrame: number): void {
    if (!this.onStack(bp, 1)) {
      this.finish();
      return;
    }
    this.updateStackState(bp);
    while (!this.done && (!this.onStack(firstFrame, 8) || (this.nextBp === NONE && this.bp < firstFrame))) {
      this.next();
    }
  }

  /** An odd bp is a pointer to pt_regs with the lowest bit set (ENCODE_FRAME_POINTER). */
  private updateStackState(nextBp: number): boolean {
    const prevFrameEnd = this.regs !== NONE ? this.regs + PT_REGS_SIZE : this.bp + FRAME_HEADER_SIZE;
    const encoded = (nextBp & 1) !== 0;
    const frame = encoded ? nextBp & ~1 : nextBp;
    if (!this.onStack(frame, encoded ? PT_REGS_SIZE : FRAME_HEADER_SIZE)) {
      this.finish();
      return false;
    }
    if (this.started && frame < prevFrameEnd) return false;
    this.regs = encoded ? frame : NONE;
    this.bp = encoded ? BELOW : frame;
    if (encoded && this.regsUserMode(frame)) {
      this.setIp(0, 0);
    } else {
      this.deref(encoded ? frame + PT_IP : frame + 8);
      this.setIp(this.valLo, this.valHi);
    }
    this.started = true;
    return true;
  }

  private isLastTaskFrame(): boolean {
    if (this.bp === LAST_FRAME) return true;
    if (this.bp === LAST_ALIGNED_FRAME) return this.sameWords(LAST_FRAME, LAST_FRAME + 8);
    if (this.bp !== LAST_FTRACE_FRAME) return false;
    return this.sameWords(this.bp, this.bp + 16) && this.sameWords(this.bp + 8, this.bp + 32);
  }

  private sameWords(a: number, b: number): boolean {
    this.deref(a);
    const lo = this.valLo;
    const hi = this.valHi;
    this.deref(b);
    return lo === this.valLo && hi === this.valHi;
  }
}
