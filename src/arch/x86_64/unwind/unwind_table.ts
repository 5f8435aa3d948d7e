// The unwinder that goes by rows of a frame table, SFrame's or DWARF's: what the kernel's proposals for SFrame have as
// unwind_next_frame_sframe(), and what the kernel had of DWARF until 2006. Registers are numbered as DWARF does.
//
// Invariant: each step goes up the stack or ends the walk; a value that is not known is never guessed, and where there
// is no row the walk ends in error. A return address that a row calls undefined is the end of the stack.

import { type ExpressionInput, evaluate } from '../../../frames/expression.ts';
import type { FrameRow, Rule } from '../../../frames/rows.ts';
import { STACK_HI, THREAD_SIZE } from '../../../unwind/stack_slots.ts';
import * as state from '../../../unwind/unwind_state.ts';
import { FIRST_PORT_FAILURE, GIVEN, NONE, UnwindState } from '../../../unwind/unwind_state.ts';
import type { FrameRows } from '../../frame_tables.ts';
import { ptRegsOffset } from '../../pt_regs.ts';
import type { PtRegs, StackArena, TextTable, UnwindTask } from '../../unwinders.ts';
import { INACTIVE_FRAME_BP, INACTIVE_FRAME_RET_ADDR, INACTIVE_FRAME_SIZE } from '../inactive_frame.ts';
import { PT_REGS } from '../pt_regs.ts';
import {
  DWARF_CALLEE_SAVED,
  DWARF_PT_REGS,
  DWARF_RBP,
  DWARF_RETURN_ADDRESS,
  DWARF_RSP,
} from './dwarf_registers.ts';
import * as failures from './failures.ts';

const COUNT = DWARF_PT_REGS.length;
const PT_OFFSETS = DWARF_PT_REGS.map((name) => ptRegsOffset(PT_REGS, name));
/** What a function gives back as it was, where its row says nothing of it. */
const KEPT = DWARF_PT_REGS.map((_, i) => DWARF_CALLEE_SAVED.includes(i));
const NEEDED = [DWARF_RSP, DWARF_RBP];
/** More frames than the smallest call frames that fit. */
const MAX_FRAMES = THREAD_SIZE / 8;

/** Values of registers in halves, and which are known. */
class Registers {
  readonly lo = new Int32Array(COUNT);
  readonly hi = new Int32Array(COUNT);
  readonly known = new Uint8Array(COUNT);

  set(register: number, lo: number, hi: number): void {
    this.lo[register] = lo;
    this.hi[register] = hi;
    this.known[register] = 1;
  }
}

export class TableUnwinder extends UnwindState {
  /** Whether `ip` is where execution stopped, not a return address. */
  signal = false;
  /** Of the frame that the walk stands at. */
  sp = 0;
  private readonly rows: FrameRows;
  private now = new Registers();
  private spare = new Registers();
  private frames = 0;
  /** Of the row that is gone by. */
  private cfaLo = 0;
  private cfaHi = 0;
  private cfaKnown = false;
  /** Why the last value is not known. */
  private unknown = 0;
  private readonly input: ExpressionInput;

  constructor(arena: StackArena, lookup: TextTable, rows: FrameRows) {
    super(arena, lookup, PT_REGS);
    this.rows = rows;
    this.input = {
      register: (number) =>
        this.now.known[number] === 1 ? whole(this.now.lo[number], this.now.hi[number]) : undefined,
      load: (address, size) => this.loaded(address, size),
    };
  }

  startInactive(task: UnwindTask): void {
    this.restart(task);
    if (task.onCpu !== 0) {
      this.stop(state.FAIL_ON_CPU);
      return;
    }
    const frame = this.offsetOf(task.spLo);
    this.setSp(frame + INACTIVE_FRAME_SIZE);
    if (this.deref(frame + INACTIVE_FRAME_BP)) this.now.set(DWARF_RBP, this.valLo, this.valHi);
    if (this.deref(frame + INACTIVE_FRAME_RET_ADDR)) this.setIp(this.valLo, this.valHi);
    this.checkStart();
  }

  startRegs(task: UnwindTask, regs: PtRegs): void {
    this.startCurrent(task, regs);
    this.signal = true;
    if (this.regsUserMode(GIVEN)) this.finish();
    else this.next();
  }

  startCurrent(task: UnwindTask, regs: PtRegs): void {
    this.restart(task);
    this.given = regs;
    for (let i = 0; i < COUNT; i++) {
      this.readReg(GIVEN, PT_OFFSETS[i]);
      this.now.set(i, this.valLo, this.valHi);
    }
    this.setIp(this.now.lo[DWARF_RETURN_ADDRESS], this.now.hi[DWARF_RETURN_ADDRESS]);
    this.sp = this.relative(this.now.hi[DWARF_RSP], this.now.lo[DWARF_RSP]);
    this.checkStart();
  }

  override failureText(): string {
    return failures.FAILURES[this.failure - FIRST_PORT_FAILURE] ?? super.failureText();
  }

  partial(): boolean {
    return false;
  }

  /** Rows may have it from anywhere. */
  returnAddressAt(): number {
    return NONE;
  }

