// What any port must keep to: docs/porting.md as tests. Run it with describeArch() on a port and each of its unwinders.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Arch } from '../../src/arch/arch.ts';
import { ptRegsOffset, ptRegsSize, readPtReg } from '../../src/arch/pt_regs.ts';
import type { PtRegs, Unwinder, UnwindTask } from '../../src/arch/unwinders.ts';
import { RelocationError } from '../../src/elf/error.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { GuestMemory, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import type { StackTrace } from '../../src/unwind/stacktrace.ts';
import { describeRunning, type RunningContract } from './contract_running.ts';
import { describeOrc } from './orc_contract.ts';

/** Tasks of one stack, made as the port's kernel leaves them. Addresses of text are low halves. */
interface StackWorld {
  readonly trace: StackTrace;
  readonly task: UnwindTask;
  /** Words of the task's stack, for whoever damages it. */
  readonly stack: Uint32Array;
  /** What a right trace lists, innermost first, and where on the stack each of it lies, in bytes. */
  readonly expected: readonly number[];
  readonly locations: readonly number[];
}

interface Shape {
  /** How many calls deep the task is. */
  readonly calls: number;
  /** After which of them the kernel was interrupted. */
  readonly interruptedAt?: number;
  readonly user: boolean;
}

/** @param unwinder its name: the code on the stack suits it */
export type MakeStack = (unwinder: string, shape: Shape) => StackWorld;

interface Contract extends RunningContract {
  /** Instructions that the kernel pokes; what the port has no instruction for is left out. */
  readonly poked: { readonly [what: string]: (site: Addr, target: Addr) => Uint8Array };
  /** Bytes of jump labels. */
  readonly jumpLabels: readonly number[];
  readonly makeStack: MakeStack;
}

const SITE = 0xffffffffc0201000n;
const REACH = (1 << 30) - 64;
const site = fc.integer({ min: 0, max: 0xfff }).map((n) => SITE + 8n * BigInt(n));
const distance = fc.integer({ min: -(REACH >> 3), max: REACH >> 3 }).map((n) => 8n * BigInt(n));

export function describeArch(contract: Contract): void {
  const { arch } = contract;
  describe(`${arch.name}: registers`, () => describeRegisters(contract));
  describe(`${arch.name}: fentry site`, () => describeSite(contract));
  describe(`${arch.name}: poking`, () => describePoking(contract));
  describe(`${arch.name}: module text`, () => describeModuleText(contract));
  const { code } = arch;
  if (code) describe(`${arch.name}: ORC`, () => describeOrc(code.orc));
  describeRunning(contract);
  for (const [name, port] of Object.entries(arch.unwinders)) {
    describe(`${arch.name}: unwinder ${name}`, () => describeUnwinder(contract, name, port.reliable));
  }
}

