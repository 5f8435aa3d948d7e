// Constants in the code of a function: what it hands to those that it calls, and which state it sleeps in.

import type { CodeArch } from '../arch/code.ts';
import { INSN_JUMP, INSN_JUMP_CONDITIONAL } from '../arch/code.ts';
import type { TextRun } from '../callgraph/calls.ts';
import type { CallGraph } from '../callgraph/graph.ts';
import type { Constants } from '../kernel/description.ts';
import { type SleepState, stateArgument } from './sleeps.ts';

/** Jumps of a function to places of its own that lie before them. */
interface Loop {
  readonly from: number;
  readonly to: number;
}

export class CodeReader {
  readonly #graph: CallGraph;
  readonly #runs: readonly TextRun[];
  readonly #code: CodeArch;
  readonly #current: number;
  readonly #state: number;
  readonly #constants: Constants;

  /** @param state offset of the state in a task_struct */
  constructor(
    graph: CallGraph,
    runs: readonly TextRun[],
    code: CodeArch,
    kernel: { readonly current: number; readonly state: number; readonly constants: Constants },
  ) {
    this.#graph = graph;
    this.#runs = runs;
    this.#code = code;
    this.#current = kernel.current;
    this.#state = kernel.state;
    this.#constants = kernel.constants;
  }

  /** Low half of an argument of the call at a place; undefined where it is no constant. */
  argumentAt(func: number, at: number, index: number): number | undefined {
    let found: number | undefined;
    this.#read(func, (address, argument) => {
      if (address === at) found = argument(index);
    });
    return found;
  }

  /** The state that a function sleeps in, by what its code sets; undefined where it sets none, or several. */
  stateIn(func: number): SleepState | undefined {
    const states = new Set<SleepState>();
    const setters = new Map<number, number>();
    for (const { to, at } of this.#graph.callees(func)) {
      const index = stateArgument(this.#graph.name(to));
      if (index !== undefined) setters.set(at, index);
    }
    let unknown = false;
    const note = (value: number): void => {
      const state = this.#stateOf(value);
      if (state) states.add(state);
    };
    this.#read(
      func,
      (address, argument) => {
        const index = setters.get(address);
        if (index === undefined) return;
        const value = argument(index);
        if (value === undefined) unknown = true;
        else note(value);
      },
      (offset, value) => {
        if (offset === this.#state) note(value);
      },
    );
    return unknown || states.size !== 1 ? undefined : [...states][0];
  }

  #stateOf(value: number): SleepState | undefined {
    const { TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_WAKEKILL } = this.#constants;
    if (value & TASK_INTERRUPTIBLE) return 'interruptible';
    if ((value & TASK_UNINTERRUPTIBLE) === 0) return undefined;
    return value & TASK_WAKEKILL ? 'killable' : 'uninterruptible';
  }

  loops(func: number): Loop[] {
    const loops: Loop[] = [];
    this.#jumps(func, (from, to) => {
      if (to <= from && to >= this.#graph.start(func)) loops.push({ from, to });
    });
    return loops;
  }

  #jumps(func: number, note: (from: number, to: number) => void): void {
    const decoder = this.#code.decoder();
    this.#pieces(func, ({ bytes, start }, from, to) => {
      for (let at = from; at < to; ) {
        decoder.decode(bytes, at - start);
        const { type, length, target } = decoder;
        if (type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL) note(at, start + target);
        at += length || 1;
      }
    });
  }

  /**
   * Each instruction, with what registers hold before it.
   * @param stores told of each constant that was stored in the running task
   */
  #read(
    func: number,
    note: (address: number, argument: (index: number) => number | undefined) => void,
    stores: (offset: number, value: number) => void = () => {},
  ): void {
    const targets = new Set<number>();
    this.#jumps(func, (_, to) => targets.add(to));
    const reader = this.#code.constants(this.#current);
    this.#pieces(func, ({ bytes, start }, from, to) => {
      reader.forget();
      for (let at = from; at < to; ) {
        if (targets.has(at)) reader.forget();
        note(at, (index) => reader.argument(index));
        const length = reader.step(bytes, at - start, at);
        if (reader.stored) stores(reader.stored.offset, reader.stored.value);
        at += length || 1;
      }
    });
  }

  #pieces(func: number, each: (run: TextRun, from: number, to: number) => void): void {
    for (const piece of [func, ...this.#graph.coldParts(func)]) {
      const [from, to] = [this.#graph.start(piece), this.#graph.end(piece)];
      const run = this.#runs.find(({ start, bytes }) => from >= start && to <= start + bytes.length);
      if (run) each(run, from, to);
    }
  }
}
