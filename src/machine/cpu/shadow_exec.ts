// Executes kernel code with the shadow stack on: block by block, so that every call and return is seen.
// Mirrors nothing of the kernel's: it is the ground truth for the unwinders and for transitions.
//
// Between two control transfers nothing changes which frames are live, so blocks are enough; user mode
// runs at full speed. It is also where text is looked at before the engine translates it: a block before it runs, and
// where an indirect branch leads to before it is taken (IndirectBranches).

import { REG } from '../../arch/x86_64/context.ts';
import { lo32, MODULES_VADDR } from '../../guest/addr.ts';
import type { Engine, Stop } from '../../guest/engine.ts';
import type { GuestMemory, MapListener } from '../../guest/memory.ts';
import { blockLength, FLOW_CALL, FLOW_CALL_INDIRECT, FLOW_IRET, FLOW_RET } from '../../isa/decoder.ts';
import type { OrcLookup } from '../../unwind/orc_lookup.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import type { Cpu } from './cpu.ts';
import { IndirectBranches, type IndirectEnd, indirectEnd } from './indirect_branches.ts';
import { TextGuard } from './text_guard.ts';

interface Block {
  readonly instructions: number;
  readonly kind: number;
  /** Holds a rep prefix: the engine counts each repetition, so it is stepped. */
  readonly repeats: boolean;
  readonly indirect: IndirectEnd | undefined;
}

/** Who wants to know of calls through ftrace trampolines. Addresses by their low halves. */
interface TrampolineCalls {
  entered(cpu: number, slot: number, site: number): void;
  left(cpu: number, slot: number, target: number): void;
}

/** e8 rel32: call */
const CALL_SIZE = 5;
/** Below it, in the kernel's half, is the image. */
const MODULES_LO = lo32(MODULES_VADDR);
/** Bytes of text looked at for one block: longer straight runs are done in pieces. */
const WINDOW = 256;

export class ShadowExecutor implements MapListener {
  readonly #engine: Engine;
  readonly #mem: GuestMemory;
  readonly #shadow: ShadowStacks;
  readonly #lookup: OrcLookup;
  readonly #calls: TrampolineCalls;
  /** Called with each block that was executed: low half of its address, instructions. */
  onBlock: ((rip: number, executed: number) => void) | undefined;
  /** By low half of the address; text changes empty it. */
  readonly #blocks = new Map<number, Block>();
  readonly #guard: TextGuard;
  readonly #branches: IndirectBranches;

  constructor(
    engine: Engine,
    mem: GuestMemory,
    shadow: ShadowStacks,
    lookup: OrcLookup,
    calls: TrampolineCalls,
  ) {
    this.#engine = engine;
    this.#mem = mem;
    this.#shadow = shadow;
    this.#lookup = lookup;
    this.#calls = calls;
    this.#guard = new TextGuard(engine, mem);
    this.#branches = new IndirectBranches(engine, mem, this.#guard);
  }

  /** Text was changed. */
  invalidate(): void {
    this.#blocks.clear();
    this.#guard.textChanged();
  }

  unmap(): void {
    this.invalidate();
  }

  /** One block, or the part of it that fits. */
  run(cpu: Cpu, max: number): Stop {
    const { context } = cpu;
    const rip = context.halves[2 * REG.rip];
    let block = this.#blocks.get(rip);
    if (!block) {
      block = this.#decode(cpu.pc, rip);
      this.#blocks.set(rip, block);
    }
    const want = block.repeats || block.instructions === 0 ? 1 : block.instructions;
    const stop =
      block.indirect && max >= want
        ? this.#branches.run(context, want, block.indirect)
        : this.#engine.run(context, Math.min(want, max));
    this.onBlock?.(rip, stop.executed);
    const ended = stop.kind === 'budget' && stop.executed === block.instructions && !block.repeats;
    if (ended) this.#note(cpu, block.kind, rip);
    return stop;
  }

  /** @param from low half of the address at which the block began. */
  #note(cpu: Cpu, kind: number, from: number): void {
    const { halves } = cpu.context;
    const sp = halves[2 * REG.rsp];
    switch (kind) {
      case FLOW_CALL:
      case FLOW_CALL_INDIRECT: {
        const ret = this.#mem.readU32(cpu.sp);
        this.#shadow.call(sp, ret);
        if (this.#lookup.ftraceTrampoline(halves[2 * REG.rip]) !== 0)
          this.#calls.entered(cpu.id, cpu.stackSlot(), ret - CALL_SIZE);
        return;
      }
      case FLOW_RET:
        this.#shadow.ret(sp);
        if (this.#lookup.ftraceTrampoline(from) !== 0)
          this.#calls.left(cpu.id, cpu.stackSlot(), halves[2 * REG.rip]);
        return;
      case FLOW_IRET:
        // Back to user mode the kernel stack is empty; in the kernel the interrupted one goes on.
        if (!cpu.context.userMode) this.#shadow.iret(sp);
        return;
    }
  }

  #decode(rip: bigint, lo: number): Block {
    this.#guard.look(rip);
    let size = WINDOW;
    while (size > 0 && !this.#mem.isMapped(rip, size)) size >>= 1;
    if (size === 0) return { instructions: 0, kind: 0, repeats: false, indirect: undefined };
    const bytes = this.#mem.view(rip, size);
    const { instructions, kind, repeats, last } = blockLength(bytes, 0, lo);
    return {
      instructions,
      kind,
      repeats,
      indirect: repeats ? undefined : indirectEnd(bytes, kind, last, lo < MODULES_LO),
    };
  }
}