function describeRegisters({ arch, described }: Contract): void {
  const { ptRegs, showRegs } = arch;

  it('lie in struct pt_regs as the description says, each once', () => {
    expect(new Set(ptRegs.words).size).toBe(ptRegs.words.length);
    const { size, fields } = described.structs.pt_regs;
    expect(ptRegsSize(ptRegs)).toBe(size);
    for (const name of ptRegs.words) expect([name, ptRegsOffset(ptRegs, name)]).toEqual([name, fields[name]]);
  });

  it('that have a use are words of it', () => {
    const { pc, sp, fp, link, args, syscallArgs, result, hardware, mode } = ptRegs;
    const named = [pc, sp, result, hardware, mode.word, ...args, ...syscallArgs];
    if (fp !== undefined) named.push(fp);
    if (link !== undefined) named.push(link);
    expect(named.filter((name) => !ptRegs.words.includes(name))).toEqual([]);
    expect(args.length).toBeGreaterThanOrEqual(6);
    expect(syscallArgs).toHaveLength(6);
  });

  it('are read by name, all 64 bits of each and no bit of another', () => {
    const long = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    const size = ptRegs.words.length;
    fc.assert(
      fc.property(fc.array(long, { minLength: size, maxLength: size }), (values) => {
        const regs = new Uint32Array(BigUint64Array.from(values).buffer);
        expect(ptRegs.words.map((name) => readPtReg(ptRegs, regs, name))).toEqual(values);
      }),
      { numRuns: 30 },
    );
  });

  it('tell the kernel from user mode: a kernel thread, whose registers are blank, is in the kernel', () => {
    expect(ptRegs.mode.isUser(0)).toBe(false);
  });

  it('no register is there by a name that it has not', () => {
    expect(() => ptRegsOffset(ptRegs, 'no such')).toThrow(RangeError);
  });

  it('are printed with the pc that was asked for, and all of them unless only a part was saved', () => {
    const where = { pc: (addr: Addr) => `<${addr.toString(16)}>`, code: () => ['Code: here'] };
    const read = (name: string): bigint => (name === ptRegs.pc ? 0xabcden : 0n);
    const all = showRegs.lines(read, where, false);
    const part = showRegs.lines(read, where, true);
    expect(all.join('\n')).toContain('<abcde>');
    expect(part.join('\n')).toContain('<abcde>');
    expect(all.filter((line) => line === 'Code: here')).toHaveLength(1);
    expect(part.length).toBeLessThanOrEqual(all.length);
  });

  it('are found again in what was printed of them', () => {
    const where = { pc: () => 'fn+0x12/0x34', code: () => [] };
    const lines = showRegs.lines(() => 0n, where, false);
    expect(showRegs.pcIn(['before', ...lines, 'after'].join('\n'))).toBe('fn+0x12/0x34');
    expect(showRegs.pcIn('Call Trace:\n fn+0x12/0x34')).toBeUndefined();
  });

  it('stand below what went wrong, the count of oopses, and how the kernel was built', () => {
    const line = showRegs.dieHeader('invalid opcode', 0, 3, ['PREEMPT', 'SMP']);
    expect(line).toMatch(/^(.*\b)?invalid opcode\b.*\[#3\] PREEMPT SMP/);
    expect(line).not.toContain('\n');
  });
}

function describeSite({ arch: { fentry } }: Contract): void {
  it('is as long as a call as it is as a nop', () => {
    expect(fentry.nop).toHaveLength(fentry.size);
    expect(fentry.call(SITE, SITE + 0x1000n)).toHaveLength(fentry.size);
  });

  it('says what it calls, for any target in reach', () => {
    fc.assert(
      fc.property(site, distance, (at, by) => {
        const target = BigInt.asUintN(64, at + by);
        expect(fentry.target(at, fentry.call(at, target))).toBe(target);
      }),
    );
  });

  it('calls nothing while it is a nop', () => {
    expect(fentry.target(SITE, fentry.nop)).toBeUndefined();
    expect(fentry.landingPad(fentry.nop)).toBeUndefined();
  });

  it('refuses a target out of reach', () => {
    expect(() => fentry.call(SITE, 0x100000000000n)).toThrow(RangeError);
  });
}

/** All bytes that a CPU may find at a site while `to` is being put where `from` was. */
function seenWhile(from: Uint8Array, to: Uint8Array, breakpoint: Readonly<Uint8Array>): Uint8Array[] {
  const head = breakpoint.length;
  const seen = [from];
  const write = (offset: number, bytes: Uint8Array): void => {
    const next = seen[seen.length - 1].slice();
    next.set(bytes, offset);
    seen.push(next);
  };
  write(0, breakpoint);
  write(head, to.subarray(head));
  write(0, to.subarray(0, head));
  return seen;
}

function describePoking({ arch, poked }: Contract): void {
  const { breakpoint } = arch.poking;
  if (breakpoint === undefined) {
    it('writes a site in one store: its size is that of one, and a store does not straddle a word', () => {
      expect([1, 2, 4, 8]).toContain(arch.fentry.size);
    });
    return;
  }

  it('shows the old instruction, the breakpoint, or the new one, never a mixture', () => {
    fc.assert(
      fc.property(site, distance, (at, by) => {
        const call = arch.fentry.call(at, BigInt.asUintN(64, at + by));
        const states = seenWhile(arch.fentry.nop.slice(), call, breakpoint.insn);
        for (const state of states.slice(1, -1)) {
          expect(state.subarray(0, breakpoint.insn.length)).toEqual(breakpoint.insn);
        }
        expect(states.at(-1)).toEqual(call);
      }),
    );
  });

  it('has a breakpoint that no instruction which is poked begins with', () => {
    const { length } = breakpoint.insn;
    for (const [what, make] of Object.entries(poked)) {
      const insn = make(SITE, SITE + 0x40n);
      expect(insn.length, what).toBeGreaterThanOrEqual(length);
      expect(insn.subarray(0, length), what).not.toEqual(breakpoint.insn);
    }
  });

  it('refuses, before the first step, what it cannot carry a CPU over', () => {
    expect(() => breakpoint.carryOver(SITE, breakpoint.insn.slice())).toThrow(RangeError);
  });

  it.each(Object.keys(poked))(
    'carries a CPU over a %s: the pc moves, registers without a part in it do not',
    (what) => {
      const { mem, regs, sp } = trapped(arch, breakpoint.insn.length);
      const before = mem.readBytes(regs, ptRegsSize(arch.ptRegs));
      const target = SITE + 0x40n;
      const insn = poked[what](SITE, target);
      mem.writeU64(sp, target);
      const { callee } = breakpoint.carryOver(SITE, insn)(mem, regs);
      const pc = mem.readU64(regs + BigInt(ptRegsOffset(arch.ptRegs, arch.ptRegs.pc)));
      expect([target, SITE + BigInt(insn.length)]).toContain(pc);
      if (callee !== undefined) expect(pc).toBe(callee);
      const after = mem.readBytes(regs, ptRegsSize(arch.ptRegs));
      const { pc: own, sp: stack, link } = arch.ptRegs;
      for (const name of arch.ptRegs.words.filter((word) => ![own, stack, link].includes(word))) {
        const at = ptRegsOffset(arch.ptRegs, name);
        expect(after.subarray(at, at + 8), name).toEqual(before.subarray(at, at + 8));
      }
    },
  );

  it('knows the site of its own trap, and a call comes back behind it', () => {
    const { mem, regs, sp } = trapped(arch, breakpoint.insn.length);
    const word = (name: string): Addr => mem.readU64(regs + BigInt(ptRegsOffset(arch.ptRegs, name)));
    expect(breakpoint.site(word(arch.ptRegs.pc))).toBe(SITE);
    const call = arch.fentry.call(SITE, SITE + 0x40n);
    breakpoint.carryOver(SITE, call)(mem, regs);
    const back = arch.ptRegs.link === undefined ? mem.readU64(word(arch.ptRegs.sp)) : word(arch.ptRegs.link);
    expect(back).toBe(SITE + BigInt(arch.fentry.size));
    if (arch.ptRegs.link === undefined) expect(word(arch.ptRegs.sp)).toBe(sp - 8n);
  });
}

/** A trap of the breakpoint at SITE, with a stack above its registers. */
function trapped(arch: Arch, size: number): { mem: GuestMemory; regs: Addr; sp: Addr } {
  const mem = new GuestMemory({ heap: 1 << 16, stacks: 1, modules: 4 << 20, users: false });
  const regs = SITE + 0x100000n;
  mem.map(regs, 0x1000, PROT_READ | PROT_WRITE);
  const sp = regs + 0x800n;
  for (const [i, name] of arch.ptRegs.words.entries()) {
    if (name !== arch.ptRegs.mode.word) mem.writeU64(regs + BigInt(8 * i), 0x1111n * BigInt(i + 1));
  }
  mem.writeU64(regs + BigInt(ptRegsOffset(arch.ptRegs, arch.ptRegs.pc)), SITE + BigInt(size));
  mem.writeU64(regs + BigInt(ptRegsOffset(arch.ptRegs, arch.ptRegs.sp)), sp);
  return { mem, regs, sp };
}

function describeModuleText({ arch, described, jumpLabels }: Contract): void {
  const types = [...arch.elf.relocations.keys()];
  const widthOf = (type: number): number => arch.elf.relocations.get(type)?.width ?? 0;
  const { relocations, branches, tables } = arch.moduleText;
  const where = { file: 'm.ko', section: '.text', offset: 0, symbol: 's' };

  it('is as before once a relocation that was applied is cleared, or never changes', () => {
    const value = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    fc.assert(
      fc.property(fc.constantFrom(...types), value, fc.nat(8), (type, sum, at) => {
        const view = new DataView(new ArrayBuffer(24));
        try {
          relocations.apply(view, at, SITE, sum, { ...where, type });
        } catch (error) {
          expect(error).toBeInstanceOf(RelocationError);
          expect(new Uint8Array(view.buffer).every((byte) => byte === 0)).toBe(true);
          return;
        }
        const touched = [...new Uint8Array(view.buffer)].flatMap((byte, i) => (byte === 0 ? [] : [i]));
        expect(touched.every((i) => i === 0 || (i >= at && i < at + widthOf(type)))).toBe(true);
        relocations.clear(view, at, type);
        expect(new Uint8Array(view.buffer).every((byte) => byte === 0)).toBe(true);
      }),
    );
  });

  it('refuses a relocation over bytes that are not zero, and changes nothing', () => {
    for (const type of types.filter((one) => widthOf(one) > 0)) {
      const view = new DataView(new ArrayBuffer(8));
      view.setUint8(0, 1);
      expect(() => relocations.apply(view, 0, SITE, SITE, { ...where, type })).toThrow(RelocationError);
      expect([...new Uint8Array(view.buffer)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    }
  });

  it('has each of its tables once, and a size of an entry for it', () => {
    const names = tables.map(({ section }) => section);
    expect(new Set(names).size).toBe(names.length);
    const sizes = tables.map(({ entry }) =>
      typeof entry === 'number' ? entry : described.structs[entry].size,
    );
    expect(sizes.filter((size) => !(size > 0))).toEqual([]);
  });

  it.each(jumpLabels)('has jump labels of %i bytes, a jump or a nop, that are told apart', (size) => {
    const mem = new GuestMemory({ heap: 1 << 16, stacks: 1, modules: 4 << 20, users: false });
    mem.map(SITE, 0x1000, PROT_READ | PROT_WRITE);
    for (const isJump of [true, false]) {
      const insn = isJump ? branches.jump(SITE, SITE + 0x40n, size) : branches.nop(size);
      expect(insn).toHaveLength(size);
      mem.writeBytes(SITE, insn);
      expect(branches.jumpLabelAt(mem, SITE)).toEqual({ size, isJump });
    }
  });

  it('has static calls that are calls, tail calls or nothing, all of one size', () => {
    const forms = [SITE + 0x40n, 0n].flatMap((func) =>
      [false, true].map((tail) => branches.staticCall(SITE, func, tail)),
    );
    expect(new Set(forms.map((form) => form.length)).size).toBe(1);
    expect(new Set(forms.map(String)).size).toBe(4);
  });
}

const shape = fc.record({ calls: fc.integer({ min: 1, max: 12 }), user: fc.boolean() });

function describeUnwinder({ makeStack, arch }: Contract, name: string, reliable: boolean): void {
  const entries = new Uint32Array(100);

  if (!reliable) {
    it('is refused as a whole, with the reason', () => {
      const { trace, task } = makeStack(name, { calls: 3, user: true });
      expect(trace.haveReliableStack).toBe(false);
      expect(trace.stackTraceSaveTskReliable(task, entries)).toBe(-38);
      expect(trace.explainTskReliable(task)).toMatchObject({ ok: false, errno: 38 });
    });
    return;
  }

  it('lists every caller of a task that is switched out, in order', () => {
    fc.assert(
      fc.property(shape, (what) => {
        const { trace, task, expected } = makeStack(name, what);
        const count = trace.stackTraceSaveTskReliable(task, entries);
        expect([...entries.subarray(0, Math.max(count, 0))]).toEqual(expected);
      }),
    );
  });

  it('goes through an interrupt of the kernel, or refuses it', () => {
    fc.assert(
      fc.property(shape, fc.nat(11), (what, at) => {
        const { trace, task, expected } = makeStack(name, { ...what, interruptedAt: at % what.calls });
        const count = trace.stackTraceSaveTskReliable(task, entries);
        if (arch.unwinders[name].byFrames) expect(count).toBe(-22);
        else expect([...entries.subarray(0, Math.max(count, 0))]).toEqual(expected);
      }),
    );
  });

  it('finds nothing, reliably, on a stack that is gone', () => {
    const { trace, task } = makeStack(name, { calls: 3, user: true });
    const zombie = { stackSlot: -1, onCpu: 0, spLo: task.spLo };
    expect(trace.stackTraceSaveTskReliable(zombie, entries)).toBe(0);
  });

  it('refuses a stack on which the address of a caller is none of kernel text, and says why', () => {
    fc.assert(
      fc.property(shape, fc.nat(), (what, at) => {
        const { trace, task, stack, locations } = makeStack(name, what);
        stack[locations[at % locations.length] / 4 + 1] = 0;
        expect(trace.stackTraceSaveTskReliable(task, entries)).toBe(-22);
        const said = trace.explainTskReliable(task, () => 'x');
        expect(said).toMatchObject({ ok: false, errno: 22 });
        expect(said.ok || said.reason).not.toMatch(/^$|no failure|%s/);
      }),
    );
  });

  it('refuses a stack of which a frame is missing: one that leads below itself', () => {
    fc.assert(
      fc.property(shape, (what) => {
        const { trace, task } = makeStack(name, what);
        // Far below all frames: what lies there was never written.
        const lost = { ...task, stackSlot: task.stackSlot, onCpu: 0, spLo: task.spLo - 0x1000 };
        expect(trace.stackTraceSaveTskReliable(lost, entries)).toBeLessThanOrEqual(0);
      }),
    );
  });

  it('ends, and reads nothing but the stack, whatever is on it', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.integer()), fc.integer({ min: 1, max: 200 }), (noise, count) => {
        const { trace, task, stack } = makeStack(name, { calls: 2, user: true });
        let at = stack.length;
        for (const value of noise) {
          stack[--at] = value;
          if (stack.length - at >= count) break;
        }
        const { unwinder } = trace;
        expect(steps(unwinder, task)).toBeLessThanOrEqual(0x4000);
      }),
      { numRuns: 200 },
    );
  });

  it('starts from registers of user mode at the end', () => {
    const { trace, task } = makeStack(name, { calls: 2, user: true });
    expect(trace.stackTraceSaveRegsReliable(task, userRegs(arch), entries)).toBe(0);
  });
}

function steps(unwinder: Unwinder, task: UnwindTask): number {
  let count = 0;
  for (unwinder.startInactive(task); !unwinder.done && count <= 0x4000; unwinder.next()) count++;
  return count;
}

/** Registers that are of user mode, whatever a port calls that: the first low half that it says so of. */
function userRegs({ ptRegs }: Arch): PtRegs {
  const regs = new Uint32Array(ptRegsSize(ptRegs) / 4);
  const low = Array.from({ length: 256 }, (_, i) => i).find((value) => ptRegs.mode.isUser(value));
  if (low === undefined) throw new Error('nothing is user mode');
  regs[ptRegsOffset(ptRegs, ptRegs.mode.word) / 4] = low;
  return regs;
}
