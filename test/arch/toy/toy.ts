// The port to the made-up architecture: what makes it a second one is that nothing here is as on x86_64. A site is eight
// bytes and lies behind its function's address, calls leave their return address in a register, text is changed in one
// store, hardware pushes three words, and there is no unwinder whose trace could be relied upon.

import type { Arch } from '../../../src/arch/arch.ts';
import {
  CALLED,
  INTERRUPT_RETURNED,
  type KernelBlocks,
  NO_EFFECT,
  RETURNED,
} from '../../../src/arch/blocks.ts';
import type { ContextRegisters } from '../../../src/arch/context.ts';
import type { FentrySite } from '../../../src/arch/fentry.ts';
import type { HostStubs } from '../../../src/arch/host_stubs.ts';
import { sourcesIn } from '../../../src/arch/image_sources.ts';
import type { GuestImage } from '../../../src/arch/kernel_side.ts';
import type { FirstStack, Interrupt, Processor, ProcessorParts } from '../../../src/arch/processor.ts';
import type { PtRegsLayout } from '../../../src/arch/pt_regs.ts';
import type { Threads } from '../../../src/arch/threads.ts';
import type { TrampolineCode } from '../../../src/arch/trampoline.ts';
import type { Varargs } from '../../../src/arch/varargs.ts';
import type { AsmImage } from '../../../src/asm/assembler.ts';
import { type Addr, lo32 } from '../../../src/guest/addr.ts';
import type { CpuContext, Engine, Stop } from '../../../src/guest/engine.ts';
import type { GuestMemory } from '../../../src/guest/memory.ts';
import { GuessUnwinder } from '../../../src/unwind/unwind_guess.ts';
import { TOY_ASSEMBLER } from './assembly.ts';
import { ToyEngine } from './engine.ts';
import { decode, encode, INSN_SIZE, type Insn, R, STATUS_IRQ, STATUS_USER, type ToyRegister } from './isa.ts';
import { madeSources } from './made_sources.ts';
import { distance, ELF_MACHINE, MODULE_TEXT } from './module_text.ts';

const SIZE = BigInt(INSN_SIZE);

const CONTEXT: ContextRegisters = {
  pc: R.pc,
  sp: R.sp,
  result: R.r0,
  args: [R.r0, R.r1, R.r2, R.r3, R.r4, R.r5],
  save({ halves }, into) {
    PT_REGS.words.forEach((name, i) => {
      const register = R[name === 'orig_r0' ? 'r0' : (name as ToyRegister)];
      into[2 * i] = halves[2 * register];
      into[2 * i + 1] = halves[2 * register + 1];
    });
  },
};

/** As the entry code of asm/entry.s lays it out; the last three are what hardware pushes. */
const PT_REGS: PtRegsLayout = {
  words: [
    ...['r0', 'r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8', 'r9'],
    ...['t', 'lr', 'orig_r0', 'pc', 'status', 'sp'],
  ],
  pc: 'pc',
  sp: 'sp',
  fp: undefined,
  link: 'lr',
  args: ['r0', 'r1', 'r2', 'r3', 'r4', 'r5'],
  syscallArgs: ['r0', 'r2', 'r3', 'r4', 'r5', 'r6'],
  result: 'r0',
  hardware: 'pc',
  mode: { word: 'status', isUser: (low) => (low & STATUS_USER) !== 0 },
};
const word = (name: string): bigint => BigInt(8 * PT_REGS.words.indexOf(name));
const PUSHED = BigInt(8 * PT_REGS.words.length) - word('pc');

const FENTRY: FentrySite = {
  size: INSN_SIZE,
  nop: encode('add'),
  entry: '__fentry__',
  maxOffset: INSN_SIZE,
  landingPad: () => undefined,
  call: (site, target) => encode('bl', { a: R.lr, imm: distance(site, target) }),
  target(site, bytes) {
    const insn = decode(bytes);
    return insn?.op === 'bl' && insn.a === R.lr
      ? BigInt.asUintN(64, site + SIZE + BigInt(insn.imm))
      : undefined;
  },
};

