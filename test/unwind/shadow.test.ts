import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PT_CS, PT_REGS, PT_REGS_SIZE } from '../../src/arch/x86_64/pt_regs.ts';
import { compareReliable, ShadowStacks } from '../../src/unwind/shadow.ts';
import { THREAD_SIZE } from '../../src/unwind/stack_slots.ts';
import { ORC, TestArena } from './stack_builder.ts';
import { IMAGE } from './text.ts';
import { World } from './world.ts';

/** Executes calls and returns: writes the stack as a CPU would and tells the shadow. */
class Cpu {
  readonly arena = new TestArena(3);
  readonly shadow = new ShadowStacks(this.arena, PT_REGS);
  readonly begin = 0x8000 + 0x4000;
  sp = this.begin + THREAD_SIZE - PT_REGS_SIZE;

  call(ret: number): void {
    this.sp -= 8;
    this.write(this.sp, ret);
    this.shadow.call(this.sp, ret);
  }

  ret(): void {
    this.sp += 8;
    this.shadow.ret(this.sp);
  }

  interrupt(ip: number, cs = 0x10): number {
    const regs = (this.sp & ~15) - PT_REGS_SIZE;
    this.write(regs + 128, ip);
    this.write(regs + PT_CS, cs);
    this.shadow.interrupt(regs);
    this.sp = regs;
    return regs;
  }

  write(location: number, value: number): void {
    this.arena.put(1, location - this.begin, value, 0xffffffff);
  }

  truth(ip?: number): number[] {
    return [...this.shadow.truth(1, ip)];
  }
}

