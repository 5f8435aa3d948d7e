// The unwinder that goes by rows of a frame table, on stacks as code leaves them.

import { describe, expect, it } from 'vitest';
import { INACTIVE_FRAME_SIZE } from '../../src/arch/x86_64/inactive_frame.ts';
import { PT_REGS, packPtRegs } from '../../src/arch/x86_64/pt_regs.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { readExpression } from '../../src/frames/expression.ts';
import {
  atCfa,
  byRegister,
  type CfaRule,
  type FrameRow,
  type Rule,
  UNDEFINED,
} from '../../src/frames/rows.ts';
import { OrcLookup } from '../../src/unwind/orc_lookup.ts';
import { STACK_HI, stackBegin } from '../../src/unwind/stack_slots.ts';
import { StackTrace } from '../../src/unwind/stacktrace.ts';
import { TEXT_HI, TestArena, TestTask } from './stack_builder.ts';

const { tables } = X86_64.checking;
const { sp, fp, returnAddress } = tables.registers;
const [R10, RBX] = [10, 3];
const TEXT = 0x81000000;
/** Functions of 0x100 bytes, by number. */
const at = (func: number, offset = 0x20): number => TEXT + 0x100 * func + offset;

const row = (cfa: CfaRule, rules: readonly (readonly [number, Rule])[] = [], signal = false): FrameRow => ({
  cfa,
  rules: new Map([[returnAddress, atCfa(-8)], ...rules]),
  signal,
  returnAddress,
});
const END = row(byRegister(sp, 0), [[returnAddress, UNDEFINED]]);

class Stack {
  readonly arena = new TestArena(2);
  readonly task = new TestTask(1);
  readonly rows: (FrameRow | undefined)[];
  readonly trace: StackTrace;
  readonly asked: number[] = [];

  constructor(...rows: (FrameRow | undefined)[]) {
    this.rows = rows;
    const lookup = new OrcLookup();
    lookup.addText({ name: 'text', ranges: [{ start: TEXT, size: 0x1000 }] });
    const rowAt = (ip: number): FrameRow | undefined => {
      this.asked.push(ip >>> 0);
      return this.rows[((ip >>> 0) - TEXT) >>> 8];
    };
    const unwinder = tables.unwinder({ rowAt });
    this.trace = new StackTrace({ arena: this.arena, lookup, unwinder, ptRegs: PT_REGS, retFromFork: 0 });
  }

  put(offset: number, lo: number, hi = TEXT_HI): this {
    this.arena.put(1, offset, lo, hi);
    return this;
  }

  /** The trace of a task that sleeps in a callee of what is at `ip`, with that stack pointer. */
  asleep(ip: number, offset: number, bp = 0): number[] | string {
    this.put(offset - 8, ip).put(offset - 16, bp === 0 ? 0 : stackBegin(1) + bp, bp === 0 ? 0 : STACK_HI);
    this.task.spLo = stackBegin(1) + offset - INACTIVE_FRAME_SIZE;
    const said = this.trace.explainTskReliable(this.task, (address) => address.toString(16));
    return said.ok ? said.entries.map((entry) => Number(BigInt.asUintN(32, entry))) : said.reason;
  }

  /** Of one that was interrupted, with these registers. */
  interrupted(ip: number, offset: number, others: Record<string, bigint> = {}): number[] | string {
    const address = (BigInt(STACK_HI) << 32n) | BigInt(stackBegin(1) + offset);
    const regs = packPtRegs({ ip: 0xffffffff00000000n | BigInt(ip), sp: address, ...others });
    const said = this.trace.explainRegsReliable(this.task, regs, (one) => one.toString(16));
    return said.ok ? said.entries.map((entry) => Number(BigInt.asUintN(32, entry))) : said.reason;
  }
}

const stackAddress = (offset: number): bigint => (BigInt(STACK_HI) << 32n) | BigInt(stackBegin(1) + offset);
const expression = (...bytes: number[]) =>
  readExpression(Uint8Array.from(bytes), (reason) => new Error(reason));

