// The unwinder of a kernel without one: every word of the stack that looks like a return address.
// Mirrors arch/x86/kernel/unwind_guess.c.
//
// Invariant: it vouches for nothing, so no position of it is ever a return address's.

import { type PtRegsLayout, ptRegsOffset } from '../arch/pt_regs.ts';
import type { PtRegs, StackArena, TextTable, UnwindTask } from '../arch/unwinders.ts';
import { THREAD_SIZE } from './stack_slots.ts';
import { BELOW, GIVEN, NONE, UnwindState } from './unwind_state.ts';

export class GuessUnwinder extends UnwindState {
  private sp = BELOW;
  private readonly spAt: number;

  constructor(arena: StackArena, lookup: TextTable, ptRegs: PtRegsLayout) {
    super(arena, lookup, ptRegs);
    this.spAt = ptRegsOffset(ptRegs, ptRegs.sp);
  }

  startInactive(task: UnwindTask): void {
    this.reset(task);
    this.startAt(this.offsetOf(task.spLo));
  }

  startRegs(task: UnwindTask, regs: PtRegs): void {
    this.reset(task);
    this.given = regs;
    this.readReg(GIVEN, this.spAt);
    this.startAt(this.valueOffset());
  }

  startCurrent(task: UnwindTask, regs: PtRegs): void {
    this.startRegs(task, regs);
  }

  partial(): boolean {
    return false;
  }

  returnAddressAt(): number {
    return NONE;
  }

  next(): boolean {
    if (this.done) return false;
    for (this.sp += 8; this.sp < THREAD_SIZE; this.sp += 8) {
      if (this.takeText()) return true;
    }
    return this.finish();
  }

  private startAt(firstFrame: number): void {
    this.sp = (firstFrame + 7) & ~7;
    if (!this.onStack(this.sp, 8)) this.finish();
    else if (!this.takeText()) this.next();
  }

  private takeText(): boolean {
    if (!this.deref(this.sp)) return false;
    this.setIp(this.valLo, this.valHi);
    return this.lookup.kernelTextAddress(this.ip);
  }
}