  /** Whether a register is known to have had that value in the frame that the walk stands at. */
  holds(register: number, lo: number, hi: number): boolean {
    const { now } = this;
    return now.known[register] === 1 && now.lo[register] === (lo | 0) && now.hi[register] === (hi | 0);
  }

  next(): boolean {
    if (this.done) return false;
    if (++this.frames > MAX_FRAMES) return this.stop(state.FAIL_ENDLESS);
    const row = this.rows.rowAt(this.signal ? this.ip : (this.ip - 1) | 0);
    if (row === undefined) return this.stop(failures.FAIL_NO_ROW);
    if (row.rules.get(row.returnAddress)?.kind === 'undefined') return this.finish();
    const failure = this.unwind(row);
    return failure === 0 ? true : this.stop(failure);
  }

  /** The caller's registers, and where it stands; what went wrong, or 0. */
  private unwind(row: FrameRow): number {
    this.cfaKnown = false;
    if (!this.findValue(row.cfa)) return this.unknown;
    this.cfaKnown = true;
    const cfaLo = this.valLo;
    const cfaHi = this.valHi;
    this.cfaLo = cfaLo;
    this.cfaHi = cfaHi;
    const { spare: callers, now } = this;
    for (let i = 0; i < COUNT; i++) {
      callers.lo[i] = now.lo[i];
      callers.hi[i] = now.hi[i];
      callers.known[i] = row.signal || KEPT[i] ? now.known[i] : 0;
    }
    callers.set(DWARF_RSP, cfaLo, cfaHi);
    for (const [register, rule] of row.rules) {
      if (rule.kind === 'undefined') callers.known[register] = 0;
      else if (rule.kind === 'same') callers.known[register] = now.known[register];
      else if (this.findValue(rule)) callers.set(register, this.valLo, this.valHi);
      // Without what frames are found by there is no walk; the others it does without.
      else if (NEEDED.includes(register) || register === row.returnAddress) return this.unknown;
      else callers.known[register] = 0;
    }
    if (callers.known[row.returnAddress] === 0) return failures.FAIL_NO_RETURN_ADDRESS;
    const sp = this.relative(callers.hi[DWARF_RSP], callers.lo[DWARF_RSP]);
    if (sp <= this.sp && this.onStack(sp, 8)) return failures.FAIL_DIRECTION;
    this.now = callers;
    this.spare = now;
    this.sp = sp;
    this.setIp(callers.lo[row.returnAddress], callers.hi[row.returnAddress]);
    this.signal = row.signal;
    return 0;
  }

  /** Into valLo and valHi; false, with the reason in `unknown`, where it is not known. */
  private findValue(rule: Exclude<Rule, { kind: 'same' | 'undefined' }>): boolean {
    if (rule.kind === 'expression') {
      const initial = this.cfaKnown ? whole(this.cfaLo, this.cfaHi) : undefined;
      const value = evaluate(rule.expression, this.input, initial);
      if (typeof value === 'string') return this.isUnknown(failures.FAIL_EXPRESSION);
      this.takeValue(value);
    } else if (rule.kind === 'cfa') this.addTo(this.cfaLo, this.cfaHi, rule.offset);
    else {
      const { now } = this;
      const { register } = rule;
      if (now.known[register] !== 1) return this.isUnknown(failures.FAIL_REGISTER);
      this.addTo(now.lo[register], now.hi[register], rule.offset);
    }
    if (!rule.deref) return true;
    return this.deref(this.valueOffset()) || this.isUnknown(state.FAIL_DEREF);
  }

  private isUnknown(failure: number): false {
    this.unknown = failure;
    return false;
  }

  private addTo(lo: number, hi: number, offset: number): void {
    const sum = (lo >>> 0) + offset;
    this.valLo = sum | 0;
    this.valHi = (hi + Math.floor(sum / 0x100000000)) | 0;
  }

  private takeValue(value: bigint): void {
    this.valLo = Number(BigInt.asIntN(32, value));
    this.valHi = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** So many bytes of the stack. */
  private loaded(address: bigint, size: number): bigint | undefined {
    this.takeValue(address);
    const offset = this.valueOffset();
    if (!this.onStack(offset, size)) return undefined;
    // Whole words: the stack ends with one.
    const whole8 = Math.min(offset, THREAD_SIZE - 8);
    if (!this.deref(whole8)) return undefined;
    return BigInt.asUintN(8 * size, whole(this.valLo, this.valHi) >> BigInt(8 * (offset - whole8)));
  }

  private setSp(offset: number): void {
    this.sp = offset;
    this.now.set(DWARF_RSP, this.addressOf(offset) | 0, STACK_HI | 0);
  }

  private restart(task: UnwindTask): void {
    this.reset(task);
    this.signal = false;
    this.sp = state.BELOW;
    this.now.known.fill(0);
    this.frames = 0;
  }

  private checkStart(): void {
    if (!this.onStack(this.sp, 1)) this.stop(state.FAIL_OFF_STACK);
  }

  private stop(failure: number): false {
    this.fail(failure);
    return this.finish();
  }
}

const whole = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
