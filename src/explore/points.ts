// Where an order of events can matter to livepatch: its points, found by running a scenario once and looking.
//
// An instruction that accesses what livepatch reads and writes without a lock (livepatch_data.ts) is a point, and so is the
// start of each block of a trampoline, and of those of the gate's functions behind which its queue is accessed. A part of a host function is one, at its end, when it has changed any of that, or text,
// the set of functions that are traced, of modules or of tasks; and where a CPU is given to another task.

import type { Addr } from '../guest/addr.ts';
import type { Observer } from '../guest/observer.ts';
import type { EventType } from '../kernel/events.ts';
import { LivepatchData } from '../machine/livepatch_data.ts';
import type { Machine } from '../machine/machine.ts';

/** What a point accesses, by the object's name. */
export type Touched = Readonly<Record<string, 'read' | 'write'>>;

/** As plain data: it goes from one thread to others. */
export interface Points {
  /** Instructions of kernel and modules, by address. */
  readonly text: ReadonlyMap<Addr, Touched>;
  /** Offsets from the start of a trampoline. */
  readonly trampoline: ReadonlySet<number>;
  /** Host functions by name. */
  readonly host: ReadonlyMap<string, Touched>;
}

/** What tells that a host function has changed something that others see. */
export const CHANGES: readonly EventType[] = [
  'poke',
  'ftrace',
  'module',
  'klp_module',
  'task',
  'patch_state',
  'transition',
  'gate',
];

/** The host function that gives the CPU to another task: a point where it does. */
export const SWITCHES = 'pick_next_task';

/** Looks at a machine while it runs; nothing of its run changes. */
export class Learner {
  readonly #machine: Machine;
  readonly #observer: Observer;
  readonly #data: LivepatchData;
  readonly #text = new Map<Addr, Record<string, 'read' | 'write'>>();
  readonly #trampoline = new Set<number>();
  readonly #host = new Map<string, Record<string, 'read' | 'write'>>([[SWITCHES, {}]]);
  #changed: string | undefined;
  #contents = '';
  /** Of the bundle model: the queue of who waits at the gate, its start and its end. */
  readonly #queue: readonly [Addr, Addr] | undefined;
  /** The block of the gate's functions that each CPU was in last. */
  readonly #gate: (Addr | undefined)[] = [];
  /** The CPU whose trace is next. */
  #cpu = 0;

  constructor(machine: Machine, observer: Observer) {
    this.#machine = machine;
    this.#observer = observer;
    this.#data = new LivepatchData(machine.inspect.core, machine.inspect.livepatch);
    observer.trace(['accesses', 'blocks']);
    if (machine.inspect.bundles) {
      const { symbols, kernel } = machine.inspect.core;
      const queue = symbols.require('klp_gate_wait_queue');
      this.#queue = [queue, queue + BigInt(kernel.structs.wait_queue_head.size)];
    }
    machine.events.subscribe(({ type }) => {
      this.#changed = type;
    }, CHANGES);
    const { executor, host } = machine.inspect;
    executor.steersAlways = true;
    executor.onSteer = ({ id }) => {
      this.#look();
      this.#cpu = id;
      return false;
    };
    // What guest code has changed meanwhile, and who spawns and kills from outside, is not the host function's doing.
    host.onServing = () => {
      this.#data.renew();
      this.#contents = this.#data.contents();
      this.#changed = undefined;
    };
    host.onServed = (_, name) => this.#served(name);
  }

  get points(): Points {
    return { text: this.#text, trampoline: this.#trampoline, host: this.#host };
  }

  /** Between two runs of the engine: the trace has room for the longest. */
  #look(): void {
    const { events, lost } = this.#observer.takeTrace();
    if (lost > 0) throw new Error(`${lost} accesses were not noted`);
    if (events.length === 0) return;
    this.#data.renew();
    const { trampolines } = this.#machine.inspect.ftrace;
    for (const { what, pc, addr } of events) {
      if (what === 'block') {
        const trampoline = trampolines.at(pc);
        if (this.#isOfGate(pc)) this.#gate[this.#cpu] = pc;
        if (trampoline) this.#trampoline.add(Number(pc - trampoline.start));
      } else if (what === 'read' || what === 'write') {
        const name = this.#data.nameOf(addr);
        const gate = this.#gate[this.#cpu];
        if (gate !== undefined && this.#isOfQueue(addr)) note(this.#text, gate, 'gate', 'write');
        if (name !== undefined) note(this.#text, pc, name, what);
      }
    }
  }

  /** Who waits at the gate, and who wakes him. */
  #isOfGate(pc: Addr): boolean {
    return (
      this.#queue !== undefined &&
      /^(klp_gate_(lock|wake)|__wake_up)\+/.test(this.#machine.inspect.core.sym(pc))
    );
  }

  #isOfQueue(addr: Addr): boolean {
    return this.#queue !== undefined && this.#queue[0] <= addr && addr < this.#queue[1];
  }

  #served(host: string): void {
    this.#data.renew();
    const contents = this.#data.contents();
    if (contents !== this.#contents) note(this.#host, host, 'livepatch', 'write');
    if (this.#changed !== undefined) note(this.#host, host, this.#changed, 'write');
  }
}

function note<K>(
  points: Map<K, Record<string, 'read' | 'write'>>,
  point: K,
  name: string,
  what: 'read' | 'write',
): void {
  const known = points.get(point) ?? {};
  points.set(point, known);
  if (known[name] !== 'write') known[name] = what;
}
