// What any port promises of hardware and of the guest code that it comes with: entries into the kernel, blocks that are
// watched, host functions, the first frame of a task. On an image of the port, without a machine.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Arch } from '../../src/arch/arch.ts';
import { CALLED, NO_EFFECT, RETURNED } from '../../src/arch/blocks.ts';
import type { EngineName } from '../../src/arch/engine.ts';
import type { KernelNumbers } from '../../src/arch/kernel_side.ts';
import type { Interrupt } from '../../src/arch/processor.ts';
import { ptRegsOffset, ptRegsSize, readPtReg } from '../../src/arch/pt_regs.ts';
import { type Addr, lo32, STACK_HI, STACK_SLOT } from '../../src/guest/addr.ts';
import type { CpuContext, Stop, StopKind } from '../../src/guest/engine.ts';
import type { GuestMemory } from '../../src/guest/memory.ts';
import { USER_STACK_BASE, USER_TEXT_BASE } from '../../src/guest/windows.ts';
import type { KernelImage } from '../../src/machine/boot/image.ts';
import { ShadowStacks } from '../../src/unwind/shadow.ts';
import { BareKernel, CODE } from './bare_kernel.ts';

export interface RunningContract {
  readonly arch: Arch;
  /** What the kernel that its images are assembled for says of itself. */
  readonly described: KernelNumbers;
  /** What of the port's engines is there. */
  readonly engines: readonly EngineName[];
  /** Images of the port, without frame pointers and with them where it has such. */
  readonly images: readonly { readonly image: KernelImage; readonly framePointers: boolean }[];
  /**
   * Code that calls A, which calls B, which calls C so many times, in a row; C answers. All save their return address
   * where the port says that a callee does. The code that calls A halts behind the call.
   */
  readonly nested: (answer: number, times: number) => string;
  /** What kernel code does before it leaves to a program, beside the change of privilege; up to a halt. */
  readonly leave: string;
  /** What the call instruction does, for a call of `fn` that returns to `returnTo`. */
  readonly call: (mem: GuestMemory, context: CpuContext, fn: Addr, returnTo: Addr) => void;
}

const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const USER_SP = USER_STACK_BASE + 0x2f80n;

export function describeRunning(contract: RunningContract): void {
  for (const engine of contract.engines) {
    const on = `${contract.arch.name} on ${engine}`;
    describe(`${on}: processor`, () => describeProcessor(contract, engine));
    describe(`${on}: blocks`, () => describeBlocks(contract, engine));
    describe(`${on}: frames`, () => describeNotes(contract, engine));
    describe(`${on}: threads`, () => describeThreads(contract, engine));
    for (const { image, framePointers } of contract.images) {
      const with_ = framePointers ? 'with' : 'without';
      describe(`${on}: host functions, ${with_} frame pointers`, () =>
        describeHostStubs(contract, engine, image, framePointers));
    }
  }
}

function useKernel(arch: Arch, image: KernelImage, engine: EngineName): () => BareKernel {
  let kernel: BareKernel;
  beforeAll(() => {
    kernel = new BareKernel(arch, image, engine);
  });
  afterAll(() => kernel.close());
  return () => kernel;
}

/** Registers of a context by the words of pt_regs that guest code saves them to; hardware saves the others. */
function generalRegisters({ arch, engine }: BareKernel): ReadonlyMap<number, string> {
  const context = engine.newContext();
  const { ptRegs } = arch;
  const saved = new Uint32Array(ptRegsSize(ptRegs) / 4);
  const found = new Map<number, string>();
  const byCode = ptRegs.words.slice(0, ptRegs.words.indexOf(ptRegs.hardware));
  for (const reg of context.regs.keys()) {
    context.regs.fill(0n);
    context.regs[reg] = 0x1234_5678_9abcn;
    arch.context.save(context, saved);
    const name = byCode.find((one) => readPtReg(ptRegs, saved, one) === 0x1234_5678_9abcn);
    if (name !== undefined) found.set(reg, name);
  }
  return found;
}

