// The ORC unwinder: from a frame to its caller's by a table made from the code.
// Mirrors unwind_next_frame() and __unwind_start() of arch/x86/kernel/unwind_orc.c.
//
// Invariant: each step goes up the stack or ends the walk; whatever the tables and the stack hold, it ends.

import {
  ORC_END,
  ORC_TYPE_CALL,
  ORC_TYPE_REGS,
  ORC_TYPE_REGS_PARTIAL,
  orcTableFromEntries,
} from '../../../elf/orc.ts';
import { THREAD_SIZE } from '../../../unwind/stack_slots.ts';
import * as state from '../../../unwind/unwind_state.ts';
import { FIRST_PORT_FAILURE, GIVEN, NONE, UnwindState } from '../../../unwind/unwind_state.ts';
import type { PtRegs, StackArena, TextTable, UnwindTask } from '../../unwinders.ts';
import { INACTIVE_FRAME_BP, INACTIVE_FRAME_RET_ADDR, INACTIVE_FRAME_SIZE } from '../inactive_frame.ts';
import { IRET_FRAME_OFFSET, PT_BP, PT_DI, PT_DX, PT_IP, PT_R10, PT_R13, PT_REGS, PT_SP } from '../pt_regs.ts';
import * as failures from './failures.ts';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_PREV_SP,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
  ORC_REG_UNDEFINED,
} from './orc_registers.ts';

/** An address of 0 is a call through a null pointer: the return address is on top of the stack. */
const NULL_ORC = orcTableFromEntries([
  {
    ip: 0,
    spOffset: 8,
    fpOffset: 0,
    spReg: ORC_REG_SP,
    fpReg: ORC_REG_UNDEFINED,
    type: ORC_TYPE_CALL,
    end: false,
  },
]);

/** The guess for text without ORC: that it keeps a frame pointer. */
const FP_ORC = orcTableFromEntries([
  {
    ip: 0,
    spOffset: 16,
    fpOffset: -16,
    spReg: ORC_REG_BP,
    fpReg: ORC_REG_PREV_SP,
    type: ORC_TYPE_CALL,
    end: false,
  },
]);

/** More frames than the smallest call frames that fit: registers that lead back down the stack do not count up. */
const MAX_FRAMES = THREAD_SIZE / 8;

export class OrcUnwinder extends UnwindState {
  /** Whether `ip` is where execution stopped, not a return address. */
  signal = false;
  sp = 0;
  bp = 0;
  private fullRegs = false;
  private prevRegs = NONE;
  private frames = 0;
  private readonly retFromFork: number;

  /** `retFromFork`: low half of the address at which a new task starts, the one that no call precedes. */
  constructor(arena: StackArena, lookup: TextTable, retFromFork: number) {
    super(arena, lookup, PT_REGS);
    this.retFromFork = retFromFork | 0;
  }

  startInactive(task: UnwindTask): void {
    this.restart(task);
    if (task.onCpu !== 0) {
      this.fail(state.FAIL_ON_CPU);
      this.finish();
      return;
    }
    const frame = this.offsetOf(task.spLo);
    this.sp = frame + INACTIVE_FRAME_SIZE;
    if (this.deref(frame + INACTIVE_FRAME_BP)) this.bp = this.valueOffset();
    if (this.deref(frame + INACTIVE_FRAME_RET_ADDR)) this.setIp(this.valLo, this.valHi);
    this.signal = this.ip === this.retFromFork;
    this.checkStart();
  }

  startRegs(task: UnwindTask, regs: PtRegs): void {
    this.restart(task);
    this.given = regs;
    if (this.regsUserMode(GIVEN)) {
      this.finish();
      return;
    }
    this.takeGiven();
    this.regs = GIVEN;
    this.fullRegs = true;
    this.signal = true;
    this.checkStart();
    this.next();
  }

  startCurrent(task: UnwindTask, regs: PtRegs): void {
    this.restart(task);
    this.given = regs;
    this.takeGiven();
    this.checkStart();
  }

  override failureText(): string {
    return failures.FAILURES[this.failure - FIRST_PORT_FAILURE] ?? super.failureText();
  }

  partial(): boolean {
    return !this.fullRegs;
  }

  returnAddressAt(): number {
    if (this.done) return NONE;
    if (this.regs === GIVEN) return NONE;
    return this.regs !== NONE ? this.regs + PT_IP : this.sp - 8;
  }

  next(): boolean {
    if (this.done) return false;
    if (this.regs !== NONE && this.regsUserMode(this.regs)) return this.finish();
    if (++this.frames > MAX_FRAMES) return this.stop(state.FAIL_ENDLESS);

    // A return address is after its call, where the stack may be laid out otherwise: ask for the call itself.
    const at = this.signal ? this.ip : (this.ip - 1) | 0;
    let index = this.lookup.find(at);
    let table = this.lookup.hit;
    if (index < 0) {
      if (at !== 0) this.fail(failures.FAIL_NO_ORC);
      index = 0;
      table = at === 0 ? NULL_ORC : FP_ORC;
    }
    const flags = table.flags[index];
    const spReg = flags & 0xf;
    const spOffset = table.spOffset[index];
    if (spReg === ORC_REG_UNDEFINED) {
      return (flags & ORC_END) !== 0 ? this.finish() : this.stop(failures.FAIL_UNDEFINED);
    }

    let sp: number;
    if (spReg === ORC_REG_SP) {
      sp = this.sp + spOffset;
    } else if (spReg === ORC_REG_BP) {
      sp = this.bp + spOffset;
    } else {
      sp = this.previousSp(spReg, spOffset);
      if (sp === NONE) return this.finish();
    }

    const prevSp = this.sp;
    const fromLo = this.ipLo;
    const fromHi = this.ipHi;
    let trouble = this.previousFrame((flags >>> 8) & 3, sp);
    if (trouble === 0) trouble = this.previousBp((flags >>> 4) & 0xf, sp, table.fpOffset[index]);
    if (trouble !== 0) return this.stopAt(trouble, fromLo, fromHi);
    if (this.sp <= prevSp && this.onStack(this.sp, 8))
      return this.stopAt(failures.FAIL_DIRECTION, fromLo, fromHi);
    return true;
  }