describe('the shadow stack', () => {
  it('has the live return addresses, innermost first', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    cpu.call(IMAGE + 2);
    cpu.sp -= 64;
    cpu.call(IMAGE + 3);
    expect(cpu.truth()).toEqual([IMAGE + 3, IMAGE + 2, IMAGE + 1]);
    expect(cpu.truth(IMAGE + 9)[0]).toBe(IMAGE + 9);
    cpu.ret();
    cpu.sp += 64;
    cpu.ret();
    expect(cpu.truth()).toEqual([IMAGE + 1]);
  });

  it('has what is on the stack now, when a trampoline redirected the return', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 0x10);
    cpu.call(IMAGE + 0x45);
    const slot = cpu.sp;
    cpu.call(IMAGE + 0x85);
    cpu.write(slot, IMAGE + 0x200);
    expect(cpu.truth()).toEqual([IMAGE + 0x85, IMAGE + 0x200, IMAGE + 0x10]);
    expect(cpu.shadow.frames(1)[1]).toMatchObject({ pushed: IMAGE + 0x45, address: IMAGE + 0x200 });
    // The redirected address is a function's first byte, the others are after a call.
    const live = cpu.shadow.liveFunctions(1, undefined, (ip) => Math.floor((ip - IMAGE) / 0x100));
    expect([...live]).toEqual([0, 2]);
  });

  it('drops frames that a stack pointer set anew has freed', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    const keep = cpu.sp;
    for (let i = 0; i < 5; i++) cpu.call(IMAGE + 10 + i);
    cpu.shadow.switchStack(keep);
    expect(cpu.truth()).toEqual([IMAGE + 1]);
    cpu.sp = keep;
    cpu.call(IMAGE + 2);
    cpu.sp += 8;
    // Overwritten without a return having been seen.
    cpu.call(IMAGE + 3);
    expect(cpu.truth()).toEqual([IMAGE + 3, IMAGE + 1]);
  });

  it('has interrupted addresses among the return addresses, but not those of user mode', () => {
    const cpu = new Cpu();
    cpu.interrupt(0x401000, 0x33);
    cpu.call(IMAGE + 1);
    cpu.sp -= 40;
    const before = cpu.sp;
    cpu.interrupt(IMAGE + 0x50);
    cpu.call(IMAGE + 2);
    expect(cpu.truth()).toEqual([IMAGE + 2, IMAGE + 0x50, IMAGE + 1]);
    cpu.ret();
    cpu.shadow.interruptReturned(before);
    expect(cpu.truth()).toEqual([IMAGE + 1]);
  });

  it('follows a CPU that was carried over a breakpoint: its registers lie lower, above them what the call left', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    const above = cpu.sp;
    const regs = cpu.interrupt(IMAGE + 0x50);
    const lower = regs - 16;
    cpu.write(lower + 128, IMAGE + 0x300);
    cpu.write(above - 8, IMAGE + 0x55);
    cpu.shadow.emulated(lower, above - 8);
    expect(cpu.truth()).toEqual([IMAGE + 0x300, IMAGE + 0x55, IMAGE + 1]);
    expect(cpu.shadow.frames(1).map(({ kind, pushed }) => [kind, pushed])).toEqual([
      ['regs', IMAGE + 0x50],
      ['call', IMAGE + 0x55],
      ['call', IMAGE + 1],
    ]);
    cpu.shadow.interruptReturned(above - 8);
    expect(cpu.truth()).toEqual([IMAGE + 0x55, IMAGE + 1]);
    cpu.shadow.ret(above);
    expect(cpu.truth()).toEqual([IMAGE + 1]);
    // Nothing is interrupted now: there is nothing to carry over.
    cpu.shadow.emulated(lower, above - 8);
    expect(cpu.truth()).toEqual([IMAGE + 1]);
  });

  it('follows one that was carried over by a jump, and leaves registers alone that lie below', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    const regs = cpu.interrupt(IMAGE + 0x50);
    cpu.write(regs - 16 + 128, IMAGE + 0x56);
    cpu.shadow.emulated(regs - 16);
    expect(cpu.truth()).toEqual([IMAGE + 0x56, IMAGE + 1]);
    cpu.shadow.emulated(regs);
    expect(cpu.shadow.frames(1)[0].location).toBe(regs - 16 + 128);
    cpu.shadow.emulated(regs - 16);
    expect(cpu.truth()).toEqual([IMAGE + 0x56, IMAGE + 1]);
  });

  it('has the frames at and above a stack pointer that is asked for, and none of a stack that is not there', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    const first = cpu.sp;
    cpu.call(IMAGE + 2);
    const pushed = (sp: number) => cpu.shadow.frames(1, sp).map((frame) => frame.pushed);
    expect(pushed(cpu.sp)).toEqual([IMAGE + 2, IMAGE + 1]);
    expect(pushed(cpu.sp + 1)).toEqual([IMAGE + 1]);
    expect(pushed(first)).toEqual([IMAGE + 1]);
    for (const slot of [-1, 3, 4]) {
      expect(cpu.shadow.frames(slot)).toEqual([]);
      cpu.shadow.release(slot);
    }
    // In the guard below a stack is no frame.
    cpu.shadow.call(cpu.begin - 8, IMAGE + 3);
    expect(cpu.truth()).toEqual([IMAGE + 2, IMAGE + 1]);
  });

  it('forgets a frame for good: one that is called below its place does not bring it back', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    cpu.call(IMAGE + 2);
    cpu.call(IMAGE + 3);
    cpu.ret();
    cpu.ret();
    cpu.sp -= 64;
    cpu.call(IMAGE + 4);
    expect(cpu.truth()).toEqual([IMAGE + 4, IMAGE + 1]);
  });

  it('reads a frame at the lowest word of a stack', () => {
    const cpu = new Cpu();
    cpu.sp = cpu.begin + 8;
    cpu.call(IMAGE + 1);
    expect(cpu.truth()).toEqual([IMAGE + 1]);
    cpu.ret();
    expect(cpu.truth()).toEqual([]);
  });

  it('knows a frame to the byte, where the stack pointer is not aligned', () => {
    const cpu = new Cpu();
    cpu.sp -= 3;
    cpu.call(IMAGE + 1);
    expect(cpu.shadow.frames(1)[0].location).toBe(cpu.sp);
    cpu.shadow.switchStack(cpu.sp);
    expect(cpu.shadow.frames(1)).toHaveLength(1);
    cpu.shadow.switchStack(cpu.sp + 1);
    expect(cpu.shadow.frames(1)).toHaveLength(0);
  });

  it('counts the function that a task stands in as live, by its own address', () => {
    const cpu = new Cpu();
    cpu.interrupt(0x401000, 0x33);
    cpu.call(IMAGE + 0x100);
    cpu.interrupt(IMAGE + 0x200);
    const by = (ip: number) => (ip < IMAGE + 0x400 ? Math.floor((ip - IMAGE) / 0x100) : undefined);
    // Behind a call that does not return stands the next function; an interrupt hit where it says.
    expect([...cpu.shadow.liveFunctions(1, IMAGE + 0x300, by)]).toEqual([3, 2, 0]);
    expect([...cpu.shadow.liveFunctions(1, undefined, by)]).toEqual([2, 0]);
    expect([...cpu.shadow.liveFunctions(1, IMAGE + 0x500, by)]).toEqual([2, 0]);
  });

  it('keeps the frames of a task that is switched out, each stack its own', () => {
    const cpu = new Cpu();
    cpu.call(IMAGE + 1);
    cpu.shadow.fork(0x10000 + 0x7f00, IMAGE + 7);
    expect([...cpu.shadow.frames(2)].map((f) => f.pushed)).toEqual([IMAGE + 7]);
    cpu.shadow.ret(0x10000 + 0x7f08);
    expect(cpu.shadow.frames(2)).toEqual([]);
    expect(cpu.truth()).toEqual([IMAGE + 1]);
    cpu.shadow.release(1);
    expect(cpu.truth()).toEqual([]);
    // A return that empties a stack to its very top is that stack's, not its neighbour's.
    cpu.shadow.call(0xfff8, IMAGE);
    cpu.shadow.ret(0x10000);
    expect(cpu.truth()).toEqual([]);
  });

  it('agrees with the unwinder on any path of calls, returns and interrupts', () => {
    const step = fc.oneof({ weight: 4, arbitrary: fc.nat(9) }, { weight: 1, arbitrary: fc.constant(10) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const w = new World();
        const shadow = new ShadowStacks(w.arena, PT_REGS);
        const stack = w.kthreadStack();
        for (const kind of steps) {
          if (kind === 10) {
            stack.interrupt(w.text.frame(ORC.regs()));
            shadow.interrupt(stack.address(stack.place.sp));
            continue;
          }
          stack.call(w.text.frame(kind < 5 ? ORC.sp(8 + 8 * kind) : ORC.bp(), kind));
          shadow.call(stack.address(stack.locations[0]), stack.entries[0]);
        }
        stack.switchOut(w.task);
        shadow.call(w.task.spLo + 48, stack.entries[0]);
        w.text.addTo(w.lookup);
        const count = w.trace.stackTraceSaveTskReliable(w.task, w.entries);
        expect(compareReliable(w.entries, count, shadow.truth(1))).toBeUndefined();
        expect(count).toBe(steps.length + 1);
      }),
    );
  });
});

describe('a reliable trace against the truth', () => {
  const compare = (entries: number[], truth: number[]): string | undefined =>
    compareReliable(
      Uint32Array.from(entries),
      entries.length,
      Uint32Array.from(truth),
      (a) => `f${a & 0xffn}`,
    );

  it.each([
    [[1, 2, 3], [1, 2, 3], undefined],
    [[1, 3], [1, 2, 3], 'frame 1: trace misses f2'],
    [[1, 9, 3], [1, 2, 3], 'frame 1: trace has f9, live is f2'],
    [[1, 2], [1, 2, 3], 'frame 2: trace ends, live is f3'],
    [[1, 2, 3, 4], [1, 2, 3], 'frame 3: trace has f4, no frame is live'],
  ])('says the first difference: %j against %j', (entries, truth, words) => {
    expect(compare(entries, truth)).toBe(words);
  });
});