/** What pt_regs would hold now. */
function wouldSave({ arch }: BareKernel, context: CpuContext): Uint32Array {
  const saved = new Uint32Array(ptRegsSize(arch.ptRegs) / 4);
  arch.context.save(context, saved);
  return saved;
}

/** Words of pt_regs that memory has in another way than they would be saved. */
function different(kernel: BareKernel, regs: Addr, saved: Uint32Array, names: readonly string[]): string[] {
  const { ptRegs } = kernel.arch;
  const read = (name: string): bigint => kernel.mem.readU64(regs + BigInt(ptRegsOffset(ptRegs, name)));
  return names.filter((name) => read(name) !== readPtReg(ptRegs, saved, name));
}

function describeProcessor({ arch, leave, images: [{ image }] }: RunningContract, engine: EngineName): void {
  const kernelOf = useKernel(arch, image, engine);
  beforeAll(() => kernelOf().code(leave));
  const { ptRegs } = arch;
  const size = BigInt(ptRegsSize(ptRegs));
  const byHardware = ptRegs.words.slice(ptRegs.words.indexOf(ptRegs.hardware));

  /** A CPU with the values in its registers, in the kernel or in a program, interrupts on. */
  function executing(values: readonly bigint[], userMode: boolean, depth = 0x100n) {
    const kernel = kernelOf();
    const cpu = kernel.startCpu();
    const general = generalRegisters(kernel);
    if (userMode) {
      kernel.set(cpu.context, { [arch.context.pc]: CODE });
      expect(kernel.engine.run(cpu.context, 10).kind).toBe('halt');
      cpu.context.setUserMode(true);
    }
    kernel.set(cpu.context, Object.fromEntries([...general.keys()].map((reg, i) => [reg, values[i] ?? 0n])));
    const sp = userMode ? USER_SP : cpu.sp - depth;
    kernel.set(cpu.context, {
      [arch.context.pc]: userMode ? USER_TEXT_BASE : kernel.text[0],
      [arch.context.sp]: sp,
    });
    cpu.processor.interruptsOn = true;
    return { kernel, ...cpu, general };
  }
  const values = fc.array(word, { minLength: 20, maxLength: 20 });
  const depth = fc.integer({ min: 0, max: 0x100 }).map((n) => 8n * BigInt(n));

  it('starts at an entry of the kernel, on the stack it is given, with interrupts off', () => {
    const kernel = kernelOf();
    const { context, processor, sp } = kernel.startCpu();
    expect(image.asm.symbols.map(({ addr }) => addr)).toContain(kernel.pc(context));
    expect([kernel.sp(context), context.userMode, processor.interruptsOn]).toEqual([sp, false, false]);
    expect(context.perCpuBase).toBe(kernel.percpu.base[0]);
  });

  it('lets interrupts in or not, and changes nothing else by that', () => {
    fc.assert(
      fc.property(values, (all) => {
        const { context, processor, general } = executing(all, false);
        const before = [...general.keys()].map((reg) => context.regs[reg]);
        expect(processor.interruptsOn).toBe(true);
        const on = [...context.regs];
        processor.interruptsOn = false;
        expect(processor.interruptsOn).toBe(false);
        expect([...general.keys()].map((reg) => context.regs[reg])).toEqual(before);
        processor.interruptsOn = true;
        expect([...context.regs]).toEqual(on);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    ['the kernel', false],
    ['a program', true],
  ])('interrupted in %s, it pushes what hardware pushes and goes to the handler: no more', (_, userMode) => {
    fc.assert(
      fc.property(values, depth, fc.constantFrom<Interrupt>('timer', 'reschedule'), (all, deep, which) => {
        const { kernel, context, processor, told, base, top, general } = executing(all, userMode, deep);
        const saved = wouldSave(kernel, context);
        const before = [...general.keys()].map((reg) => context.regs[reg]);
        const from = kernel.sp(context);
        const stack = kernel.mem.readBytes(base, Number(top - base));
        processor.interrupt(which);
        expect([context.userMode, processor.interruptsOn, told.length]).toEqual([false, false, 1]);
        expect([...general.keys()].map((reg) => context.regs[reg])).toEqual(before);
        expect(image.asm.symbols.map(({ addr }) => addr)).toContain(kernel.pc(context));
        const [regs] = told;
        if (userMode) expect(regs + size).toBe(top);
        else expect(regs + size <= from).toBe(true);
        expect(different(kernel, regs, saved, byHardware)).toEqual([]);
        const sp = kernel.sp(context);
        expect(sp).toBe(regs + BigInt(ptRegsOffset(ptRegs, ptRegs.hardware)));
        const after = kernel.mem.readBytes(base, Number(top - base));
        after.set(stack.subarray(Number(sp - base), Number(regs + size - base)), Number(sp - base));
        expect(Buffer.compare(after, stack)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    ['the kernel', false],
    ['a program', true],
  ])('interrupted in %s, it comes to code that saves every register where pt_regs has it', (_, userMode) => {
    fc.assert(
      fc.property(values, fc.constantFrom<Interrupt>('timer', 'reschedule'), (all, which) => {
        const { kernel, context, processor, told } = executing(all, userMode);
        const saved = wouldSave(kernel, context);
        processor.interrupt(which);
        const left = (): string[] => different(kernel, told[0], saved, ptRegs.words);
        kernel.stepUntil(context, () => left().length === 0, 60);
        expect(left()).toEqual([]);
      }),
      { numRuns: 10 },
    );
  });

  it('has a handler each for the timer and for another CPU', () => {
    const handlers = (['timer', 'reschedule', 'timer'] as const).map((which) => {
      const { kernel, context, processor } = executing([], false);
      processor.interrupt(which);
      return kernel.pc(context);
    });
    expect(handlers[0]).not.toBe(handlers[1]);
    expect(handlers[0]).toBe(handlers[2]);
  });

  it('enters the kernel by a system call on the stack of entries from programs, with its arguments saved', () => {
    fc.assert(
      fc.property(values, (all) => {
        const { kernel, context, processor, told, top } = executing(all, true);
        const saved = wouldSave(kernel, context);
        processor.enter(stopOf('syscall'));
        expect([context.userMode, processor.interruptsOn, told]).toEqual([false, false, []]);
        const regs = top - size;
        const names = [ptRegs.pc, ptRegs.sp, ...ptRegs.syscallArgs];
        kernel.stepUntil(context, () => different(kernel, regs, saved, names).length === 0, 60);
        expect(different(kernel, regs, saved, names)).toEqual([]);
        const mode = kernel.mem.readU32(regs + BigInt(ptRegsOffset(ptRegs, ptRegs.mode.word)));
        expect(ptRegs.mode.isUser(mode)).toBe(true);
      }),
      { numRuns: 10 },
    );
  });

  it.each<StopKind>(['page fault', 'undefined instruction', 'exception'])(
    'enters the kernel by a %s with what was interrupted, be it the kernel or a program',
    (kind) => {
      for (const userMode of [false, true]) {
        const { kernel, context, processor, told } = executing([], userMode);
        const saved = wouldSave(kernel, context);
        processor.faultAddress = 0x1000n;
        processor.enter(stopOf(kind, 0xdead_beefn));
        expect([context.userMode, told.length]).toEqual([false, 1]);
        expect(different(kernel, told[0], saved, byHardware)).toEqual([]);
        expect(kernel.sp(context) >= told[0]).toBe(true);
        expect(processor.faultAddress).toBe(kind === 'page fault' ? 0xdead_beefn : 0x1000n);
      }
    },
  );

  it('faults for the kernel at the address that a host function read, and keeps it until the next fault', () => {
    const { kernel, context, processor, told } = executing([], false);
    const saved = wouldSave(kernel, context);
    processor.readFault(0xffff_8880_dead_0000n);
    expect(different(kernel, told[0], saved, byHardware)).toEqual([]);
    processor.interruptsOn = true;
    processor.interrupt('timer');
    expect(processor.faultAddress).toBe(0xffff_8880_dead_0000n);
    expect(told).toHaveLength(2);
  });
}

const stopOf = (kind: StopKind, faultAddr = 0n): Stop => ({
  kind,
  executed: 0,
  faultAddr,
  access: 'read',
  unmapped: true,
});

/** What a run of the nested calls did, by its blocks. */
interface Watched {
  readonly called: number;
  readonly returned: number;
  readonly executed: number;
  readonly result: bigint;
}

function describeBlocks({ arch, nested, images: [{ image }] }: RunningContract, engine: EngineName): void {
  const kernelOf = useKernel(arch, image, engine);
  const { result } = arch.context;

  /** Runs the code to its halt, in pieces of `max` at most, and holds each return against its call. */
  function watched(
    max: () => number,
    blocks = arch.execution.blocks(kernelOf().engine, kernelOf().mem),
  ): Watched {
    const kernel = kernelOf();
    const { context } = kernel.startCpu();
    kernel.set(context, { [arch.context.pc]: CODE });
    const calls: { slot: number; to: number }[] = [];
    let [called, returned, executed] = [0, 0, 0];
    for (;;) {
      const most = max();
      const stop = blocks.run(context, most);
      executed += stop.executed;
      expect(stop.executed).toBeLessThanOrEqual(most);
      if (stop.kind === 'halt') break;
      expect(stop.kind).toBe('budget');
      if (blocks.effect === CALLED) {
        called++;
        calls.push({ slot: blocks.returnSlot(context), to: blocks.returnAddress(context) });
      } else if (blocks.effect === RETURNED) {
        returned++;
        const { slot, to } = calls.pop() ?? { slot: 0, to: 0 };
        expect(lo32(kernel.pc(context))).toBe(to);
        const at = (BigInt(STACK_HI) << 32n) | BigInt(slot >>> 0);
        expect(kernel.mem.readU64(at)).toBe(kernel.pc(context));
      } else expect(blocks.effect).toBe(NO_EFFECT);
    }
    expect(calls).toEqual([]);
    return { called, returned, executed, result: context.regs[result] };
  }

  it('tell each call and each return, and where the return address lies meanwhile', async () => {
    await kernelOf().code(nested(7, 3));
    expect(watched(() => 1000)).toMatchObject({ called: 5, returned: 5, result: 7n });
  });

  it('tell the same, and count the same, however short the pieces are that they are run in', async () => {
    await kernelOf().code(nested(7, 3));
    const whole = watched(() => 1000);
    expect(watched(() => 1)).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1 }), (sizes) => {
        let i = 0;
        expect(watched(() => sizes[i++ % sizes.length])).toEqual(whole);
      }),
      { numRuns: 20 },
    );
  });

  it('count as the engine alone does', async () => {
    const kernel = kernelOf();
    await kernel.code(nested(7, 3));
    const { context } = kernel.startCpu();
    kernel.set(context, { [arch.context.pc]: CODE });
    const stop = kernel.engine.run(context, 1000);
    expect([stop.kind, stop.executed]).toEqual(['halt', watched(() => 1000).executed]);
  });

  it('execute text as it is now: what was run before and changed since is not run again', async () => {
    const kernel = kernelOf();
    const blocks = arch.execution.blocks(kernel.engine, kernel.mem);
    kernel.mem.attach(blocks);
    for (const [answer, times] of [
      [7, 3],
      [8, 3],
      [8, 1],
      [9, 2],
    ]) {
      await kernel.code(nested(answer, times));
      const calls = 2 + times;
      expect(watched(() => 1000, blocks)).toMatchObject({
        called: calls,
        returned: calls,
        result: BigInt(answer),
      });
    }
  });
}

/** The frames that an engine notes itself are those that a block at a time shows. */
function describeNotes({ arch, nested, images: [{ image }] }: RunningContract, engine: EngineName): void {
  const kernelOf = useKernel(arch, image, engine);

  it('that an engine notes itself are those of the calls that are live, wherever a run ends', async (test) => {
    const kernel = kernelOf();
    const notes = arch.execution.notes?.(kernel.engine);
    if (!notes) return test.skip('this engine notes none: it is watched block by block');
    notes.begin({ current: 0, state: 0 }, () => false);
    await kernel.code(nested(7, 3));
    const shadow = new ShadowStacks({ words: kernel.mem.stackWords }, arch.ptRegs, notes.frames);
    const { context, base } = kernel.startCpu();
    const slot = Number((base & 0xffff_ffffn) / BigInt(STACK_SLOT));
    const blocks = arch.execution.blocks(kernel.engine, kernel.mem);
    const live: number[][] = [];
    const at = (): number[] => shadow.frames(slot).map((f) => f.location);
    kernel.set(context, { [arch.context.pc]: CODE });
    const calls: number[] = [];
    while (blocks.run(context, 1).kind === 'budget') {
      if (blocks.effect === CALLED) calls.unshift(blocks.returnSlot(context));
      else if (blocks.effect === RETURNED) calls.shift();
      expect(at()).toEqual(calls);
      live.push(at());
    }
    const again = kernel.startCpu().context;
    for (const size of [1, 2, 3, 5, 8]) {
      kernel.set(again, { [arch.context.pc]: CODE });
      for (let done = 0; ; ) {
        const stop = notes.run(again, size);
        done += stop.executed;
        if (stop.kind !== 'budget') break;
        expect(at()).toEqual(live[done - 1]);
      }
    }
  });
}

function describeHostStubs(
  { arch, call }: RunningContract,
  engine: EngineName,
  image: KernelImage,
  framePointers: boolean,
): void {
  const kernelOf = useKernel(arch, image, engine);
  const { hostStubs, context: which } = arch;
  const { offsets } = hostStubs;
  const found = hostStubs.find(image.asm);
  const functions = new Map(image.asm.symbols.map((symbol) => [symbol.name, symbol]));
  /** Some of them, those with and without a site among them. */
  const some = [...found.keys()].filter((_, i) => i % Math.ceil(found.size / 12) === 0);

  /** A CPU that has called a host function and stands in its stub. */
  function entered(name: string) {
    const kernel = kernelOf();
    const cpu = kernel.startCpu();
    const sp = cpu.sp - 0x100n;
    const { addr } = functions.get(name) ?? { addr: 0n };
    kernel.set(cpu.context, { [which.sp]: sp });
    call(kernel.mem, cpu.context, addr, CODE);
    cpu.context.touch();
    const atEntry = kernel.sp(cpu.context);
    const stop = { ...kernel.engine.run(cpu.context, 100) };
    return { kernel, ...cpu, stop, before: sp, atEntry, halt: found.get(name) ?? 0n };
  }

  it('are found, each within its function', () => {
    expect(found.size).toBeGreaterThan(20);
    for (const [name, halt] of found) {
      const { addr, size } = functions.get(name) ?? { addr: 0n, size: 0 };
      expect(halt >= addr && halt + BigInt(offsets.ret) < addr + BigInt(size), name).toBe(true);
    }
  });

  it.each(some)('%s halts in its stub when it is called, and its caller is known', (name) => {
    const { kernel, context, stop, atEntry, halt } = entered(name);
    expect([stop.kind, kernel.pc(context)]).toEqual(['halt', halt + BigInt(offsets.entered)]);
    expect(kernel.sp(context) + BigInt(hostStubs.frameBytes(framePointers))).toBe(atEntry);
    expect(hostStubs.returnAddress(kernel.mem, context, atEntry)).toBe(CODE);
  });

  it.each(some)('%s calls guest code, relaxes and returns, on the same stack throughout', (name) => {
    const { kernel, context, before, halt } = entered(name);
    const sp = kernel.sp(context);
    // Another host function is as good as any to be called.
    const callee = some.find((one) => one !== name) ?? name;
    kernel.set(context, {
      [which.pc]: halt + BigInt(offsets.call),
      [hostStubs.callee]: functions.get(callee)?.addr ?? 0n,
    });
    expect(kernel.engine.run(context, 100).kind).toBe('halt');
    const inner = found.get(callee) ?? 0n;
    expect(kernel.pc(context)).toBe(inner + BigInt(offsets.entered));
    kernel.set(context, { [which.pc]: inner + BigInt(offsets.ret), [which.result]: 0x77n });
    expect(kernel.engine.run(context, 100).kind).toBe('halt');
    expect([kernel.pc(context), kernel.sp(context)]).toEqual([halt + BigInt(offsets.returned), sp]);
    expect(context.regs[which.result]).toBe(0x77n);
    kernel.set(context, { [which.pc]: halt + BigInt(offsets.relax) });
    expect(kernel.engine.run(context, 100).kind).toBe('halt');
    expect([kernel.pc(context), kernel.sp(context)]).toEqual([halt + BigInt(offsets.relaxed), sp]);
    kernel.set(context, { [which.pc]: halt + BigInt(offsets.ret), [which.result]: 0x99n });
    expect(kernel.stepUntil(context, () => kernel.pc(context) === CODE, 20)).toBe(true);
    expect([kernel.sp(context), context.regs[which.result]]).toEqual([before, 0x99n]);
  });
}

function describeThreads({ arch, described, call, images }: RunningContract, engine: EngineName): void {
  const { threads, ptRegs } = arch;
  const [{ image }] = images;
  const kernelOf = useKernel(arch, image, engine);
  const size = BigInt(ptRegsSize(ptRegs));
  const offset = (name: string): bigint => BigInt(ptRegsOffset(ptRegs, name));
  const entry = { returnTo: CODE, fn: 0xffff_ffff_8100_0040n, arg: 0x1234n };

  /** A stack with noise on it, and where its registers go. */
  function stack(seed: number) {
    const { mem } = kernelOf();
    const base = STACK;
    for (let at = base; at < base + 0x4000n; at += 8n)
      mem.writeU64(at, (at * BigInt(2 * seed + 1)) & 0xffff_ffffn);
    const regs = base + 0x4000n - size;
    return { mem, base, regs, before: mem.readBytes(base, 0x4000) };
  }
  let STACK: Addr;
  beforeAll(() => {
    STACK = kernelOf().makeStack();
  });

  it.each([
    ['without', false],
    ['with', true],
  ])(
    'lay a first frame below the registers %s frame pointers, and touch nothing else',
    (_, framePointers) => {
      fc.assert(
        fc.property(fc.nat(1000), (seed) => {
          const { mem, base, regs, before } = stack(seed);
          const sp = threads.firstFrame(mem, regs, { ...entry, framePointers });
          expect(sp < regs && sp % 8n === 0n).toBe(true);
          expect(threads.firstReturn % 8).toBe(0);
          expect(sp + BigInt(threads.firstReturn) < regs).toBe(true);
          expect(mem.readU64(sp + BigInt(threads.firstReturn))).toBe(entry.returnTo);
          const after = mem.readBytes(base, 0x4000);
          after.set(before.subarray(Number(sp - base), Number(regs - base)), Number(sp - base));
          expect(Buffer.compare(after, before)).toBe(0);
        }),
        { numRuns: 5 },
      );
    },
  );

  it('make a frame that the image switches to: to where it returns, with the registers at the stack pointer', () => {
    const kernel = kernelOf();
    const { mem, slab, symbols } = kernel;
    const { context, sp: from } = kernel.startCpu();
    const { size: taskSize, fields } = described.structs.task_struct;
    const { base, regs } = stack(1);
    const [prev, next] = [slab.alloc(taskSize, 'prev'), slab.alloc(taskSize, 'next')];
    const sp = threads.firstFrame(mem, regs, { ...entry, framePointers: false });
    mem.writeU64(next + BigInt(fields.stack), base);
    mem.writeU64(next + BigInt(fields.thread_sp), sp);
    const [first, second] = arch.context.args;
    kernel.set(context, { [first]: prev, [second]: next, [arch.context.sp]: from - 0x100n });
    const back = CODE + 0x40n;
    call(mem, context, symbols.require('__switch_to_asm'), back);
    context.touch();
    expect(kernel.stepUntil(context, () => kernel.pc(context) === entry.returnTo, 60)).toBe(true);
    expect(kernel.sp(context)).toBe(regs);
    // Who was switched away from has left such a frame itself.
    const left = mem.readU64(prev + BigInt(fields.thread_sp));
    expect(mem.readU64(left + BigInt(threads.firstReturn))).toBe(back);
  });

  it('start a program at its entry, on its stack, in user mode, with nothing in its other registers', () => {
    const { mem, regs } = stack(2);
    mem.fill(regs, Number(size), 0);
    threads.startUser(mem, regs, USER_TEXT_BASE, USER_SP);
    expect(mem.readU64(regs + offset(ptRegs.pc))).toBe(USER_TEXT_BASE);
    expect(mem.readU64(regs + offset(ptRegs.sp))).toBe(USER_SP);
    expect(ptRegs.mode.isUser(mem.readU32(regs + offset(ptRegs.mode.word)))).toBe(true);
    const arguments_ = [...ptRegs.args, ...ptRegs.syscallArgs, ptRegs.result];
    expect(arguments_.filter((name) => mem.readU64(regs + offset(name)) !== 0n)).toEqual([]);
  });

  it('return 0 from a fork in the child, on the stack that it is given or its own', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.constantFrom(0n, USER_SP), (seed, sp) => {
        const { mem, regs } = stack(seed);
        const words = ptRegs.words.map((name) => mem.readU64(regs + offset(name)));
        threads.forked(mem, regs, sp);
        const expected = ptRegs.words.map((name, i) => {
          if (name === ptRegs.result) return 0n;
          return name === ptRegs.sp && sp !== 0n ? sp : words[i];
        });
        expect(ptRegs.words.map((name) => mem.readU64(regs + offset(name)))).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  it('move the stack pointer with the stack that was copied, and no register that points elsewhere', () => {
    const from = USER_STACK_BASE;
    const to = USER_STACK_BASE + 0x8000n;
    const anywhere = fc.oneof(
      word,
      fc.integer({ min: 0, max: 0x4000 }).map((n) => from + BigInt(n)),
    );
    fc.assert(
      fc.property(fc.array(anywhere, { minLength: 32, maxLength: 32 }), (all) => {
        const { mem, regs } = stack(3);
        const moves = (value: bigint): boolean => value >= from && value <= from + 0x4000n;
        ptRegs.words.forEach((name, i) => {
          mem.writeU64(regs + offset(name), all[i]);
        });
        threads.moveUserStack(mem, regs, from, 0x4000, to);
        ptRegs.words.forEach((name, i) => {
          const now = mem.readU64(regs + offset(name));
          const moved = moves(all[i]) ? all[i] - from + to : all[i];
          if (name === ptRegs.sp) expect(now, name).toBe(moved);
          else expect([all[i], moved], name).toContain(now);
          if (name === ptRegs.pc) expect(now).toBe(all[i]);
        });
      }),
      { numRuns: 20 },
    );
  });
}
