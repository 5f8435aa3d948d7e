// What a run does between its points, as far as that says which orders of events come to the same.
//
// Where a CPU only reads between two of its points, and none of what the others write while it stands still at the second,
// standing still at the first is the same: what is executed between has no part in what the others do. So it is where a task
// is preempted.
//
// Invariant: what is not known to be so counts as if it were not: host functions that access livepatch's data, give the CPU to
// another task or wake one, text that changes, modules that come and go, another CPU's turn, a change of what grace periods look at.

import type { Addr } from '../guest/addr.ts';
import { preemptCount } from '../kernel/preempt_count.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Cpu } from '../machine/cpu/cpu.ts';
import { DATA_NAMES } from '../machine/livepatch_data.ts';
import type { Machine } from '../machine/machine.ts';
import type { Touched } from './points.ts';

/** A bit a name of livepatch's data, and this one: text, or whatever else. */
export const ANYTHING = 1 << DATA_NAMES.length;
/** Between a point and the next one more is done than reading. */
export const APART = -1;

interface Open {
  readonly cpu: Cpu;
  readonly epoch: number;
  readonly mode: string;
  reads: number;
  writes: boolean;
}

export class Footprints {
  readonly #machine: Machine;
  readonly #text: ReadonlyMap<Addr, Touched>;
  /** By point that was come to: what is read from there to the next, in bits; or APART. */
  readonly near: number[] = [];
  /** What others wrote while the CPU of the last decision stood still, or its task was kept from one. */
  met = 0;
  /** Host functions that have a part in what others do, and turns of other CPUs. */
  #epoch = 0;
  #last: Cpu | undefined;
  #open: Open | undefined;
  #held: Cpu | undefined;
  #kept: TaskStruct | undefined;

  constructor(machine: Machine, text: ReadonlyMap<Addr, Touched>) {
    this.#machine = machine;
    this.#text = text;
    const { core } = machine.inspect;
    core.events.subscribe(() => this.#meet(ANYTHING), ['poke', 'ftrace', 'module', 'klp_module']);
    // What comes of a check depends on where the task stands.
    machine.inspect.traces.onReliable = (task) => {
      if (task === this.#kept) this.#meet(ANYTHING);
    };
    core.events.subscribe(() => {
      this.#epoch++;
    }, ['wakeup']);
  }

  /** Before a step of a CPU. */
  steps(cpu: Cpu): void {
    if (this.#last !== cpu) this.#epoch++;
    this.#last = cpu;
    if (this.#kept && !this.#machine.inspect.sched.holds) this.#kept = undefined;
    if (this.#held === cpu) this.#held = undefined;
  }

  /** A part of a host function is over. @param isApart it has a part in what others do */
  served(isApart: boolean): void {
    if (isApart) this.#epoch++;
  }

  /** A CPU is at a point, which counts. */
  comes(cpu: Cpu, task: TaskStruct): void {
    const mode = this.#modeOf(cpu, task);
    const open = this.#open;
    if (open) {
      const isNear = open.cpu === cpu && open.epoch === this.#epoch && open.mode === mode && !open.writes;
      this.near.push(isNear ? open.reads : APART);
    }
    this.#open = { cpu, epoch: this.#epoch, mode, reads: 0, writes: false };
  }

  /** It executes the instruction of a point, whether that counts or not. */
  touches(cpu: Cpu, pc: Addr): void {
    const touched = this.#text.get(pc);
    if (!touched) return;
    for (const [name, how] of Object.entries(touched)) {
      const bit = bitOf(name);
      if (this.#open?.cpu === cpu) {
        this.#open.reads |= bit;
        if (how === 'write') this.#open.writes = true;
      }
      if (how === 'write') this.#meet(bit, cpu);
    }
  }

  /** From here on it stands still. */
  stands(cpu: Cpu): void {
    this.#held = cpu;
    this.#kept = undefined;
    this.met = 0;
  }

  /** From here on its task is to be preempted. */
  preempts(task: TaskStruct): void {
    this.#held = undefined;
    this.#kept = task;
    this.met = 0;
  }

  /** A host function has stored to data of this name. */
  stored(cpu: Cpu, name: string): void {
    this.#meet(bitOf(name), cpu);
  }

  /** @param cpu that does it, where that is known */
  #meet(bits: number, cpu?: Cpu): void {
    const isOwn = cpu && (this.#held === cpu || this.#kept === this.#machine.inspect.core.current(cpu.id));
    if ((this.#held || this.#kept) && !isOwn) this.met |= bits;
  }

  /** What others ask of a CPU that stands still: rcu, text_poke_sync(). */
  #modeOf(cpu: Cpu, task: TaskStruct): string {
    const { core } = this.#machine.inspect;
    const { fields } = core.kernel.structs.task_struct;
    const reads = core.mem.readU32(task.addr + BigInt(fields.rcu_read_lock_nesting));
    return `${task} ${preemptCount(core, cpu.id)} ${reads} ${cpu.processor.interruptsOn} ${cpu.context.userMode}`;
  }
}

function bitOf(name: string): number {
  const index = DATA_NAMES.indexOf(name);
  return index < 0 ? ANYTHING : 1 << index;
}
