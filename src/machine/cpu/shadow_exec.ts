// Executes kernel code on an engine that does not note frames itself: block by block, so that every call and return is
// seen.
//
// Between two control transfers nothing changes which frames are live, so blocks are enough; user mode
// runs at full speed.

import { CALLED, INTERRUPT_RETURNED, type KernelBlocks, NO_EFFECT, RETURNED } from '../../arch/blocks.ts';
import type { Engine, Stop } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { OrcLookup } from '../../unwind/orc_lookup.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import type { Cpu } from './cpu.ts';
import type { BlockSink, TrampolineCalls, WatchedExecutor } from './watching.ts';

export class ShadowExecutor implements WatchedExecutor {
  readonly #core: KernelCore;
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
    this.#core = core;
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
        if (this.#lookup.ftraceTrampoline(halves[this.#pc]) !== 0) {
          this.#calls.entered(this.#core.current(cpu.id).patchState, cpu.stackSlot(), ret - this.#callSize);
        }
        return;
      }
      case RETURNED:
        this.#shadow.ret(halves[this.#sp]);
        if (this.#lookup.ftraceTrampoline(from) !== 0) {
          const task = this.#core.current(cpu.id);
          this.#calls.left(task, task.patchState, cpu.stackSlot(), halves[this.#pc]);
        }
        return;
      case INTERRUPT_RETURNED:
        // Back to user mode the kernel stack is empty; in the kernel the interrupted one goes on.
        if (!context.userMode) this.#shadow.interruptReturned(halves[this.#sp]);
        return;
    }
  }
}
