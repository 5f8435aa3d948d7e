import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PT_BP, PT_CS, PT_REGS, PT_REGS_SIZE, PT_SP } from '../../src/arch/x86_64/pt_regs.ts';
import { ORC_REG_BP } from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { UNWINDERS } from '../../src/arch/x86_64/unwind/unwinders.ts';
import { ORC_REG_PREV_SP, ORC_REG_UNDEFINED, packOrcFlags } from '../../src/elf/orc.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { THREAD_SIZE } from '../../src/unwind/stack_slots.ts';
import { StackTrace } from '../../src/unwind/stacktrace.ts';
import { type FrameSpec, ORC, type StackBuilder } from './stack_builder.ts';
import { IMAGE, MODULE } from './text.ts';
import { World } from './world.ts';

describe('any table, stack and registers', () => {
  it('never make the unwinder throw, hang or leave the stack', () => {
    const anyEntry = fc.record({
      spOffset: fc.integer({ min: -64, max: 64 }),
      fpOffset: fc.integer({ min: -64, max: 64 }),
      spReg: fc.nat(15),
      fpReg: fc.oneof(fc.constantFrom(ORC_REG_UNDEFINED, ORC_REG_PREV_SP, ORC_REG_BP), fc.nat(15)),
      type: fc.nat(3),
      end: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(anyEntry, { minLength: 1, maxLength: 20 }), fc.integer(), (entries, seed) => {
        const w = new World();
        const frames = entries.map((entry) => w.text.frame(entry));
        w.text.addTo(w.lookup);
        scribble(w, frames, seed);
        const result = w.trace.stackTraceSaveTskReliable(w.task, w.entries);
        expect(result === -UAPI.EINVAL || (result >= 0 && result < 100)).toBe(true);
        expect(w.trace.stackTraceSaveTsk(w.task, w.entries)).toBeLessThanOrEqual(100);
        const endless = new StackTrace({
          arena: w.arena,
          lookup: w.lookup,
          unwinder: UNWINDERS.orc,
          ptRegs: PT_REGS,
          retFromFork: 1,
          inSchedFunctions: () => true,
        });
        expect(endless.stackTraceSaveTsk(w.task, w.entries)).toBe(0);
      }),
      { numRuns: 1500 },
    );
  });

  it('may be out of order: the walk ends all the same, and stays on the stack', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(63), { minLength: 2, maxLength: 80 }), fc.integer(), (offsets, seed) => {
        const w = new World();
        const count = offsets.length;
        const orc = {
          count,
          ip: Uint32Array.from(offsets, (offset) => MODULE + offset * 0x40),
          spOffset: new Int16Array(count).fill(16),
          fpOffset: new Int16Array(count).fill(-16),
          flags: Uint16Array.from(offsets, (offset) =>
            packOrcFlags(offset & 0xf, offset & 1, offset >> 4, false),
          ),
        };
        w.text.addTo(w.lookup);
        w.lookup.addText({ name: 'm', ranges: [{ start: MODULE, size: 0x1000 }], orc });
        scribble(
          w,
          offsets.map((offset) => ({ ip: MODULE + offset * 0x40, entry: ORC.sp(16) })),
          seed,
        );
        const result = w.trace.stackTraceSaveTskReliable(w.task, w.entries);
        expect(result === -UAPI.EINVAL || (result >= 0 && result < 100)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

/** Fills the stack with text addresses, stack addresses and rubbish. */
function scribble(w: World, frames: readonly FrameSpec[], seed: number): void {
  let state = seed | 1;
  const random = (n: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
  const begin = 0x8000 + 0x4000;
  for (let offset = 0; offset < THREAD_SIZE; offset += 8) {
    const kind = random(8);
    if (kind < 3) w.arena.put(1, offset, frames[random(frames.length)].ip + random(20) - 10, 0xffffffff);
    else if (kind < 6)
      w.arena.put(1, offset, begin + random(THREAD_SIZE / 4) * 4 + random(8) * random(2), 0xffffc900);
    else if (kind < 7) w.arena.put(1, offset, begin - 64 + random(0x8080), 0xffffc900);
    else w.arena.put(1, offset, random(0xffffffff), random(0xffffffff));
  }
  w.task.spLo = begin + random(THREAD_SIZE / 8) * 8 - (random(20) === 0 ? 0x4000 : 0);
}

describe('a stack that is not as the table says', () => {
  const corrupt = (spoil: (w: World, stack: StackBuilder) => void): number[] | string => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.sp(24)))
      .call(w.text.frame(ORC.bp(), 4));
    stack
      .call(w.text.frame(ORC.sp(16)))
      .call(w.text.frame(ORC.sp(8)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    spoil(w, stack);
    return w.walk();
  };

  it('is unreliable when a return address is not kernel text', () => {
    expect(corrupt((_, s) => s.put(s.locations[2], 0x12345678, 0))).toBe(
      'return address 12345678 is not kernel text',
    );
    expect(corrupt((_, s) => s.put(s.locations[2], 0, 0))).toBe('return address 0 is not kernel text');
  });

  it('is unreliable when a low half looks like text and the high half does not', () => {
    expect(corrupt((_, s) => s.put(s.locations[2], IMAGE, 0x1234))).toBe(
      'return address 123481000000 is not kernel text',
    );
  });

  it('is unreliable when the saved frame pointer leads off the stack', () => {
    const place = (s: StackBuilder): number => s.locations[0] - 8;
    expect(corrupt((_, s) => s.put(place(s), 0xffffffff, 0xffffffff))).toMatch(
      /is not on the task stack|wrong direction/,
    );
    expect(corrupt((_, s) => s.put(place(s), s.address(-0x4000 - 16), 0xffffc900))).toMatch(
      /not on the task stack/,
    );
  });

  it('is unreliable when the saved frame pointer leads back down', () => {
    const result = corrupt((_, s) => s.put(s.locations[0] - 8, s.address(64), 0xffffc900));
    expect(result).toMatch(/wrong direction|not kernel text/);
  });

  it('is unreliable when the task executes on a CPU', () => {
    expect(
      corrupt((w) => {
        w.task.onCpu = 1;
      }),
    ).toBe('the task executes on another CPU');
  });

  it('is unreliable when the saved stack pointer is in the guard area or in a neighbour stack', () => {
    expect(
      corrupt((w) => {
        w.task.spLo -= 0x4000;
      }),
    ).toBe('the stack pointer is not on the task stack');
    expect(
      corrupt((w) => {
        w.task.spLo += 0x8000;
      }),
    ).toBe('the stack pointer is not on the task stack');
  });

  it('is unreliable in text without ORC, even where a frame pointer leads on', () => {
    const w = new World();
    w.lookup.addText({ name: 'jit', ranges: [{ start: 0xc0500000, size: 64 }] });
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.sp(8)))
      .call({ ip: 0xc0500020, entry: ORC.bp() });
    stack.call(w.text.frame(ORC.sp(8, undefined))).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toBe('no ORC data for ffffffffc0500020');
    const plain = w.trace.stackTraceSaveTsk(w.task, w.entries);
    expect([...w.entries.subarray(0, plain)]).toEqual(stack.entries);
  });

  it('is unreliable when the trace fills the entries', () => {
    const w = new World();
    const stack = w.userStack();
    for (let i = 0; i < 98; i++) stack.call(w.text.frame(ORC.sp(16)));
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toHaveLength(99);
    stack.call(w.text.frame(ORC.sp(16)));
    const deeper = stack.switchOut(w.task);
    expect(deeper.entries).toHaveLength(101);
    expect(w.trace.stackTraceSaveTskReliable(w.task, w.entries)).toBe(-UAPI.EINVAL);
  });

  it('ends when registers lead back down the stack for ever', () => {
    const w = new World();
    const entryCode = w.text.frame(ORC.regs());
    const hit = w.text.frame(ORC.bp());
    const stack = w.kthreadStack().call(hit).interrupt(entryCode).switchOut(w.task);
    const regs = stack.place.sp;
    // The interrupted code has its stack pointer off the stack and a frame pointer below its own registers.
    stack.put(regs + PT_SP, 0, 0);
    stack.put(regs + PT_BP, stack.address(regs - 0x200), 0xffffc900);
    stack.put(regs - 0x200 + 8, entryCode.ip, 0xffffffff);
    stack.put(regs - 0x200 + 16 + PT_CS, 0x10, 0);
    stack.put(regs - 0x200 + 16 + 128, hit.ip, 0xffffffff);
    stack.put(regs - 0x200 + 16 + PT_SP, 0, 0);
    stack.put(regs - 0x200 + 16 + PT_BP, stack.address(regs - 0x200), 0xffffc900);
    w.text.addTo(w.lookup);
    expect(w.trace.stackTraceSaveTskReliable(w.task, w.entries)).toBe(-UAPI.EINVAL);
    // Also where there is room for whatever comes.
    expect(w.trace.stackTraceSaveTskReliable(w.task, new Uint32Array(100_000))).toBe(-UAPI.EINVAL);
    expect(w.trace.unwinder.failureText()).toBe('stack walk does not end at %s');
    expect(regs).toBeGreaterThan(PT_REGS_SIZE);
  });

  it('has no entries, reliably, when it is gone', () => {
    const w = new World();
    w.task.stackSlot = -1;
    expect(w.trace.stackTraceSaveTskReliable(w.task, w.entries)).toBe(0);
  });
});