const TRAMPOLINE: TrampolineCode = {
  caller: { name: 'ftrace_caller', call: 'ftrace_call', others: ['ftrace_caller_op_ptr'] },
  regsCaller: { name: 'ftrace_regs_caller', call: 'ftrace_regs_call', others: ['ftrace_regs_caller_op_ptr'] },
  extra: INSN_SIZE,
  make({ size, call, others: [opPtr] }, template, start, ops, handler) {
    const code = new Uint8Array(size + INSN_SIZE);
    code.set(template);
    // The template loads the ops' address from function_trace_op, in two instructions: here it is in them.
    code.set(encode('li', { a: R.r2, imm: lo32(ops) | 0 }), opPtr);
    code.set(encode('hi', { a: R.r2, imm: Number(ops >> 32n) | 0 }), opPtr + INSN_SIZE);
    code.set(FENTRY.call(start + BigInt(call), handler), call);
    return code;
  },
};

const VECTORS = {
  syscall: 'toy_entry_syscall',
  timer: 'toy_entry_timer',
  reschedule: 'toy_entry_reschedule',
  fault: 'toy_entry_fault',
};

class ToyProcessor implements Processor {
  readonly #parts: ProcessorParts;
  readonly #vectors: Readonly<Record<keyof typeof VECTORS, Addr>>;
  faultAddress: Addr = 0n;

  constructor(parts: ProcessorParts) {
    this.#parts = parts;
    const at = Object.entries(VECTORS).map(([name, symbol]) => [name, parts.kernel.symbols.require(symbol)]);
    this.#vectors = Object.fromEntries(at);
  }

  get interruptsOn(): boolean {
    return (Number(this.#parts.context.regs[R.status]) & STATUS_IRQ) !== 0;
  }
  set interruptsOn(on: boolean) {
    const { regs } = this.#parts.context;
    regs[R.status] = on ? regs[R.status] | BigInt(STATUS_IRQ) : regs[R.status] & ~BigInt(STATUS_IRQ);
  }

  start({ sp, top }: FirstStack): void {
    const { id, context, kernel } = this.#parts;
    context.regs.fill(0n);
    context.regs[R.pc] = kernel.symbols.require('secondary_startup_64');
    context.regs[R.sp] = sp;
    context.perCpuBase = kernel.percpu.base[id];
    kernel.percpu.writeU64('cpu_current_top_of_stack', id, top);
  }

  interrupt(which: Interrupt): void {
    this.#enter(this.#vectors[which]);
  }
  enter(stop: Stop): void {
    if (stop.kind === 'syscall') this.#enter(this.#vectors.syscall, false);
    else {
      if (stop.kind === 'page fault') this.faultAddress = stop.faultAddr;
      this.#enter(this.#vectors.fault);
    }
  }
  readFault(addr: Addr): void {
    this.faultAddress = addr;
    this.#enter(this.#vectors.fault);
  }

  /** pc, status and sp are pushed, on the kernel's stack. */
  #enter(handler: Addr, told = true): void {
    const { id, context, kernel, interrupted } = this.#parts;
    const { regs } = context;
    const top = context.userMode ? kernel.percpu.readU64('cpu_current_top_of_stack', id) : regs[R.sp];
    const at = top - PUSHED;
    kernel.mem.writeWords(at, [regs[R.pc], regs[R.status], regs[R.sp]]);
    regs[R.status] = 0n;
    regs[R.sp] = at;
    regs[R.pc] = handler;
    if (told) interrupted(at - word('pc'));
  }
}

/** Bytes below its caller's stack pointer at which a function that calls keeps its lr (ENTER of asm/kernel.inc). */
const SAVED_LR = 48;
/** Instructions of a block that nothing ends. */
const LONGEST = 32;

class ToyBlocks implements KernelBlocks {
  readonly #engine: Engine;
  readonly #mem: GuestMemory;
  effect = NO_EFFECT;

  constructor(engine: Engine, mem: GuestMemory) {
    this.#engine = engine;
    this.#mem = mem;
  }

