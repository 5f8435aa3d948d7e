// Executes a CPU for a number of instructions: runs the engine, and serves what ends a run.
// What ends a run is a halt, whose meaning is known here, or hardware's to serve (src/arch/processor.ts).

import type { IdleLoop } from '../../arch/idle.ts';
import { lo32 } from '../../guest/addr.ts';
import type { Engine, Stop } from '../../guest/engine.ts';
import type { Observer } from '../../guest/observer.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Cpu } from './cpu.ts';
import type { HostCallDispatch } from './hostcall_dispatch.ts';
import type { Pace } from './pace.ts';
import type { WatchedExecutor } from './watching.ts';

/** Instructions between two looks at whether interrupts are let in, while one waits for it. */
const PENDING_CHUNK = 16;

/** High half from which on addresses are the kernel's. */
const KERNEL_HALF = 0x80000000;

export class Executor {
  readonly #engine: Engine;
  readonly #core: KernelCore;
  readonly #host: HostCallDispatch;
  readonly #watched: WatchedExecutor | undefined;
  readonly #pace: Pace;
  /** The idle loop's halt, and what is behind it: low halves. */
  readonly #idleHalt: number;
  readonly #idleWoken: number;
  /** Where the low half of the PC is in a context's halves. */
  readonly #pc: number;
  /** Instructions executed since boot, on all CPUs. */
  instructions = 0;
  /** A run is left when as many have been executed; what is left of it is `rest`. */
  stopAt = Number.POSITIVE_INFINITY;
  /** What is left of a run that was left at stopAt: its budget, and when it would have looked at interrupts. */
  rest: { readonly left: number; readonly look: number } | undefined;
  /** From this many instructions on, onSteer is asked before each step. */
  steerAt = Number.POSITIVE_INFINITY;
  /** onSteer is asked before each step, wherever it is. */
  steersAlways = false;
  /** What a schedule does to a CPU (steering.ts). @returns whether it did anything; it may move steerAt */
  onSteer: (cpu: Cpu) => boolean = () => false;
  /** Told of a breakpoint or watchpoint of the engine's observer; the CPU's slice is over. */
  onObserved: ((cpu: Cpu, kind: 'breakpoint' | 'watchpoint') => void) | undefined;

  constructor(
    engine: Engine,
    core: KernelCore,
    host: HostCallDispatch,
    pace: Pace,
    idle: IdleLoop,
    watched: WatchedExecutor | undefined,
  ) {
    this.#engine = engine;
    this.#core = core;
    this.#host = host;
    this.#watched = watched;
    this.#pace = pace;
    this.#idleHalt = lo32(idle.halt);
    this.#idleWoken = lo32(idle.woken);
    this.#pc = 2 * core.arch.context.pc;
  }

  /** How far it is, where no run was left in its midst. */
  keep(): number | undefined {
    return this.rest === undefined ? this.instructions : undefined;
  }
  restore(kept: number): void {
    this.instructions = kept;
  }

  /** What of execution can be observed; undefined where the engine cannot. */
  get observer(): Observer | undefined {
    return this.#engine.observer;
  }

  /** Executes up to `budget` instructions; fewer when the CPU halts or wakes another. @returns how many. */
  run(cpu: Cpu, budget: number): number {
    cpu.sliceOver = false;
    this.rest = undefined;
    return this.#run(cpu, budget, budget);
  }

  /** Goes on with what is left of a run. @param most instructions */
  goOn(cpu: Cpu, most: number): number {
    const { left, look } = this.rest ?? { left: 0, look: 0 };
    this.rest = undefined;
    const cut = Math.max(0, left - most);
    return this.#run(cpu, left - cut, Math.max(0, look - cut));
  }

  /**
   * @param from how much is left when pending interrupts are looked at next. The shadow stack makes runs shorter, and must
   *   not make interrupts come earlier.
   */
  #run(cpu: Cpu, budget: number, from: number): number {
    let left = budget;
    let look = from;
    while (left > 0 && !cpu.halted && !cpu.sliceOver) {
      if ((this.steersAlways || this.instructions >= this.steerAt) && this.onSteer(cpu)) {
        look = left;
        if (cpu.sliceOver) break;
      }
      if (this.instructions >= this.stopAt) {
        this.rest = { left, look };
        break;
      }
      if (left <= look) {
        this.#deliverPending(cpu);
        const waiting = cpu.tickPending || cpu.reschedulePending;
        look = waiting ? Math.max(0, left - PENDING_CHUNK) : 0;
      }
      const max = Math.min(left - look, this.#toNextStop());
      const stop = this.#execute(cpu, max);
      left -= stop.executed;
      cpu.clock += stop.executed * this.#pace.ns;
      this.instructions += stop.executed;
      if (stop.kind !== 'budget') {
        this.#serve(cpu, stop);
        // To be observed changes nothing.
        if (stop.kind !== 'breakpoint' && stop.kind !== 'watchpoint') look = left;
      }
    }
    return budget - left;
  }

  /** Instructions to where somebody wants to look. */
  #toNextStop(): number {
    const { instructions, steerAt, stopAt } = this;
    // Of those that are behind, one is for another CPU.
    return Math.min(
      steerAt > instructions ? steerAt - instructions : Number.POSITIVE_INFINITY,
      stopAt - instructions,
    );
  }

  #execute(cpu: Cpu, max: number): Stop {
    if (!cpu.context.userMode)
      return this.#watched ? this.#watched.run(cpu, max) : this.#engine.run(cpu.context, max);
    return cpu.context.halves[this.#pc + 1] >= KERNEL_HALF
      ? this.#userInKernelText(cpu)
      : this.#engine.run(cpu.context, max);
  }

  /** The engine does not keep user mode out of the kernel's pages. */
  #userInKernelText(cpu: Cpu): Stop {
    return {
      kind: 'page fault',
      executed: 0,
      faultAddr: cpu.pc,
      access: 'fetch',
      unmapped: !this.#core.mem.isMapped(cpu.pc),
    };
  }

  /** Interrupts that wait are taken as soon as the CPU lets them in. */
  #deliverPending(cpu: Cpu): void {
    if (!cpu.tickPending && !cpu.reschedulePending) return;
    if (!cpu.processor.interruptsOn) return;
    if (cpu.context.halves[this.#pc] === this.#idleHalt) return;
    // Stores that wait become visible before an interrupt is taken.
    this.#engine.observer?.release(cpu.context);
    if (this.#core.choices.choose('ipi', 2) === 1) return;
    if (cpu.tickPending) {
      cpu.tickPending = false;
      cpu.processor.interrupt('timer');
    } else {
      cpu.reschedulePending = false;
      cpu.processor.interrupt('reschedule');
    }
  }

  #serve(cpu: Cpu, stop: Stop): void {
    switch (stop.kind) {
      case 'halt':
        if (!this.#host.dispatch(cpu)) this.#halt(cpu);
        return;
      case 'budget':
        return;
      case 'breakpoint':
      case 'watchpoint':
        cpu.sliceOver = true;
        this.onObserved?.(cpu, stop.kind);
        return;
      default:
        cpu.processor.enter(stop);
    }
  }

  /** In the idle loop it waits for whatever comes; elsewhere the tick goes on. With interrupts off it is the end. */
  #halt(cpu: Cpu): void {
    if (!cpu.processor.interruptsOn) cpu.stop();
    else if (!cpu.tickPending && !cpu.reschedulePending)
      cpu.halt(cpu.context.halves[this.#pc] === this.#idleWoken ? undefined : cpu.nextTick);
  }
}
