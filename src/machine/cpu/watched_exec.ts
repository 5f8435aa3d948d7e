// Executes kernel code with the ground truth on: every call and return is noted, and calls of patched functions are told.
// Mirrors nothing of the kernel's: it is the ground truth for the unwinders and for transitions.
//
// Two ways, as the engine is: it notes frames itself (NotedExecutor), or a block at a time is looked at (ShadowExecutor).
// Invariant: who is told of calls and blocks is told before what ended the run is served, and by the clock of its time.

import { type FrameNotes, NOTED, NOTED_CALL, NOTED_OTHER, NOTED_WORDS } from '../../arch/blocks.ts';
import { fromHalves, lo32 } from '../../guest/addr.ts';
import type { Engine, Stop } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { OrcLookup } from '../../unwind/orc_lookup.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import type { Cpu } from './cpu.ts';
import type { Pace } from './pace.ts';
import { ShadowExecutor } from './shadow_exec.ts';
import type { BlockSink, TrampolineCalls, WatchedExecutor } from './watching.ts';

/** Makes a sink the one that is told; without the ground truth nobody is. */
export function blockSink(executor: WatchedExecutor | undefined): (sink: BlockSink) => void {
  return (sink) => {
    if (executor) executor.onBlock = sink;
  };
}

/** As the engine allows it. Nothing was executed yet. */
export function watchedExecutor(
  core: KernelCore,
  engine: Engine,
  shadow: ShadowStacks,
  lookup: OrcLookup,
  calls: TrampolineCalls,
  pace: Pace,
): WatchedExecutor {
  const notes = core.arch.execution.notes?.(engine);
  if (notes) return new NotedExecutor(core, notes, lookup, calls, pace);
  const executor = new ShadowExecutor(core, engine, shadow, lookup, calls);
  core.mem.attach(executor.blocks);
  return executor;
}

class NotedExecutor implements WatchedExecutor {
  readonly #core: KernelCore;
  readonly #notes: FrameNotes;
  readonly #calls: TrampolineCalls;
  readonly #pace: Pace;
  /** Where the low half of the PC is in a context's halves. */
  readonly #pc: number;
  /** Bytes of the call at an fentry site. */
  readonly #callSize: number;
  onBlock: BlockSink | undefined;

  constructor(core: KernelCore, notes: FrameNotes, lookup: OrcLookup, calls: TrampolineCalls, pace: Pace) {
    this.#core = core;
    this.#notes = notes;
    this.#calls = calls;
    this.#pace = pace;
    this.#pc = 2 * core.arch.context.pc;
    this.#callSize = core.arch.fentry.size;
    const { percpu, kernel } = core;
    const task = {
      current: lo32(percpu.address('current_task', 0) - percpu.base[0]),
      state: kernel.structs.task_struct.fields.patch_state,
    };
    notes.begin(task, (lo) => lookup.ftraceTrampoline(lo) !== 0);
  }

  run(cpu: Cpu, max: number): Stop {
    const pc = cpu.context.halves[this.#pc];
    const stop = this.onBlock ? this.#notes.runBlock(cpu.context, max) : this.#notes.run(cpu.context, max);
    this.onBlock?.(pc, stop.executed);
    if (this.#notes.trampolines.count > 0) this.#tell(cpu);
    return stop;
  }

  #tell(cpu: Cpu): void {
    const began = cpu.clock;
    const { words, count } = this.#notes.trampolines;
    // Most are of one task: it is looked for once.
    let [task, hi, lo]: [TaskStruct | undefined, number, number] = [undefined, 0, 0];
    for (let note = 0; note < count * NOTED_WORDS; note += NOTED_WORDS) {
      const what = words[note];
      if (what === NOTED_OTHER) continue;
      cpu.clock = began + words[note + NOTED.executed] * this.#pace.ns;
      const slot = words[note + NOTED.slot];
      const address = words[note + NOTED.address];
      const state = words[note + NOTED.state];
      if (what === NOTED_CALL) {
        this.#calls.entered(state, slot, (address - this.#callSize) | 0);
        continue;
      }
      if (!task || lo !== words[note + NOTED.taskLo] || hi !== words[note + NOTED.taskHi]) {
        hi = words[note + NOTED.taskHi];
        lo = words[note + NOTED.taskLo];
        task = this.#taskAt(cpu, hi, lo);
      }
      this.#calls.left(task, state, slot, address);
    }
    cpu.clock = began;
  }

  #taskAt(cpu: Cpu, hi: number, lo: number): TaskStruct {
    const { tasks } = this.#core;
    return tasks.byAddr(fromHalves(hi, lo)) ?? tasks.curr[cpu.id];
  }
}