describe('the unwinder by frame tables', () => {
  it('goes from row to row to the one that ends the stack', () => {
    const stack = new Stack(END, row(byRegister(sp, 24)), row(byRegister(sp, 8)));
    stack.put(0x1000, at(1)).put(0x1018, at(0));
    expect(stack.asleep(at(2), 0x1000)).toEqual([at(2), at(1), at(0)]);
    // A return address is behind its call: the row is that of the byte before.
    expect(stack.asked.slice(-3)).toEqual([at(2) - 1, at(1) - 1, at(0) - 1]);
  });

  it('goes by rbp, as the frame before has saved it', () => {
    const saved = [fp, atCfa(-16)] as const;
    const stack = new Stack(END, row(byRegister(fp, 16), [saved]), row(byRegister(sp, 16), [saved]));
    stack.put(0x1000, stackBegin(1) + 0x1100, STACK_HI).put(0x1008, at(1));
    stack.put(0x1100, 0, 0).put(0x1108, at(0));
    expect(stack.asleep(at(2), 0x1000)).toEqual([at(2), at(1), at(0)]);
  });

  it('goes through the registers of an interrupt: what is behind is where execution stopped, with all its registers', () => {
    const entry = row(
      byRegister(sp, 0x98, true),
      [
        [returnAddress, byRegister(sp, 0x80, true)],
        [R10, byRegister(sp, 0x38, true)],
      ],
      true,
    );
    const stack = new Stack(END, row(byRegister(R10, 0)), entry);
    stack.put(0x1080, at(1, 0)).put(0x1098, stackBegin(1) + 0x1200, STACK_HI);
    stack.put(0x1038, stackBegin(1) + 0x1300, STACK_HI).put(0x12f8, at(0));
    expect(stack.asleep(at(2), 0x1000)).toEqual([at(2), at(1, 0), at(0)]);
    expect(stack.asked).toContain(at(1, 0));
  });

  it('knows the registers of interrupted code, and of a caller only those that are given back', () => {
    const stack = new Stack(END, row(byRegister(R10, 0)), row(byRegister(sp, 8)));
    stack.put(0x11f8, at(0)).put(0x1000, at(1));
    expect(stack.interrupted(at(1), 0x1100, { r10: stackAddress(0x1200) })).toEqual([at(1), at(0)]);
    expect(stack.interrupted(at(2), 0x1000, { r10: stackAddress(0x1200) })).toBe(
      `a register that is not known for ffffffff${at(1).toString(16)}`,
    );
    const kept = new Stack(END, row(byRegister(RBX, 0)), row(byRegister(sp, 8)));
    kept.put(0x11f8, at(0)).put(0x1000, at(1));
    expect(kept.interrupted(at(2), 0x1000, { bx: stackAddress(0x1200) })).toEqual([at(2), at(1), at(0)]);
  });

  it('works out expressions: the CFA, where something is, and what it was', () => {
    // breg7 0, plus_uconst 16; breg7 0, deref; of the return address: the CFA, minus 8.
    const cfa = { kind: 'expression', expression: expression(0x77, 0, 0x23, 16), deref: false } as const;
    const there = { kind: 'expression', expression: expression(0x38, 0x1c), deref: true } as const;
    const stack = new Stack(END, row(cfa, [[returnAddress, there]]));
    stack.put(0x1008, at(0));
    expect(stack.asleep(at(1), 0x1000)).toEqual([at(1), at(0)]);
  });

  it.each<[string, FrameRow | undefined, string]>([
    ['no row', undefined, 'no row of the frame table for ffffffff'],
    ['a register that is none', row(byRegister(99, 0)), 'a register that is not known for ffffffff'],
    ['memory off the stack', row(byRegister(sp, 8), [[fp, atCfa(0x10000)]]), 'frame of ffffffff'],
    [
      'an expression that does not end',
      row({ kind: 'expression', expression: expression(0x2f, 0xfd, 0xff), deref: false }),
      'an expression without a value for ffffffff',
    ],
    [
      'a stack pointer that goes down',
      row(byRegister(sp, -8), [[returnAddress, atCfa(8)]]),
      'stack going in the wrong direction? at ffffffff',
    ],
    [
      'a stack pointer that stays',
      row(byRegister(sp, 0), [[returnAddress, atCfa(0)]]),
      'stack going in the wrong direction? at ffffffff',
    ],
    ['an address that is no text', row(byRegister(sp, 8), [[returnAddress, atCfa(0x100)]]), 'return address'],
  ])('gives up at %s, and the trace is unreliable', (_, wrong, reason) => {
    const stack = new Stack(END, wrong);
    stack.put(0x1000, at(0));
    expect(stack.asleep(at(1), 0x1000)).toContain(reason);
  });

  it('ends in error where the task executes, or stands off its stack', () => {
    const stack = new Stack(END);
    stack.task.onCpu = 1;
    expect(stack.asleep(at(0), 0x1000)).toMatch(/executes on another CPU/);
    stack.task.onCpu = 0;
    stack.task.spLo = stackBegin(1) - 0x4000;
    expect(stack.trace.explainTskReliable(stack.task)).toMatchObject({ ok: false });
  });
});