  /** The caller's stack pointer by the less common rules; NONE, with the failure noted, when it is not known. */
  private previousSp(spReg: number, spOffset: number): number {
    switch (spReg) {
      case ORC_REG_SP_INDIRECT:
        if (this.deref(this.sp)) return this.valueOffset() + spOffset;
        return this.unknownSp(state.FAIL_DEREF);
      case ORC_REG_BP_INDIRECT:
        if (this.deref(this.bp + spOffset)) return this.valueOffset();
        return this.unknownSp(state.FAIL_DEREF);
      case ORC_REG_R10:
        return this.spFromReg(PT_R10, failures.FAIL_NO_R10);
      case ORC_REG_R13:
        return this.spFromReg(PT_R13, failures.FAIL_NO_R13);
      case ORC_REG_DI:
        return this.spFromReg(PT_DI, failures.FAIL_NO_RDI);
      case ORC_REG_DX:
        return this.spFromReg(PT_DX, failures.FAIL_NO_DX);
      default:
        return this.unknownSp(failures.FAIL_SP_REG);
    }
  }

  private spFromReg(offset: number, failure: number): number {
    return this.getReg(offset) ? this.valueOffset() : this.unknownSp(failure);
  }

  private unknownSp(failure: number): number {
    this.fail(failure);
    return NONE;
  }

  /** Finds ip, sp and registers of the caller; returns what went wrong or 0. */
  private previousFrame(type: number, sp: number): number {
    if (type === ORC_TYPE_CALL) {
      if (!this.deref(sp - 8)) return state.FAIL_DEREF;
      this.setIp(this.valLo, this.valHi);
      this.sp = sp;
      this.regs = NONE;
      this.prevRegs = NONE;
      this.signal = false;
      return 0;
    }
    if (type === ORC_TYPE_REGS) {
      if (!this.regsOnStack(sp, false)) return failures.FAIL_REGS;
      this.takeIpAndSp(sp);
      this.regs = sp;
      this.prevRegs = NONE;
      this.fullRegs = true;
      return 0;
    }
    if (type === ORC_TYPE_REGS_PARTIAL) {
      const regs = sp - IRET_FRAME_OFFSET;
      if (!this.regsOnStack(regs, true)) return failures.FAIL_IRET_REGS;
      this.takeIpAndSp(regs);
      // An NMI can hit entry code whose own registers are complete one frame in.
      if (this.fullRegs) this.prevRegs = this.regs;
      this.regs = regs;
      this.fullRegs = false;
      return 0;
    }
    return failures.FAIL_TYPE;
  }

  private takeIpAndSp(regs: number): void {
    this.deref(regs + PT_IP);
    this.setIp(this.valLo, this.valHi);
    this.deref(regs + PT_SP);
    this.sp = this.valueOffset();
    this.signal = true;
  }

  private previousBp(bpReg: number, sp: number, bpOffset: number): number {
    if (bpReg === ORC_REG_UNDEFINED) {
      if (this.regs !== NONE && this.getReg(PT_BP)) this.bp = this.valueOffset();
      return 0;
    }
    if (bpReg === ORC_REG_PREV_SP) {
      if (!this.deref(sp + bpOffset)) return state.FAIL_DEREF;
    } else if (bpReg === ORC_REG_BP) {
      if (!this.deref(this.bp + bpOffset)) return state.FAIL_DEREF;
    } else {
      return failures.FAIL_BP_REG;
    }
    this.bp = this.valueOffset();
    return 0;
  }

  /** A register of the interrupted code: from this frame's registers, or the frame's before if only iret's are here. */
  private getReg(offset: number): boolean {
    if (this.regs === NONE) return false;
    if (this.fullRegs) return this.readReg(this.regs, offset);
    return this.prevRegs !== NONE && this.readReg(this.prevRegs, offset);
  }

  private restart(task: UnwindTask): void {
    this.reset(task);
    this.signal = false;
    this.sp = state.BELOW;
    this.bp = state.BELOW;
    this.fullRegs = false;
    this.prevRegs = NONE;
    this.frames = 0;
  }

  private takeGiven(): void {
    this.readReg(GIVEN, PT_IP);
    this.setIp(this.valLo, this.valHi);
    this.readReg(GIVEN, PT_SP);
    this.sp = this.valueOffset();
    this.readReg(GIVEN, PT_BP);
    this.bp = this.valueOffset();
  }

  /** A start in the guard page is an overflow: an error, and yet a trace of the stack above it is worth having. */
  private checkStart(): void {
    if (this.onStack(this.sp, 1)) return;
    this.fail(state.FAIL_OFF_STACK);
    const nextPage = (this.sp + 0xfff) & ~0xfff;
    if (!this.onStack(nextPage, 1)) this.finish();
  }

  private stop(failure: number): false {
    this.fail(failure);
    return this.finish();
  }

  private stopAt(failure: number, ipLo: number, ipHi: number): false {
    this.setIp(ipLo, ipHi);
    return this.stop(failure);
  }
}
