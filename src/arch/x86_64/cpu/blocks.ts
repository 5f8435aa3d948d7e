// Kernel code on an engine that translates ahead, block by block: of each it is known how many instructions it has and
// what ends it. Text is looked at before the engine translates it: a block before it runs, and where an indirect branch
// leads to before it is taken (IndirectBranches).

import { lo32, MODULES_VADDR } from '../../../guest/addr.ts';
import type { CpuContext, Engine, Stop } from '../../../guest/engine.ts';
import type { GuestMemory } from '../../../guest/memory.ts';
import { blockLength, FLOW_CALL, FLOW_CALL_INDIRECT, FLOW_IRET, FLOW_RET } from '../../../isa/decoder.ts';
import { CALLED, INTERRUPT_RETURNED, type KernelBlocks, NO_EFFECT, RETURNED } from '../../blocks.ts';
import { REG } from '../context.ts';
import { IndirectBranches, type IndirectEnd, indirectEnd } from './indirect_branches.ts';
import { TextGuard } from './text_guard.ts';

interface Block {
  readonly instructions: number;
  readonly effect: number;
  /** Holds a rep prefix: the engine counts each repetition, so it is stepped. */
  readonly repeats: boolean;
  readonly indirect: IndirectEnd | undefined;
}

/** Below it, in the kernel's half, is the image. */
const MODULES_LO = lo32(MODULES_VADDR);
/** Bytes of text looked at for one block: longer straight runs are done in pieces. */
const WINDOW = 256;
const NO_BLOCK: Block = { instructions: 0, effect: NO_EFFECT, repeats: false, indirect: undefined };

const EFFECTS: Readonly<Record<number, number>> = {
  [FLOW_CALL]: CALLED,
  [FLOW_CALL_INDIRECT]: CALLED,
  [FLOW_RET]: RETURNED,
  [FLOW_IRET]: INTERRUPT_RETURNED,
};

export class X86Blocks implements KernelBlocks {
  readonly #engine: Engine;
  readonly #mem: GuestMemory;
  /** By low half of the address; text changes empty it. */
  readonly #blocks = new Map<number, Block>();
  readonly #guard: TextGuard;
  readonly #branches: IndirectBranches;
  effect = NO_EFFECT;

  constructor(engine: Engine, mem: GuestMemory) {
    this.#engine = engine;
    this.#mem = mem;
    this.#guard = new TextGuard(engine, mem);
    this.#branches = new IndirectBranches(engine, mem, this.#guard);
  }

  invalidate(): void {
    this.#blocks.clear();
    this.#guard.textChanged();
  }
  unmap(): void {
    this.invalidate();
  }

  run(context: CpuContext, max: number): Stop {
    const rip = context.halves[2 * REG.rip];
    let block = this.#blocks.get(rip);
    if (!block) {
      block = this.#decode(context.regs[REG.rip], rip);
      this.#blocks.set(rip, block);
    }
    const want = block.repeats || block.instructions === 0 ? 1 : block.instructions;
    const stop =
      block.indirect && max >= want
        ? this.#branches.run(context, want, block.indirect)
        : this.#engine.run(context, Math.min(want, max));
    const ended = stop.kind === 'budget' && stop.executed === block.instructions && !block.repeats;
    this.effect = ended ? block.effect : NO_EFFECT;
    return stop;
  }

  /** A call has pushed it. */
  returnSlot({ halves }: CpuContext): number {
    return halves[2 * REG.rsp];
  }
  returnAddress({ regs }: CpuContext): number {
    return this.#mem.readU32(regs[REG.rsp]);
  }

  #decode(rip: bigint, lo: number): Block {
    this.#guard.look(rip);
    let size = WINDOW;
    while (size > 0 && !this.#mem.isMapped(rip, size)) size >>= 1;
    if (size === 0) return NO_BLOCK;
    const bytes = this.#mem.view(rip, size);
    const { instructions, kind, repeats, last } = blockLength(bytes, 0, lo);
    return {
      instructions,
      effect: EFFECTS[kind] ?? NO_EFFECT,
      repeats,
      indirect: repeats ? undefined : indirectEnd(bytes, kind, last, lo < MODULES_LO),
    };
  }
}
