import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PT_BP, PT_R10, PT_REGS, packPtRegs } from '../../src/arch/x86_64/pt_regs.ts';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
} from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { UNWINDERS } from '../../src/arch/x86_64/unwind/unwinders.ts';
import { ORC_REG_PREV_SP, type OrcEntry } from '../../src/elf/orc.ts';
import { StackTrace } from '../../src/unwind/stacktrace.ts';
import { ORC, StackBuilder } from './stack_builder.ts';
import { readModuleText } from './text.ts';
import { World } from './world.ts';

const FIXTURES = new URL('../../fixtures/modules/', import.meta.url).pathname;

describe('the ORC unwinder', () => {
  it.each([
    ['sp', ORC.sp(24)],
    ['sp with a saved rbp', ORC.sp(40, -16)],
    ['bp', ORC.bp()],
    ['a realigned stack: (bp)', ORC.drap()],
    ['a stack switched by its saved pointer: (sp)', ORC.spIndirect(8)],
  ])('finds the caller of a frame based on %s', (_, entry) => {
    const w = new World();
    const stack = w.userStack().call(w.text.frame(ORC.sp(8)));
    stack.call(w.text.frame(entry, 3)).call(w.text.frame(ORC.bp(), 1)).call(w.text.frame(entry, 2));
    stack.call(w.text.frame(ORC.sp(16))).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
    expect(stack.entries).toHaveLength(6);
  });

  it.each([
    ['r10', ORC_REG_R10],
    ['r13', ORC_REG_R13],
    ['rdi', ORC_REG_DI],
    ['rdx', ORC_REG_DX],
  ])('finds the caller of an interrupted frame whose caller is known by %s', (_, register) => {
    const w = new World();
    const stack = w.userStack().call(w.text.frame(ORC.bp()));
    stack.call(w.text.frame(ORC.register(register))).interrupt(w.text.frame(ORC.regs()));
    stack.call(w.text.frame(ORC.sp(48))).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
  });

  it('names the register it misses when such a frame was left by a call', () => {
    const w = new World();
    const stack = w.userStack();
    stack
      .call(w.text.frame(ORC.register(ORC_REG_R10)))
      .call(w.text.frame(ORC.sp(16)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toMatch(/^missing R10 value at ffffffff81/);
  });

  it('ends a kernel thread where ORC says that the stack ends', () => {
    const w = new World();
    const stack = w
      .kthreadStack()
      .call(w.text.frame(ORC.sp(8)))
      .call(w.text.frame(ORC.bp(), 5));
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
    expect(w.walk()).toContain(w.retFromFork.ip);
  });

  it('takes the start of a task that never ran as where it stands, not as a return address', () => {
    const w = new World();
    // The address before ret_from_fork belongs to other code, which says nothing of this stack.
    const before = w.text.frame(ORC.undefined());
    const fork = w.text.frame(ORC.regs());
    const trace = new StackTrace({
      arena: w.arena,
      lookup: w.lookup,
      unwinder: UNWINDERS.orc,
      ptRegs: PT_REGS,
      retFromFork: before.ip - 16 + 64,
    });
    const stack = new StackBuilder(w.arena, 1).taskRegs(true).outermost({ ...fork, ip: before.ip - 16 + 64 });
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(trace.stackTraceSaveTskReliable(w.task, w.entries)).toBe(1);
    expect(w.walk()).toMatch(/^undefined unwind state/);
  });

  it('walks through an interrupt: the interrupted address stands among the return addresses', () => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.bp(), 4))
      .call(w.text.frame(ORC.sp(24, -24)));
    stack
      .interrupt(w.text.frame(ORC.regs()))
      .call(w.text.frame(ORC.sp(32)))
      .call(w.text.frame(ORC.bp()));
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
  });

  it('asks for the interrupted instruction itself, not the one before', () => {
    const w = new World();
    const hit = w.text.frame(ORC.sp(16));
    const stack = w.userStack().call({ ...hit, ip: hit.ip - 16 });
    stack
      .interrupt(w.text.frame(ORC.regs()))
      .call(w.text.frame(ORC.sp(8)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
  });

  it('walks through two interrupts, one inside the other', () => {
    const w = new World();
    const stack = w.kthreadStack().call(w.text.frame(ORC.bp()));
    for (let i = 0; i < 2; i++) {
      stack.call(w.text.frame(ORC.drap(), i)).call(w.text.frame(ORC.register(ORC_REG_R10)));
      stack.interrupt(w.text.frame(ORC.regs())).call(w.text.frame(ORC.bp()));
    }
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
    expect(stack.entries).toHaveLength(10);
  });

  it('takes registers of the frame before when only an iret frame is on the stack', () => {
    const w = new World();
    // Entry code that has saved nothing yet is itself interrupted: the registers are still the first code's.
    const stack = w.kthreadStack().call(w.text.frame(ORC.register(ORC_REG_R10)));
    const callerSp = stack.address(stack.locations[0] + 8);
    stack.interrupt(w.text.frame(ORC.iretRegs()));
    stack.interrupt(w.text.frame(ORC.regs()), new Map([[PT_R10, [callerSp, 0xffffc900]]]));
    stack.call(w.text.frame(ORC.sp(8))).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
  });

  it('misses those registers when the frame before was a call', () => {
    const w = new World();
    const stack = w.kthreadStack().call(w.text.frame(ORC.register(ORC_REG_R10)));
    stack
      .interrupt(w.text.frame(ORC.iretRegs()))
      .call(w.text.frame(ORC.sp(8)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toMatch(/^missing R10 value/);
  });

  it('stops with success at registers of user mode, and never shows them', () => {
    const w = new World();
    const stack = w.userStack().switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual([w.syscallEntry.ip]);
    expect(stack.entries).toEqual([w.syscallEntry.ip]);
  });

  it('unwinds a call of a null pointer to the caller', () => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.bp()))
      .call(w.text.frame(ORC.sp(24)));
    stack.call({ ip: 0, entry: ORC.sp(8) });
    w.text.addTo(w.lookup);
    const regs = packPtRegs({ ip: 0n, sp: 0xffffc90000000000n + BigInt(stack.address(stack.place.sp)) });
    regs[PT_BP / 4] = stack.place.bpLo;
    regs[PT_BP / 4 + 1] = stack.place.bpHi;
    const count = w.trace.stackTraceSaveRegs(w.task, regs, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual([0, ...stack.entries]);
  });

  it('finds the frames of a trampoline by the template it was copied from', () => {
    const w = new World();
    const template = w.text.frame(ORC.sp(0xb8));
    const traced = w.text.frame(ORC.sp(8));
    const start = 0xc0400000;
    w.lookup.addTrampoline({ name: 'ftrace_trampoline', start, size: 64, template: template.ip - 16 });
    const stack = w.userStack().call(w.text.frame(ORC.bp())).call(traced);
    stack
      .call({ ip: start + 20, entry: template.entry })
      .call(w.text.frame(ORC.sp(24)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(w.walk()).toEqual(stack.entries);
    expect(w.lookup.ftraceTrampoline(start + 20)).toBe(template.ip + 4);
  });

  it('unwinds every frame of every fixture module as its ORC table says', () => {
    let frames = 0;
    for (const file of readdirSync(FIXTURES).filter((name) => name.endsWith('.ko'))) {
      const module = readModuleText(FIXTURES + file);
      const w = new World();
      w.text.addTo(w.lookup);
      w.lookup.addText({ name: file, ranges: module.ranges, orc: module.orc });
      frames += module.frames.length;
      const usable = module.frames.filter(({ entry }) => canBeCalledFrom(entry));
      for (let i = 0; i < usable.length; i++) {
        const stack = w.kthreadStack();
        for (let j = 0; j < 8; j++) stack.call(usable[(i + j * 7) % usable.length]);
        stack.switchOut(w.task);
        expect(w.walk()).toEqual(stack.entries);
      }
    }
    expect(frames).toBeGreaterThan(100);
  });

  it('unwinds every frame of every fixture module when it is interrupted there', () => {
    for (const file of readdirSync(FIXTURES).filter((name) => name.endsWith('.ko'))) {
      const module = readModuleText(FIXTURES + file);
      const w = new World();
      const entryCode = w.text.frame(ORC.regs());
      const inner = w.text.frame(ORC.sp(40));
      w.text.addTo(w.lookup);
      w.lookup.addText({ name: file, ranges: module.ranges, orc: module.orc });
      const callers = module.frames.filter(({ entry }) => canBeCalledFrom(entry));
      const usable = module.frames.filter(
        ({ entry }) => canBeCalledFrom(entry) || entry.spReg === ORC_REG_R10,
      );
      usable.forEach((frame, i) => {
        const stack = w.userStack().call(callers[(i * 3) % callers.length]);
        stack.call({ ...frame, ip: frame.ip - 1 });
        const regs = stack.regs();
        const direct = w.trace.stackTraceSaveRegsReliable(w.task, regs, w.entries);
        expect([...w.entries.subarray(0, direct)]).toEqual([frame.ip - 1, ...stack.entries]);
        stack.interrupt(entryCode).call(inner).switchOut(w.task);
        expect(w.walk()).toEqual(stack.entries);
      });
    }
  });
});

/** Entries that the builder can lay a called frame for: not those that need the caller's rbp to be a given value. */
function canBeCalledFrom(entry: OrcEntry): boolean {
  if (entry.spReg === ORC_REG_SP) return entry.spOffset >= 8;
  if (entry.spReg === ORC_REG_BP) return entry.fpReg === ORC_REG_PREV_SP;
  return entry.spReg === ORC_REG_BP_INDIRECT && entry.fpReg === ORC_REG_BP;
}

const calledEntry = fc.oneof(
  fc.integer({ min: 1, max: 12 }).map((n) => ORC.sp(n * 8)),
  fc
    .tuple(fc.integer({ min: 2, max: 12 }), fc.nat(10))
    .map(([n, k]) => ORC.sp(n * 8, -8 * Math.max(2, n - k))),
  fc.constant(ORC.bp()),
  fc.constant(ORC.drap()),
  fc.integer({ min: 1, max: 6 }).map((n) => ORC.spIndirect(n * 8)),
);
const hitEntry = fc.oneof(
  calledEntry,
  fc.constantFrom(ORC_REG_R10, ORC_REG_R13, ORC_REG_DI, ORC_REG_DX).map((reg) => ORC.register(reg)),
);
const chain = fc.record({
  user: fc.boolean(),
  steps: fc.array(fc.record({ entry: calledEntry, hit: hitEntry, pad: fc.nat(6), irq: fc.nat(9) }), {
    maxLength: 40,
  }),
});

describe('a chain of frames from any ORC table', () => {
  it('is unwound exactly, by a reliable trace', () => {
    fc.assert(
      fc.property(chain, ({ user, steps }) => {
        const w = new World();
        const stack = user ? w.userStack() : w.kthreadStack();
        for (const { entry, hit, pad, irq } of steps) {
          stack.call(w.text.frame(irq === 0 ? hit : entry, pad));
          if (irq === 0) stack.interrupt(w.text.frame(ORC.regs()));
        }
        stack.switchOut(w.task);
        w.text.addTo(w.lookup);
        expect(w.walk()).toEqual(stack.entries);
      }),
      { numRuns: 400 },
    );
  });
});
