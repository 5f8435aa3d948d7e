// The ground truth that the core notes while it runs, on code that is made at random and executed, against what one step
// at a time shows.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NOTED, NOTED_CALL, NOTED_OTHER, NOTED_WORDS } from '../../../../src/arch/blocks.ts';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { PT_REGS } from '../../../../src/arch/x86_64/pt_regs.ts';
import { fromHalves, hi32, lo32, MODULES_VADDR, PAGE_OFFSET, STACK_HI } from '../../../../src/guest/addr.ts';
import type { CpuContext } from '../../../../src/guest/engine.ts';
import { GuestMemory, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../../../src/guest/memory.ts';
import { ShadowStacks } from '../../../../src/unwind/shadow.ts';

const TEXT = MODULES_VADDR + 0x1000n;
const TRAMPOLINE = MODULES_VADDR + 0x9000n;
const HANDLER = TRAMPOLINE + 0x800n;
const PER_CPU = PAGE_OFFSET;
const TASK = PAGE_OFFSET + 0x1000n;
const CURRENT = 0x40;
const STATE = 0x80;
const SLOT = 2;
const STACK = fromHalves(STACK_HI, SLOT * 0x8000 + 0x4000);
const TOP = STACK + 0x4000n;
const HLT = 0xf4;

class Bench {
  readonly engine = new CoreEngine();
  readonly mem = new GuestMemory({ heap: 1 << 20, stacks: 4, modules: 1 << 20 }, this.engine.allocate);
  readonly shadow: ShadowStacks;
  readonly context: CpuContext;

  constructor(code: readonly number[], { noted = true, user = false } = {}) {
    const { engine, mem } = this;
    mem.attach(engine);
    mem.map(STACK, 0x4000, PROT_READ | PROT_WRITE);
    mem.map(STACK + 0x8000n, 0x4000, PROT_READ | PROT_WRITE);
    mem.map(PER_CPU, 0x2000, PROT_READ | PROT_WRITE);
    mem.map(TEXT, 0x9000, PROT_READ | PROT_EXEC);
    mem.pokeText(TEXT, Uint8Array.from(code));
    this.shadow = new ShadowStacks({ words: mem.stackWords }, PT_REGS, engine.frames);
    const inTrampoline = (lo: number): boolean => lo - lo32(TRAMPOLINE) >= 0 && lo - lo32(TRAMPOLINE) < 0x100;
    if (noted) engine.begin({ current: CURRENT, state: STATE }, inTrampoline);
    mem.writeU64(PER_CPU + BigInt(CURRENT), TASK);
    this.context = engine.newContext();
    this.context.perCpuBase = PER_CPU;
    this.context.setUserMode(user);
    this.start();
  }

  start(sp = TOP): void {
    this.context.regs[REG.rip] = TEXT;
    this.context.regs[REG.rsp] = sp;
    this.context.touch();
  }

  /** Locations and pushed addresses of the live frames of a stack, innermost first. */
  frames(slot = SLOT): string[] {
    return this.shadow.frames(slot).map((f) => `${f.location.toString(16)}: ${f.pushed.toString(16)}`);
  }
}

/** What one step at a time shows: calls push, returns free. */
class Model {
  readonly bench: Bench;
  #live: { location: number; pushed: number }[] = [];

  constructor(code: readonly number[]) {
    this.bench = new Bench(code, { noted: false });
  }

  /** @returns whether the code goes on */
  step(): boolean {
    const { mem, context, engine } = this.bench;
    const opcode = mem.view(context.regs[REG.rip], 1)[0];
    if (engine.run(context, 1).kind !== 'budget') return false;
    const sp = context.regs[REG.rsp];
    if (opcode === 0xe8 || opcode === 0xff) {
      this.#live = this.#live.filter(({ location }) => location > lo32(sp));
      this.#live.unshift({ location: lo32(sp), pushed: mem.readU32(sp) });
    } else if (opcode === 0xc3 || opcode === 0xc2) {
      this.#live = this.#live.filter(({ location }) => location >= lo32(sp));
    }
    return true;
  }

  frames(): string[] {
    return this.#live.map((f) => `${f.location.toString(16)}: ${f.pushed.toString(16)}`);
  }
}

const PUSH = [0x50];
const POP = [0x59];
const SUB_40 = [0x48, 0x83, 0xec, 0x28];
const ADD_40 = [0x48, 0x83, 0xc4, 0x28];
const SUB_3 = [0x48, 0x83, 0xec, 0x03];
const ADD_3 = [0x48, 0x83, 0xc4, 0x03];
const NOP = [0x90];
const RET = [0xc3];
const RET_16 = [0xc2, 16, 0];
const SIZE = 0x200;

/** What a function is made of: pairs around each other, and calls of functions behind it. */
type Piece = 'push' | 'locals' | 'odd' | 'call' | 'indirect' | 'dropped' | 'nop';
const PAIRS: Partial<Record<Piece, [number[], number[]]>> = {
  push: [PUSH, POP],
  locals: [SUB_40, ADD_40],
  odd: [SUB_3, ADD_3],
};

/** Functions of SIZE bytes one behind the other; `dropsArguments` returns over two words that its caller pushed. */
function assemble(functions: readonly (readonly Piece[])[]): number[] {
  const code: number[] = [];
  const last = functions.length;
  functions.forEach((pieces, index) => {
    const at = index * SIZE;
    const body: number[] = [];
    const undo: number[][] = [];
    const callee = (target: number): number[] => {
      const by = target * SIZE - (at + body.length + 5);
      return [0xe8, by & 0xff, (by >> 8) & 0xff, (by >> 16) & 0xff, (by >> 24) & 0xff];
    };
    for (const piece of pieces) {
      const pair = PAIRS[piece];
      if (pair) {
        body.push(...pair[0]);
        undo.push(pair[1]);
      } else if (piece === 'nop') body.push(...NOP);
      else if (piece === 'dropped') {
        body.push(...PUSH, ...PUSH);
        body.push(...callee(last + 1));
      } else if (piece === 'indirect') {
        // lea rax, [rip + to the next function]; call rax
        const by = Math.min(index + 1, last) * SIZE - (at + body.length + 7);
        body.push(0x48, 0x8d, 0x05, by & 0xff, (by >> 8) & 0xff, 0, 0, 0xff, 0xd0);
      } else body.push(...callee(Math.min(index + 1, last)));
    }
    body.push(...undo.reverse().flat(), ...(index === 0 ? [HLT] : RET));
    body.forEach((byte, i) => {
      code[at + i] = byte;
    });
  });
  // Called by the last of them: one that returns, and one that drops what was pushed for it.
  RET.forEach((byte, i) => {
    code[last * SIZE + i] = byte;
  });
  RET_16.forEach((byte, i) => {
    code[(last + 1) * SIZE + i] = byte;
  });
  return Array.from(code, (byte) => byte ?? 0x90);
}

const piece = fc.constantFrom<Piece>('push', 'locals', 'odd', 'call', 'call', 'indirect', 'dropped', 'nop');
const program = fc
  .array(fc.array(piece, { maxLength: 5 }), { minLength: 1, maxLength: 5 })
  .map((functions) => assemble(functions));

describe('the frames that the core notes', () => {
  it('are those that one step at a time shows, wherever a run ends', () => {
    fc.assert(
      fc.property(
        program,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
        (code, sizes) => {
          const model = new Model(code);
          const bench = new Bench(code);
          for (let i = 0, goesOn = true; goesOn; i++) {
            const { executed, kind } = bench.engine.run(bench.context, sizes[i % sizes.length]);
            for (let n = 0; n < executed && goesOn; n++) goesOn = model.step();
            expect(bench.frames()).toEqual(model.frames());
            expect(bench.context.regs[REG.rsp]).toBe(model.bench.context.regs[REG.rsp]);
            if (kind !== 'budget') break;
          }
          expect(bench.frames()).toEqual([]);
          bench.engine.close();
          model.bench.engine.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('are gone with the stack pointer that is set anew, when the next call overwrites them', () => {
    // call +0; lea rsp, [rsp+16]; call +0; hlt: the first frame is jumped over, the second lies where it was or above
    const code = [0x50, 0x50, 0xe8, 0, 0, 0, 0, 0x48, 0x8d, 0x64, 0x24, 0x10, 0xe8, 0, 0, 0, 0, HLT];
    const bench = new Bench(code);
    bench.engine.run(bench.context, 100);
    expect(bench.frames()).toEqual([`${lo32(TOP - 16n).toString(16)}: ${lo32(TEXT + 17n).toString(16)}`]);
  });

  it('are each stack’s own', () => {
    // call +0; add rsp, 0x8000 (the next slot's stack); call +0; hlt
    const code = [0xe8, 0, 0, 0, 0, 0x48, 0x81, 0xc4, 0, 0x80, 0, 0, 0xe8, 0, 0, 0, 0, HLT];
    const bench = new Bench(code);
    bench.engine.run(bench.context, 100);
    expect(bench.frames(SLOT)).toHaveLength(1);
    expect(bench.frames(SLOT + 1)).toHaveLength(1);
  });

  it('lie among those that the host notes of interrupts, which a return from one takes away', () => {
    // call f; hlt; f: nop; nop; ret; at 0x20 the handler: call +0; pop rcx; iretq
    const code = new Array<number>(0x40).fill(0x90);
    [0xe8, 1, 0, 0, 0, HLT, 0x90, 0x90, 0xc3].forEach((byte, i) => {
      code[i] = byte;
    });
    [0xe8, 0, 0, 0, 0, 0x59, 0x48, 0xcf].forEach((byte, i) => {
      code[0x20 + i] = byte;
    });
    const bench = new Bench(code);
    const { engine, mem, context, shadow } = bench;
    const { regs } = context;
    engine.run(context, 2);
    const [rip, rsp] = [regs[REG.rip], regs[REG.rsp]];
    expect(bench.frames()).toHaveLength(1);
    const frame = (rsp & ~15n) - 40n;
    mem.writeWords(frame, [rip, 0x10n, 2n, rsp, 0x18n]);
    shadow.interrupt(lo32(frame) - 128);
    regs[REG.rip] = TEXT + 0x20n;
    regs[REG.rsp] = frame;
    context.touch();
    engine.run(context, 1);
    expect(shadow.frames(SLOT).map((f) => f.kind)).toEqual(['call', 'regs', 'call']);
    engine.run(context, 2);
    expect(regs[REG.rip]).toBe(rip);
    expect(bench.frames()).toHaveLength(1);
    expect(engine.run(context, 10).kind).toBe('halt');
    expect(bench.frames()).toEqual([]);
  });

  it('lead a return to what is behind its call now, when that was changed meanwhile', () => {
    // call f; mov al, 1; hlt; f: nop; ret
    const bench = new Bench([0xe8, 3, 0, 0, 0, 0xb0, 1, HLT, 0x90, 0xc3]);
    const { engine, mem, context } = bench;
    engine.run(context, 100);
    bench.start();
    engine.run(context, 2);
    mem.pokeText(TEXT + 5n, Uint8Array.of(0xb0, 2));
    expect(engine.run(context, 100).kind).toBe('halt');
    expect(context.regs[REG.rax] & 0xffn).toBe(2n);
    // And to where the return address says, when a trampoline has replaced it.
    bench.start();
    engine.run(context, 2);
    mem.writeU64(context.regs[REG.rsp], TEXT + 7n);
    expect(engine.run(context, 100)).toMatchObject({ kind: 'halt', executed: 2 });
  });

  it('are none of user mode’s, and none where nobody wants them', () => {
    const code = [0xe8, 0, 0, 0, 0, 0xeb, 0xfe];
    for (const how of [{ noted: false }, { user: true }]) {
      const bench = new Bench(code, how);
      expect(bench.engine.run(bench.context, 10).executed).toBe(10);
      expect(bench.frames()).toEqual([]);
    }
  });
});

describe('calls through a trampoline', () => {
  /** A function whose site calls the trampoline, in a loop; the trampoline pushes, calls, and returns. */
  function traced(): Bench {
    const by = Number(TRAMPOLINE - (TEXT + 5n));
    const bench = new Bench([0xe8, by & 0xff, (by >> 8) & 0xff, 0, 0, 0x48, 0xff, 0xc3, 0xeb, 0xf6]);
    // push rax; call the handler, which is a ret outside of it; pop rcx; ret
    bench.mem.pokeText(TRAMPOLINE, Uint8Array.of(0x50, 0xe8, 0xfa, 0x07, 0, 0, 0x59, 0xc3));
    bench.mem.pokeText(HANDLER, Uint8Array.of(0xc3));
    bench.mem.writeU32(TASK + BigInt(STATE), 7);
    return bench;
  }
  function notesOf({ trampolines: { words, count } }: Bench['engine']) {
    const notes = Array.from({ length: count }, (_, i) => words.subarray(i * NOTED_WORDS));
    return notes
      .filter((note) => note[NOTED.what] !== NOTED_OTHER)
      .map((note) => ({
        what: note[NOTED.what] === NOTED_CALL ? 'entered' : 'left',
        executed: note[NOTED.executed],
        slot: note[NOTED.slot],
        address: note[NOTED.address] >>> 0,
        taskHi: note[NOTED.taskHi] >>> 0,
        taskLo: note[NOTED.taskLo] >>> 0,
        state: note[NOTED.state],
      }));
  }
  const ENTERED = {
    what: 'entered',
    slot: SLOT,
    address: lo32(TEXT + 5n),
    taskHi: hi32(TASK),
    taskLo: lo32(TASK),
    state: 7,
  };
  const LEFT = {
    what: 'left',
    slot: SLOT,
    address: lo32(TEXT + 5n),
    taskHi: hi32(TASK),
    taskLo: lo32(TASK),
    state: 7,
  };

  it('are told with the task, its state, and what the run had executed before the block that did it', () => {
    const { engine, context } = traced();
    // A round is call, push, call, ret, pop, ret, inc, jmp.
    engine.run(context, 16);
    expect(notesOf(engine)).toEqual([
      { ...ENTERED, executed: 0 },
      { ...LEFT, executed: 4 },
      { ...ENTERED, executed: 8 },
      { ...LEFT, executed: 12 },
    ]);
  });

  it('are told with the state of their time, which the same run may change', () => {
    const bench = traced(); // a round is seven instructions then
    // behind the call: movb [rdx], 9; jmp to the start
    bench.mem.pokeText(TEXT + 5n, Uint8Array.of(0xc6, 0x02, 9, 0xeb, 0xf6));
    bench.context.regs[REG.rdx] = TASK + BigInt(STATE);
    bench.engine.run(bench.context, 16);
    expect(notesOf(bench.engine).map((n) => n.state)).toEqual([7, 7, 9, 9]);
  });

  it('are told all, in their order, however many a run makes', () => {
    const { engine, context } = traced();
    let rounds = 0;
    for (let left = 8 * 1000; left > 0; ) {
      left -= engine.run(context, left).executed;
      for (const { what, executed } of notesOf(engine)) {
        expect(what).toBe(rounds % 2 === 0 ? 'entered' : 'left');
        expect(executed).toBeGreaterThanOrEqual(0);
        rounds++;
      }
    }
    expect(rounds).toBe(2000);
  });

  it('are told of calls through a register too, and of no other call into modules', () => {
    const bench = traced();
    // call rdx: the trampoline; call rsi: a ret
    bench.mem.pokeText(TEXT, Uint8Array.of(0xff, 0xd2, 0xff, 0xd6, 0xeb, 0xfa));
    bench.context.regs[REG.rdx] = TRAMPOLINE;
    bench.context.regs[REG.rsi] = HANDLER;
    bench.engine.run(bench.context, 9);
    expect(notesOf(bench.engine).map((n) => [n.what, n.address])).toEqual([
      ['entered', lo32(TEXT + 2n)],
      ['left', lo32(TEXT + 2n)],
    ]);
  });
});
