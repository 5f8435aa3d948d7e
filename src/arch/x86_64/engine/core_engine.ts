// The CPU port on the core of our own (../core): an interpreter in WebAssembly, whose linear memory holds the guest's RAM.
//
// Invariant: everything that guest code reaches is in that memory; of what stands beside RAM in it nothing has an address
// of the guest's.

import { type Addr, THREAD_SIZE } from '../../../guest/addr.ts';
import { type CpuContext, EngineError, type Stop, type StopKind } from '../../../guest/engine.ts';
import { type GuestMemory, PAGE_SIZE, type SharedAllocator } from '../../../guest/memory.ts';
import type { Observer } from '../../../guest/observer.ts';
import type { AddressWindow } from '../../../guest/windows.ts';
import {
  type FrameNotes,
  type FrameWords,
  NOTED,
  NOTED_CALL,
  NOTED_OTHER,
  type TaskWords,
  TrampolineNotes,
} from '../../blocks.ts';
import type { ArchEngine } from '../../engine.ts';
import * as K from '../core/kinds.ts';
import * as L from '../core/layout.ts';
import { writeGdt } from '../gdt.ts';
import { BlockCache } from './block_cache.ts';
import { CoreContext } from './core_context.ts';
import { CoreObserver } from './core_observer.ts';
import { type LinearMemory, leaveMemory, MOST_CONTEXTS, takeMemory } from './linear_memory.ts';
import { MachineInstructions, type Outcome } from './machine_instructions.ts';
import { MachineMemory } from './machine_memory.ts';
import type { IsTrampoline } from './translate/instruction.ts';
import type { CoreExports } from './wasm.ts';

/** Bits of core/memory.ts. */
const PAGE_USER = 8;
const MAPPED = 0x80;
/** Addresses from here on are the kernel's. */
const KERNEL_HALF = 1n << 63n;
/** The same of their upper halves. */
const KERNEL_HALF_HI = 0x80000000;
/** The register in a context. */
const RIP = 16;
const MOST_AT_ONCE = 0x7fffffff;

/** A STOP_ in the words of the CPU port. */
export const KINDS: readonly StopKind[] = [];
Object.assign(KINDS, {
  [K.STOP_BUDGET]: 'budget',
  [K.STOP_BLOCK_END]: 'budget',
  [K.STOP_HALT]: 'halt',
  [K.STOP_SYSCALL]: 'syscall',
  [K.STOP_TRAP]: 'trap',
  [K.STOP_UNDEFINED]: 'undefined instruction',
  [K.STOP_REFUSED]: 'refused',
  [K.STOP_PAGE_FAULT]: 'page fault',
  [K.STOP_PROTECTION]: 'exception',
  [K.STOP_DIVIDE]: 'exception',
  [K.STOP_SIMD]: 'floating point',
  [K.STOP_BREAKPOINT]: 'breakpoint',
  [K.STOP_WATCHED]: 'watchpoint',
});
/** An instruction that the engine does itself did not succeed. */
export const FAILED: Readonly<Record<Exclude<Outcome, 'done'>, StopKind>> = {
  undefined: 'undefined instruction',
  protection: 'exception',
  'page fault': 'page fault',
};
const ACCESSES = ['read', 'write', 'fetch'] as const;

/** What of an engine is beside memory. */
interface KeptEngine {
  readonly executed: number;
  readonly contexts: Uint8Array;
  /** Where vector code was decoded. */
  readonly vectors: Uint8Array | undefined;
  /** Which context's they are; -1: no one's. */
  readonly owner: number;
  /** Of each stack that has some. */
  readonly frames: readonly { readonly slot: number; readonly depth: number; readonly words: Uint32Array }[];
}

/** Of the second word of a noted frame (core/shadow.ts): an operation is this memory's alone. */
const WITHOUT_OPERATION = 31;

/** Words of the frames that are noted of a stack, from its top down. @param depth bytes */
function framesOf(slot: number, depth: number): [from: number, to: number] {
  const end = ((slot + 1) * THREAD_SIZE) / 4;
  return [end - 2 * Math.ceil(depth / 8), end];
}

