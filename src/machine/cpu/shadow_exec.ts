// Executes kernel code with the shadow stack on: block by block, so that every call and return is seen.
// Mirrors nothing of the kernel's: it is the ground truth for the unwinders and for transitions.
//
// Between two control transfers nothing changes which frames are live, so blocks are enough; user mode
// runs at full speed.

import { CALLED, INTERRUPT_RETURNED, type KernelBlocks, NO_EFFECT, RETURNED } from '../../arch/blocks.ts';
import type { Engine, Stop } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { OrcLookup } from '../../unwind/orc_lookup.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import type { Cpu } from './cpu.ts';

/** Who wants to know of calls through ftrace trampolines. Addresses by their low halves. */
interface TrampolineCalls {
  entered(cpu: number, slot: number, site: number): void;
  left(cpu: number, slot: number, target: number): void;
}

/** Told of each block that was executed: low half of its address, instructions. */
export type BlockSink = (pc: number, executed: number) => void;

/** Makes a sink the one that is told; without the shadow stack nobody is. */
export function blockSink(executor: ShadowExecutor | undefined): (sink: BlockSink) => void {
  return (sink) => {
    if (executor) executor.onBlock = sink;
  };
}

export class ShadowExecutor {
  readonly blocks: KernelBlocks;
  readonly #lookup: OrcLookup;
  readonly #shadow: ShadowStacks;
  readonly #calls: TrampolineCalls;
  /** Where the low halves of the PC and the stack pointer are in a context's halves. */
  readonly #pc: number;
  readonly #sp: number;
  /** Bytes of the call at an fentry site. */
  readonly #callSize: number;
  onBlock: BlockSink | undefined;

  constructor(
    core: KernelCore,
    engine: Engine,
    shadow: ShadowStacks,
    lookup: OrcLookup,
    calls: TrampolineCalls,
  ) {
    this.blocks = core.arch.execution.blocks(engine, core.mem);
    this.#lookup = lookup;
    this.#shadow = shadow;
    this.#calls = calls;
    this.#pc = 2 * core.arch.context.pc;
    this.#sp = 2 * core.arch.context.sp;
    this.#callSize = core.arch.fentry.size;
  }

  /** One block, or the part of it that fits. */
  run(cpu: Cpu, max: number): Stop {
    const pc = cpu.context.halves[this.#pc];
    const stop = this.blocks.run(cpu.context, max);
    this.onBlock?.(pc, stop.executed);
    if (this.blocks.effect !== NO_EFFECT) this.#note(cpu, this.blocks.effect, pc);
    return stop;
  }

  /** @param from low half of the address at which the block began. */
  #note(cpu: Cpu, effect: number, from: number): void {
    const { context } = cpu;
    const { halves } = context;
    switch (effect) {
      case CALLED: {
        const ret = this.blocks.returnAddress(context);
        this.#shadow.call(this.blocks.returnSlot(context), ret);
        if (this.#lookup.ftraceTrampoline(halves[this.#pc]) !== 0)
          this.#calls.entered(cpu.id, cpu.stackSlot(), ret - this.#callSize);
        return;
      }
      case RETURNED:
        this.#shadow.ret(halves[this.#sp]);
        if (this.#lookup.ftraceTrampoline(from) !== 0)
          this.#calls.left(cpu.id, cpu.stackSlot(), halves[this.#pc]);
        return;
      case INTERRUPT_RETURNED:
        // Back to user mode the kernel stack is empty; in the kernel the interrupted one goes on.
        if (!context.userMode) this.#shadow.interruptReturned(halves[this.#sp]);
        return;
    }
  }
}