  run(context: CpuContext, max: number): Stop {
    const [length, effect] = this.#block(context.regs[R.pc]);
    const stop = this.#engine.run(context, Math.min(length, max));
    this.effect = stop.kind === 'budget' && stop.executed === length ? effect : NO_EFFECT;
    return stop;
  }
  returnSlot({ halves }: CpuContext): number {
    return (halves[2 * R.sp] - SAVED_LR) >>> 0;
  }
  returnAddress({ halves }: CpuContext): number {
    return halves[2 * R.lr];
  }
  invalidate(): void {}
  unmap(): void {}
  map(): void {}
  protect(): void {}

  /**
   * The call of a site: what it calls returns through t, with the traced function's own return address in lr again.
   * Nothing sleeps or is preempted in between, so no frame of it is ever looked for.
   */
  #isSite(at: Addr): boolean {
    if (!this.#mem.isMapped(at - SIZE, INSN_SIZE)) return false;
    const before = decode(this.#mem.view(at - SIZE, INSN_SIZE));
    return before?.op === 'add' && before.a === R.t && before.b === R.lr;
  }

  /** How many instructions there are to the first that leads elsewhere, and what that does to the frames. */
  #block(from: Addr): [number, number] {
    for (let i = 1; i <= LONGEST; i++) {
      const at = from + SIZE * BigInt(i - 1);
      const insn = this.#mem.isMapped(at, INSN_SIZE) ? decode(this.#mem.view(at, INSN_SIZE)) : undefined;
      if (!insn) return [i, NO_EFFECT];
      const effect = effectOf(insn);
      if (effect !== undefined) return [i, this.#isSite(at) ? NO_EFFECT : effect];
    }
    return [LONGEST, NO_EFFECT];
  }
}

/** undefined for an instruction that the next one follows. */
function effectOf({ op, a, b }: Insn): number | undefined {
  switch (op) {
    case 'bl':
      return a === R.lr ? CALLED : NO_EFFECT;
    case 'br':
      if (a === R.lr) return CALLED;
      return b === R.lr ? RETURNED : NO_EFFECT;
    case 'iret':
      return INTERRUPT_RETURNED;
    case 'beq':
    case 'bne':
    case 'wait':
    case 'sys':
    case 'brk':
      return NO_EFFECT;
    default:
      return undefined;
  }
}

/** In bytes from the first wait of HOST_BODY in asm/kernel.inc. */
const HOST_STUBS: HostStubs = {
  offsets: { entered: 8, call: 8, returned: 24, relax: 24, relaxed: 40, ret: 40 },
  callee: R.t,
  frameBytes: () => SAVED_LR,
  returnAddress: (mem, _context, sp) => mem.readU64(sp - BigInt(SAVED_LR)),
  find(image) {
    const text = image.sections.find((section) => section.name === '.text');
    const body = [
      encode('add', { a: R.sp, b: R.sp, imm: -SAVED_LR }),
      encode('st', { a: R.lr, b: R.sp, c: 8 }),
      encode('wait'),
    ];
    const found = new Map<string, Addr>();
    for (const { name, addr, section, type } of image.symbols) {
      if (section !== '.text' || type !== 'func' || !text) continue;
      const at = Number(addr - text.addr);
      for (const start of [at, at + 2 * INSN_SIZE]) {
        const fits = body.every((insn, i) =>
          insn.every((byte, j) => text.bytes[start + i * INSN_SIZE + j] === byte),
        );
        if (fits && start < at + symbolSize(image, name))
          found.set(name, text.addr + BigInt(start + 2 * INSN_SIZE));
      }
    }
    return found;
  },
};
const symbolSize = (image: GuestImage, name: string): number =>
  image.symbols.find((symbol) => symbol.name === name)?.size ?? 0;

/** More than six arguments are not passed here. */
const VARARGS: Varargs = {
  callArgs(_mem, call, fixed) {
    let next = fixed;
    return () => call.args[next++] ?? 0n;
  },
  // Nothing traps with arguments here.
  trapArgs: () => () => 0n,
  vaCopy: (mem, list) => VARARGS.vaList(mem, list),
  vaList(mem, list) {
    let at = list;
    return () => {
      at += 8n;
      return mem.readU64(at - 8n);
    };
  },
};

/** What __switch_to_asm of asm/sched.s takes from the stack: r6 to r9, lr and a word to spare. */
const [FRAME_FN, FRAME_ARG, FRAME_LR, FRAME_SIZE] = [0n, 8n, 32n, 48n];

const THREADS: Threads = {
  firstReturn: Number(FRAME_LR),
  firstFrame(mem, regs, { returnTo, fn, arg }) {
    const frame = regs - FRAME_SIZE;
    mem.fill(frame, Number(FRAME_SIZE), 0);
    mem.writeU64(frame + FRAME_FN, fn);
    mem.writeU64(frame + FRAME_ARG, arg);
    mem.writeU64(frame + FRAME_LR, returnTo);
    return frame;
  },
  startUser(mem, regs, entry, sp) {
    mem.writeU64(regs + word('pc'), entry);
    mem.writeU64(regs + word('status'), BigInt(STATUS_USER | STATUS_IRQ));
    mem.writeU64(regs + word('sp'), sp);
  },
  forked(mem, regs, sp) {
    mem.writeU64(regs + word('r0'), 0n);
    if (sp !== 0n) mem.writeU64(regs + word('sp'), sp);
  },
  moveUserStack(mem, regs, from, size, to) {
    const sp = mem.readU64(regs + word('sp'));
    if (sp >= from && sp <= from + BigInt(size)) mem.writeU64(regs + word('sp'), sp - from + to);
  },
};

const SIGSEGV = 11;

/**
 * The port.
 * @param like an image of another port: host functions and data that the machine goes by are the same here, and of no
 * port's own making.
 */
export function toyPort(like: AsmImage): Arch {
  return {
    name: 'toy',
    elf: ELF_MACHINE,
    makeEngine: () => new ToyEngine(),
    context: CONTEXT,
    imageSources: (root) => [...sourcesIn(root, 'test/arch/toy/asm'), ...madeSources(root, like)],
    assembler: async () => TOY_ASSEMBLER,
    code: undefined,
    checking: undefined,
    loadDisassembler: () => Promise.reject(new Error('the toy has no disassembler')),
    longestInsn: INSN_SIZE,
    moduleText: MODULE_TEXT,
    ptRegs: PT_REGS,
    showRegs: {
      dieHeader: (what, error, count, build) => [`${what}:`, error, `[#${count}]`, ...build].join(' '),
      lines(read, where, partial) {
        const [pc, user] = [read('pc'), PT_REGS.mode.isUser(Number(read('status')))];
        const words = PT_REGS.words.slice(partial ? PT_REGS.words.indexOf(PT_REGS.hardware) : 0);
        const lines = words.map((name) => `${name}: ${read(name).toString(16)}`);
        return [`PC: ${where.pc(pc, user)}`, ...where.code(pc, user), ...lines];
      },
      system: () => [],
      pcIn: (lines) => /^PC: (.*)$/m.exec(lines)?.[1],
    },
    fentry: FENTRY,
    trampoline: TRAMPOLINE,
    poking: { breakpoint: undefined },
    makeProcessor: (parts) => new ToyProcessor(parts),
    execution: {
      blocks: (engine, mem) => new ToyBlocks(engine, mem),
      sweep: () => ({ map() {}, unmap() {}, protect() {}, invalidate() {} }),
    },
    hostStubs: HOST_STUBS,
    varargs: VARARGS,
    findIdleLoop(image) {
      const idle = image.symbols.find((symbol) => symbol.name === 'default_idle');
      if (!idle) throw new Error('the image has no idle loop');
      return { halt: idle.addr + SIZE, woken: idle.addr + 2n * SIZE };
    },
    defineTraps: (kernel) =>
      kernel.host.define('toy_fault', (call) => {
        kernel.die(call.cpu, call.args[0], 'fault', 0);
        return SIGSEGV;
      }),
    threads: THREADS,
    unwinders: {
      none: {
        reliable: false,
        byFrames: false,
        make: ({ arena, lookup }) => new GuessUnwinder(arena, lookup, PT_REGS),
      },
    },
  };
}
