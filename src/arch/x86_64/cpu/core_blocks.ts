// Kernel code on the core of our own, block by block: it says itself how a block ended.

import { lo32 } from '../../../guest/addr.ts';
import type { CpuContext, Stop } from '../../../guest/engine.ts';
import type { GuestMemory } from '../../../guest/memory.ts';
import type { KernelBlocks } from '../../blocks.ts';
import { REG } from '../context.ts';
import type { CoreEngine } from '../engine/core_engine.ts';

export class CoreBlocks implements KernelBlocks {
  readonly #engine: CoreEngine;
  readonly #mem: GuestMemory;

  constructor(engine: CoreEngine, mem: GuestMemory) {
    this.#engine = engine;
    this.#mem = mem;
  }

  get effect(): number {
    return this.#engine.effect;
  }
  run(context: CpuContext, max: number): Stop {
    return this.#engine.runBlock(context, max);
  }
  /** A call has pushed it. */
  returnSlot({ halves }: CpuContext): number {
    return halves[2 * REG.rsp];
  }
  returnAddress({ regs }: CpuContext): number {
    return lo32(this.#mem.readU64(regs[REG.rsp]));
  }
  unmap(): void {}
}