export class CoreEngine implements ArchEngine, FrameNotes {
  #core!: CoreExports;
  #blocks!: BlockCache;
  #buffer!: ArrayBuffer;
  #view!: DataView;
  #bytes!: Uint8Array;
  #words!: Int32Array;
  /** Undefined once it was left to others. */
  #memory: LinearMemory | undefined;
  #memoryAccess!: MachineMemory;
  #pages = 0;
  /** Where those of the emulated CPUs lie, behind RAM, and how many there are. */
  #contextsAt = 0;
  #contexts = 0;
  /** Where frames are noted, and trampolines that the last run entered or left. */
  #frames!: FrameWords;
  #isTrampoline: IsTrampoline = () => false;
  readonly #noted = new TrampolineNotes();
  #apart = false;
  #observer: CoreObserver | undefined;
  readonly #machine = new MachineInstructions();
  /** Instructions of all runs that are over. */
  #executed = 0;
  readonly #stop: Stop = { kind: 'budget', executed: 0, faultAddr: 0n, access: 'read', unmapped: true };

  readonly #hasXsave: boolean;

  /** @param hasXsave CR4.OSXSAVE: a kernel without has no AVX, nor has what runs under it */
  constructor({ hasXsave = true } = {}) {
    this.#hasXsave = hasXsave;
  }

  readonly allocate: SharedAllocator = (bytes, stacks) => this.allocateMemory(bytes, stacks);

