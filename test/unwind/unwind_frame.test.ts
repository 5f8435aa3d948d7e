import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PT_BP, PT_CS, PT_REGS_SIZE, packPtRegs } from '../../src/arch/x86_64/pt_regs.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { STACK_HI, THREAD_SIZE } from '../../src/unwind/stack_slots.ts';
import { ORC, type StackBuilder } from './stack_builder.ts';
import { IMAGE } from './text.ts';
import { World } from './world.ts';

const FP = 'frame pointer';
const TASK_PT_REGS = THREAD_SIZE - PT_REGS_SIZE;

/** ENCODE_FRAME_POINTER: entry code leaves the address of its registers, plus one, in rbp. */
function encodeFramePointer(stack: StackBuilder): void {
  stack.place.bpLo = stack.address(stack.place.sp) | 1;
  stack.place.bpHi = STACK_HI;
}

describe('the frame pointer unwinder', () => {
  it('unwinds any chain of frames exactly, to the end of a user task or a kernel thread', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(fc.nat(40), { minLength: 1, maxLength: 60 }), (user, pads) => {
        const w = new World(FP);
        const stack = user ? w.userStack() : w.kthreadStack();
        for (const pad of pads) stack.call(w.text.frame(ORC.bp(), pad));
        stack.switchOut(w.task);
        w.text.addTo(w.lookup);
        expect(w.walk()).toEqual(stack.entries);
      }),
    );
  });

  it('ends a new task at the registers it was forked with', () => {
    const w = new World(FP);
    const stack = w.userStack();
    stack.place.bpLo = stack.address(TASK_PT_REGS) | 1;
    stack.place.bpHi = STACK_HI;
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
  });

  it('calls a stack with kernel registers on it unreliable, and yet walks through it', () => {
    const w = new World(FP);
    const stack = w.userStack().call(w.text.frame(ORC.bp())).call(w.text.frame(ORC.bp(), 4));
    stack.interrupt(w.text.frame(ORC.regs()));
    encodeFramePointer(stack);
    stack.call(w.text.frame(ORC.bp())).switchOut(w.task);
    w.text.addTo(w.lookup);
    const hit = stack.entries[2].toString(16);
    expect(w.walk()).toBe(`kernel mode registers on the stack: interrupted at ffffffff${hit}`);
    const count = w.trace.stackTraceSaveTsk(w.task, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual(stack.entries);
    expect(stack.entries).toHaveLength(5);
  });

  it('misses the caller of a function that was interrupted before it set up its frame', () => {
    const w = new World(FP);
    const stack = w.userStack().call(w.text.frame(ORC.bp())).call(w.text.frame(ORC.bp()));
    const caller = { ...stack.place };
    stack.call(w.text.frame(ORC.sp(8)));
    w.text.addTo(w.lookup);
    const regs = stack.regs();
    regs[PT_BP / 4] = caller.bpLo;
    regs[PT_BP / 4 + 1] = caller.bpHi;
    expect(w.trace.stackTraceSaveRegsReliable(w.task, regs, w.entries)).toBe(-UAPI.EINVAL);
    const count = w.trace.stackTraceSaveRegs(w.task, regs, w.entries);
    const expected = [regs[32], ...stack.entries.slice(1)];
    expect([...w.entries.subarray(0, count)]).toEqual(expected);
  });

  it('knows the last frame when the compiler realigned the stack there', () => {
    const w = new World(FP);
    const stack = w.userStack();
    const ret = w.syscallEntry.ip;
    // The return address twice, then bp.
    stack.put(TASK_PT_REGS - 8, ret, 0xffffffff);
    stack.put(TASK_PT_REGS - 16, ret, 0xffffffff);
    stack.put(TASK_PT_REGS - 24, 0x1234, 0);
    stack.place = { sp: TASK_PT_REGS - 24, bpLo: stack.address(TASK_PT_REGS - 24), bpHi: STACK_HI };
    stack.outermost({ ...w.text.frame(ORC.bp()) });
    stack.place.sp = TASK_PT_REGS - 24;
    stack.call(w.text.frame(ORC.bp())).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual([...stack.entries, ret]);
  });

  it('knows the last frame under an ftrace handler of a function called by entry code', () => {
    const w = new World(FP);
    const stack = w.userStack();
    const ret = w.syscallEntry.ip;
    const traced = w.text.frame(ORC.bp());
    const top = TASK_PT_REGS;
    stack.put(top - 8, ret, 0xffffffff);
    stack.put(top - 16, traced.ip, 0xffffffff);
    stack.put(top - 24, 0x99, 0);
    stack.put(top - 32, ret, 0xffffffff);
    stack.put(top - 40, 0x99, 0);
    stack.outermost(w.text.frame(ORC.bp()));
    stack.place = { sp: top - 64, bpLo: stack.address(top - 40), bpHi: STACK_HI };
    stack.call(w.text.frame(ORC.bp())).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual([...stack.entries, ret]);
  });

  it('unwinds a call of a null pointer to the caller', () => {
    const w = new World(FP);
    const stack = w.userStack().call(w.text.frame(ORC.bp())).call(w.text.frame(ORC.bp()));
    stack.call({ ip: 0, entry: ORC.sp(8) });
    const regs = packPtRegs({ ip: 0n, sp: 0xffffc90000000000n + BigInt(stack.address(stack.place.sp)) });
    regs[PT_BP / 4] = stack.place.bpLo;
    regs[PT_BP / 4 + 1] = stack.place.bpHi;
    // On top of the stack is the return address that the call pushed.
    regs[38] = stack.address(stack.locations[0]);
    w.text.addTo(w.lookup);
    const count = w.trace.stackTraceSaveRegs(w.task, regs, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual([0, ...stack.entries]);
  });

  it.each([
    ['off the stack', (s: StackBuilder) => [s.address(-0x5000), STACK_HI]],
    ['into user space', () => [0x1000, 0x7fff]],
    ['at itself', (s: StackBuilder) => [s.address(s.locations[0] - 8), STACK_HI]],
    ['at its last bytes', (s: StackBuilder) => [s.address(THREAD_SIZE - 8), STACK_HI]],
  ] as const)('is unreliable when a saved frame pointer points %s', (_, value) => {
    const w = new World(FP);
    const stack = w.userStack().call(w.text.frame(ORC.bp())).call(w.text.frame(ORC.bp(), 3));
    stack.call(w.text.frame(ORC.bp())).switchOut(w.task);
    w.text.addTo(w.lookup);
    const [lo, hi] = value(stack);
    stack.put(stack.locations[1] - 8, lo, hi);
    expect(w.walk()).toMatch(/^kernel stack frame pointer has bad value at ffffffff81/);
  });

  it('never throws, hangs or leaves the stack, whatever is on it', () => {
    const words = fc.array(fc.tuple(fc.nat(9), fc.nat(0xffff)), { minLength: 64, maxLength: 64 });
    fc.assert(
      fc.property(words, fc.nat(0xff), (kinds, start) => {
        const w = new World(FP);
        for (let i = 0; i < 64; i++) w.text.frame(ORC.bp());
        w.text.addTo(w.lookup);
        const stack = w.userStack();
        for (let offset = 0; offset < THREAD_SIZE; offset += 8) {
          const [kind, value] = kinds[(offset / 8) % 64];
          if (kind < 3) stack.put(offset, IMAGE + (value % 0x1000), 0xffffffff);
          else if (kind < 8) stack.put(offset, stack.address(offset + (value % 0x300)), STACK_HI);
          else stack.put(offset, value, kind === 8 ? 0 : STACK_HI);
        }
        stack.put(TASK_PT_REGS + PT_CS, kinds[0][1], 0);
        w.task.spLo = stack.address(start * 0x44);
        const result = w.trace.stackTraceSaveTskReliable(w.task, w.entries);
        expect(result === -UAPI.EINVAL || (result >= 0 && result < 100)).toBe(true);
        expect(w.trace.stackTraceSaveTsk(w.task, w.entries)).toBeLessThanOrEqual(100);
      }),
      { numRuns: 500 },
    );
  });
});
