// One emulated CPU: its context, its hardware, its clock, and whether it has anything to do.

import type { Processor } from '../../arch/processor.ts';
import { type Addr, lo32, STACK_HI } from '../../guest/addr.ts';
import type { CpuContext } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';

export class Cpu {
  readonly id: number;
  readonly context: CpuContext;
  /** How it enters the kernel. */
  readonly processor: Processor;
  /** Virtual ns that this CPU has lived through. */
  clock = 0;
  /** In the instruction that halts: executes nothing until an interrupt. */
  halted = false;
  /** When it goes on by itself, while halted outside of the idle loop, which alone stops the tick (virtual ns). */
  wakesAt: number | undefined;
  /** Halted with interrupts off: executes nothing any more. */
  stopped = false;
  /** Stands still until then (virtual ns), or until no other CPU has anything to do. */
  heldUntil: number | undefined;
  /** What is to be done before it goes on. */
  beforeGoingOn: (() => void) | undefined;
  /** Interrupts that wait to be let in. */
  tickPending = false;
  reschedulePending = false;
  /** Another CPU was woken: it may have a turn now. */
  sliceOver = false;
  /** When the next tick comes (virtual ns), while not halted. */
  nextTick: number;
  readonly #pc: number;
  readonly #sp: number;

  /** @param interrupted told of each entry by an interrupt or exception: where its struct pt_regs begins */
  constructor(
    id: number,
    context: CpuContext,
    core: KernelCore,
    nextTick: number,
    interrupted: (regs: Addr) => void,
  ) {
    this.id = id;
    this.context = context;
    this.nextTick = nextTick;
    const { arch } = core;
    this.processor = arch.makeProcessor({ id, context, kernel: core, interrupted });
    this.#pc = arch.context.pc;
    this.#sp = arch.context.sp;
  }

  get pc(): Addr {
    return this.context.regs[this.#pc];
  }
  set pc(value: Addr) {
    this.context.regs[this.#pc] = value;
    this.context.touch();
  }
  get sp(): Addr {
    return this.context.regs[this.#sp];
  }

  /** Halts with interrupts on. */
  halt(wakesAt: number | undefined): void {
    this.halted = true;
    this.wakesAt = wakesAt;
  }

  /** Halts with interrupts off. */
  stop(): void {
    this.halted = true;
    this.stopped = true;
  }

  wake(): void {
    if (this.stopped) return;
    this.halted = false;
    this.wakesAt = undefined;
  }

  /** Index of the stack slot it is on; -1 when it is on no task stack. */
  stackSlot(): number {
    const { halves } = this.context;
    const sp = 2 * this.#sp;
    return halves[sp + 1] === STACK_HI ? lo32(this.sp - 1n) >>> 15 : -1;
  }
}