  protected allocateMemory(bytes: number, stacks = 0, take = takeMemory): ReturnType<SharedAllocator> {
    try {
      this.#memory = take(bytes, stacks);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new EngineError(
        `no ${Math.ceil(bytes / (1 << 20))} MiB of address space for guest memory: is there a limit (ulimit -v)? A smaller moduleArea or heap takes less`,
      );
    }
    const { ram, ramPages, pageBlocks, touched, contexts, frames, depths } = this.#memory.places;
    this.#core = this.#memory.core;
    this.#buffer = this.#memory.buffer;
    this.#view = new DataView(this.#buffer);
    this.#bytes = new Uint8Array(this.#buffer);
    this.#words = new Int32Array(this.#buffer);
    this.#memoryAccess = new MachineMemory(this.#core, this.#view);
    this.#pages = L.TABLES;
    this.#contextsAt = contexts;
    this.#set(L.RAM, ram);
    this.#set(L.PAGES, L.TABLES);
    this.#set(L.PAGE_BLOCKS, pageBlocks);
    this.#set(L.TOUCHED, touched);
    this.#set(L.RAM_PAGES, ramPages);
    this.#frames = {
      words: new Uint32Array(this.#buffer, frames, stacks / 4),
      depths: new Uint32Array(this.#buffer, depths, stacks / THREAD_SIZE),
    };
    this.#set(L.PROTECTION, this.#apart ? 1 : 0);
    this.#core.flushTlb();
    this.#blocks = new BlockCache(this.#core, this.#buffer, pageBlocks, ramPages, ram, this.#hasXsave);
    return { buffer: this.#buffer, start: ram, touched: this.#bytes.subarray(touched, touched + ramPages) };
  }

  windows(windows: readonly AddressWindow[]): void {
    windows.forEach(({ hi, lo, span, ram, stacks, spaces = 0 }, i) => {
      [hi, lo, span, ram, stacks ? 1 : spaces > 0 ? 2 : 0, spaces].forEach((word, k) => {
        this.#set(L.WINDOWS + i * L.WINDOW_SIZE + 4 * k, word);
      });
    });
    this.#set(L.WINDOW_COUNT, windows.length);
  }

  map(base: Addr, size: number, prot: number, ramOffset: number): void {
    this.#setPages(ramOffset, size, prot | MAPPED | (base < KERNEL_HALF ? PAGE_USER : 0));
  }
  unmap(base: Addr, size: number): void {
    const ram = this.#ramOf(base);
    this.#blocks.invalidate(ram, size);
    this.#setPages(ram, size, 0);
    this.#core.flushTlb();
  }
  protect(base: Addr, size: number, prot: number): void {
    const ram = this.#ramOf(base);
    this.#blocks.invalidate(ram, size);
    this.#setPages(ram, size, prot | MAPPED | (base < KERNEL_HALF ? PAGE_USER : 0));
    this.#core.flushTlb();
  }
  invalidate(_addr: Addr, size: number, ramOffset: number): void {
    this.#blocks.invalidate(ramOffset, size);
  }

  keepApart(): void {
    this.#apart = true;
    this.#machine.keepApart();
  }

  #setPages(ram: number, size: number, bits: number): void {
    const first = this.#pages + ram / PAGE_SIZE;
    this.#bytes.fill(bits, first, first + size / PAGE_SIZE);
  }
  #set(at: number, word: number): void {
    this.#view.setUint32(at, word, true);
  }
  /** The core itself, for what executes in it otherwise than in blocks of memory. */
  protected get parts(): { readonly core: CoreExports; readonly buffer: ArrayBuffer } {
    return { core: this.#core, buffer: this.#buffer };
  }
  #get(at: number): number {
    return this.#view.getUint32(at, true);
  }

  /** Offset in RAM of a mapped address. */
  #ramOf(addr: Addr): number {
    const ram = this.#core.ramOf(addr) >>> 0;
    if (ram === 0xffffffff) throw new EngineError(`no memory at 0x${addr.toString(16)}`);
    return ram;
  }

  /** Segments are flat and selectors fixed (core/system.ts): the GDT is there for who reads it. */
  loadTables(mem: GuestMemory, addressOf: (symbol: string) => Addr): void {
    writeGdt(mem, addressOf('gdt_page'));
  }

  newContext(): CpuContext {
    if (this.#contexts === MOST_CONTEXTS) throw new EngineError(`no more than ${MOST_CONTEXTS} contexts`);
    return new CoreContext(this.#buffer, this.#contextsAt + this.#contexts++ * L.CONTEXT_STRIDE);
  }

  keep(): KeptEngine {
    const { words, depths } = this.#frames;
    const owner = this.#get(L.VECTOR_OWNER);
    return {
      executed: this.#executed,
      contexts: this.#bytes.slice(this.#contextsAt, this.#contextsAt + this.#contexts * L.CONTEXT_STRIDE),
      vectors: this.#get(L.VECTOR_USED) === 0 ? undefined : this.#bytes.slice(L.ZMM, L.ZMM + L.VECTOR_SIZE),
      owner: owner === 0 ? -1 : (owner - this.#contextsAt) / L.CONTEXT_STRIDE,
      frames: Array.from(depths, (depth, slot) => ({ slot, depth }))
        .filter(({ depth }) => depth > 0)
        .map(({ slot, depth }) => ({
          slot,
          depth,
          words: words
            .slice(...framesOf(slot, depth))
            .map((word, i) => (i & 1 ? word & WITHOUT_OPERATION : word)),
        })),
    };
  }

  restore({ executed, contexts, vectors, owner, frames }: KeptEngine): void {
    this.#executed = executed;
    this.#bytes.set(contexts, this.#contextsAt);
    if (vectors) {
      this.#bytes.set(vectors, L.ZMM);
      this.#set(L.VECTOR_USED, 1);
      this.#set(L.VECTOR_OWNER, owner < 0 ? 0 : this.#contextsAt + owner * L.CONTEXT_STRIDE);
    }
    for (const { slot, depth, words } of frames) {
      this.#frames.depths[slot] = depth;
      this.#frames.words.set(words, framesOf(slot, depth)[0]);
    }
  }

  stopBefore(addr: Addr): void {
    this.#blocks.stopBefore(addr);
  }
  stopNowhere(): void {
    this.#blocks.stopNowhere();
  }

  run(context: CpuContext, max: number): Stop {
    return this.#counted(context as CoreContext, max, 0);
  }

  /** As run(), but to the end of a block at most. */
  runBlock(context: CpuContext, max: number): Stop {
    return this.#counted(context as CoreContext, max, 1);
  }

  #counted(context: CoreContext, max: number, oneBlock: 0 | 1): Stop {
    this.#noted.count = 0;
    const observer = this.#observer;
    const stop = observer?.isOn
      ? observer.run(context, max, oneBlock, this.#stop, (most, one, done) =>
          this.#run(context, most, one, done, observer),
        )
      : this.#run(context, max, oneBlock);
    this.#executed += stop.executed;
    return stop;
  }

  get observer(): Observer {
    this.#observer ??= new CoreObserver({ core: this.#core, view: this.#view, blocks: this.#blocks });
    return this.#observer;
  }

  get frames(): FrameWords {
    return this.#frames;
  }
  get trampolines(): TrampolineNotes {
    return this.#noted;
  }
  begin({ current, state }: TaskWords, isTrampoline: IsTrampoline): void {
    this.#set(L.FRAMES, this.#frames.words.byteOffset);
    this.#set(L.DEPTHS, this.#frames.depths.byteOffset);
    this.#set(L.CURRENT_TASK, current);
    this.#set(L.TASK_STATE, state);
    this.#isTrampoline = isTrampoline;
    this.#blocks.note(isTrampoline);
  }

  /** @param done instructions of the run that are executed already */
  #run(context: CoreContext, max: number, oneBlock: 0 | 1, done = 0, observer?: CoreObserver): Stop {
    const stop = this.#stop;
    let executed = done;
    for (;;) {
      const budget = Math.min(max - executed, MOST_AT_ONCE);
      observer?.runEndsAt(this.#executed + executed + budget);
      const why = this.#core.runContext(context.at, budget, oneBlock);
      if (this.#get(L.NOTE_COUNT) > 0) this.#takeNotes(executed + budget);
      executed += budget - this.#view.getInt32(L.LEFT, true);
      if (why === K.STOP_BUDGET && executed < max) continue;
      if (why === K.STOP_BLOCK_END && goesOn(context, oneBlock, executed < max)) continue;
      if (why === K.STOP_DECODE && this.#decode(context, stop)) {
        stop.executed = executed;
        return stop;
      }
      if (why === K.STOP_DECODE) continue;
      if (why === K.STOP_MACHINE) {
        if (this.#doForCore(context, stop, executed)) {
          executed++;
          if (executed < max && !oneBlock) continue;
          stop.kind = 'budget';
        }
        stop.executed = executed;
        return stop;
      }
      stop.kind = KINDS[why];
      stop.executed = executed;
      if (why === K.STOP_PAGE_FAULT) this.#explainFault(stop);
      return stop;
    }
  }

  /**
   * NOTED has the words in the core's order, who writes what is left of the budget where `executed` is.
   * @param budget instructions of the run that its notes count down from
   */
  #takeNotes(budget: number): void {
    const noted = this.#noted;
    const size = L.NOTE_SIZE / 4;
    const from = L.NOTES / 4;
    let to = noted.count * size;
    const end = from + this.#get(L.NOTE_COUNT) * size;
    noted.makeRoom(to + end - from);
    const { words } = noted;
    words.set(this.#words.subarray(from, end), to);
    // Text does not change meanwhile: of calls to the same place one is looked at.
    let target = 0;
    let isTrampoline = false;
    for (const last = to + end - from; to < last; to += size) {
      words[to + NOTED.executed] = budget - words[to + NOTED.executed];
      if (words[to] !== NOTED_CALL) continue;
      if (words[to + NOTED.target] !== target) {
        target = words[to + NOTED.target];
        isTrampoline = this.#isTrampoline(target >>> 0);
      }
      if (!isTrampoline) words[to] = NOTED_OTHER;
    }
    noted.count = to / size;
    this.#set(L.NOTE_COUNT, 0);
  }

  /** An instruction that is not the core's. @returns whether it is done; else the stop says what came of it */
  #doForCore(context: CoreContext, stop: Stop, executed: number): boolean {
    const rip = context.regs[RIP];
    const outcome = this.#machine.execute({
      context,
      executed: BigInt(this.#executed + executed),
      memory: this.#memoryAccess,
    });
    if (outcome === 'done') {
      this.#observer?.executed(context, rip);
      return true;
    }
    if (outcome === 'page fault') this.#explainFault(stop);
    stop.kind =
      outcome === 'page fault' && this.#get(L.STOP) === K.STOP_WATCHED ? 'watchpoint' : FAILED[outcome];
    return false;
  }

  /** Code that is executed for the first time is decoded. @returns whether the run ends: there is none */
  #decode(context: CoreContext, stop: Stop): boolean {
    if (this.#blocks.decode(context.regs[RIP], context.userMode)) return false;
    stop.kind = 'page fault';
    this.#explainFault(stop);
    return true;
  }

  #explainFault(stop: Stop): void {
    stop.faultAddr = this.#view.getBigUint64(L.STOP_ADDR, true);
    stop.access = ACCESSES[this.#get(L.STOP_ACCESS)];
    stop.unmapped = this.#get(L.STOP_UNMAPPED) !== 0;
  }

  close(): void {
    if (this.#memory) leaveMemory(this.#memory);
    this.#memory = undefined;
  }
}

/**
 * Whether a run goes on behind a block at whose end the core stopped: there was no more room for notes, or user mode is
 * back; but not in the kernel's text, which is to be told of first.
 */
function goesOn({ userMode, halves }: CoreContext, oneBlock: 0 | 1, isLeft: boolean): boolean {
  return oneBlock === 0 && isLeft && !(userMode && halves[2 * RIP + 1] >= KERNEL_HALF_HI);
}
