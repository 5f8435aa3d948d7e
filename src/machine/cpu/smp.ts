// The emulated CPUs as a set: who runs next and for how long, interrupts between them, idle time.
//
// CPUs have clocks of their own; the one that is furthest behind runs, for a slice whose length is a choice
// (src/kernel/choices.ts), so that the orders of their steps vary with the seed and never by chance.

import type { HostGenerator } from '../../guest/hostcall.ts';
import type { Choices } from '../../kernel/choices.ts';
import type { Cpu } from './cpu.ts';

/** Instructions of a slice while several CPUs run: at least, and how many more at most. */
const SLICE_MIN = 64;
const SLICE_SPREAD = 1984;
/** Slices of others while a CPU stands still: what spins until it goes on is not to do so for long. */
const MOST_TURNS_BESIDE_HELD = 256;

/** What changes of a CPU beside its context. */
const OF_A_CPU = [
  'clock',
  'halted',
  'wakesAt',
  'stopped',
  'heldUntil',
  'tickPending',
  'reschedulePending',
  'sliceOver',
  'nextTick',
] as const satisfies readonly (keyof Cpu)[];

interface KeptCpus {
  /** By number, OF_A_CPU. */
  readonly cpus: readonly object[];
  readonly current: number | undefined;
  readonly latest: number;
  readonly turns: readonly number[];
  readonly besideHeld: number;
}

export class Smp {
  readonly cpus: Cpu[] = [];
  readonly choices: Choices;
  /** The CPU that executes now. */
  current: Cpu | undefined;
  /** Whether it is in the midst of a slice: what happens now is its doing. */
  executing = false;
  #latest = 0;
  /** Those that stand still, oldest first. */
  readonly #held: Cpu[] = [];
  /** Slices that others had while the oldest of them stands still. */
  #turnsBesideHeld = 0;
  /** Times each CPU was given a slice: what text_poke_sync() waits on. */
  readonly #turns: number[] = [];

  constructor(choices: Choices) {
    this.choices = choices;
  }

  add(cpu: Cpu): void {
    this.cpus[cpu.id] = cpu;
    this.#turns[cpu.id] = 0;
  }

  /** Virtual ns since boot; never goes back. */
  now(): number {
    const clock = this.current?.clock ?? 0;
    if (clock > this.#latest) this.#latest = clock;
    return this.#latest;
  }

  keep(): KeptCpus | undefined {
    const { cpus } = this;
    const isKept = this.#held.length === 0 && cpus.every(({ beforeGoingOn }) => beforeGoingOn === undefined);
    return isKept
      ? {
          cpus: cpus.map((cpu) => Object.fromEntries(OF_A_CPU.map((name) => [name, cpu[name]]))),
          current: this.current?.id,
          latest: this.#latest,
          turns: this.#turns,
          besideHeld: this.#turnsBesideHeld,
        }
      : undefined;
  }
  restore({ cpus, current, latest, turns, besideHeld }: KeptCpus): void {
    cpus.forEach((kept, id) => {
      Object.assign(this.cpus[id], kept);
    });
    this.current = current === undefined ? undefined : this.cpus[current];
    this.#latest = latest;
    this.#turns.splice(0, this.#turns.length, ...turns);
    this.#turnsBesideHeld = besideHeld;
  }

  /** The clocks begin anew, after so many ns that do not count. @param firstTick of a CPU */
  beginAgain(ns: number, firstTick: (cpu: Cpu) => number): void {
    this.#latest = 0;
    for (const cpu of this.cpus) {
      cpu.clock = 0;
      cpu.nextTick = firstTick(cpu);
      if (cpu.wakesAt !== undefined) cpu.wakesAt = Math.max(0, cpu.wakesAt - ns);
    }
  }

  /** Time passes while nothing runs. */
  advanceTo(ns: number): void {
    if (ns > this.#latest) this.#latest = ns;
    for (const cpu of this.cpus) if (cpu.clock < ns) cpu.clock = ns;
  }

  sendReschedule(id: number): void {
    const cpu = this.cpus[id];
    // Asked for by what it executes it looks at need_resched by itself; asked for from outside, between two
    // slices, it may already have looked and be about to halt.
    if (cpu === this.current && this.executing && !cpu.halted) return;
    cpu.reschedulePending = true;
    this.wake(cpu);
  }

  wake(cpu: Cpu): void {
    if (!cpu.halted || cpu.stopped) return;
    cpu.wake();
    cpu.clock = Math.max(cpu.clock, this.now());
    // Who wakes it had the machine alone, for as long as there was nothing else.
    if (this.current && this.current !== cpu) this.current.sliceOver = true;
  }

  isHalted(id: number): boolean {
    return this.cpus[id].halted;
  }

  /**
   * The CPU whose turn it is; undefined when all are halted, or stand still until a timer comes.
   * @param timer when the next one is due
   */
  next(timer?: number): Cpu | undefined {
    const best = this.#held.length > 0 ? this.#nextBesideHeld(timer) : this.#furthestBehind(this.cpus);
    if (!best) return undefined;
    this.#turns[best.id]++;
    best.clock = due(best);
    if (best.halted) best.wake();
    return best;
  }

  /** Of those that are equally far each may be taken. */
  #furthestBehind(cpus: readonly Cpu[]): Cpu | undefined {
    let best: Cpu | undefined;
    let ties = 0;
    for (const cpu of cpus) {
      if (!goesOn(cpu)) continue;
      if (!best || due(cpu) < due(best)) {
        best = cpu;
        ties = 1;
      } else if (due(cpu) === due(best) && this.choices.choose('cpu', ++ties) === 0) best = cpu;
    }
    return best;
  }

  #nextBesideHeld(timer: number | undefined): Cpu | undefined {
    const best = this.#furthestBehind(this.cpus.filter((cpu) => cpu.heldUntil === undefined));
    const [held] = this.#held;
    const until = held.heldUntil as number;
    const isPatient = this.#turnsBesideHeld++ < MOST_TURNS_BESIDE_HELD;
    if (best && isPatient && due(best) < until) return best;
    if (!best && timer !== undefined && timer < until && this.idle().length > 0) return undefined;
    this.#held.shift();
    this.#turnsBesideHeld = 0;
    held.heldUntil = undefined;
    held.beforeGoingOn?.();
    held.clock = Math.max(held.clock, this.now());
    return held;
  }

  /** Whether one stands still. */
  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** Whether no other one stands still, has anything to do before `until`, or could take a timer before. @param timer when the next one is due */
  isAlone(cpu: Cpu, until: number, timer: number | undefined): boolean {
    if (this.#held.length > 0) return false;
    const others = this.cpus.filter((one) => one !== cpu);
    if (others.some((one) => goesOn(one) && due(one) < until)) return false;
    return timer === undefined || timer >= until || others.every(({ stopped }) => stopped);
  }

  /** Those that can take a timer while nobody has anything to do. */
  idle(): Cpu[] {
    return this.cpus.filter((cpu) => !cpu.stopped && cpu.heldUntil === undefined);
  }

  /** A CPU stands still, until the others have nothing to do before `until`; those that stand still go on in the order in which they began. */
  hold(cpu: Cpu, until: number): void {
    cpu.heldUntil = until;
    cpu.sliceOver = true;
    this.#held.push(cpu);
  }

  /** Instructions of the next slice: as many as fit when the CPU is alone. */
  slice(cpu: Cpu): number {
    const alone = this.cpus.every((other) => other === cpu || !goesOn(other));
    return alone ? Number.MAX_SAFE_INTEGER : SLICE_MIN + this.choices.choose('slice', SLICE_SPREAD);
  }

  /**
   * on_each_cpu(do_sync_core): every other CPU that is not idle has had a turn since. One that halted with interrupts
   * off never answers, and who waits for it waits for ever, as on the real kernel.
   */
  *syncCores(): HostGenerator<void> {
    const self = this.current;
    const before = [...this.#turns];
    const behind = () =>
      this.cpus.some((c) => c !== self && answers(c) && this.#turns[c.id] === before[c.id]);
    do yield { relax: true, polls: true };
    while (behind());
  }
}

/** Executes, or will at a time that is known. */
function goesOn(cpu: Cpu): boolean {
  return !cpu.halted || cpu.wakesAt !== undefined;
}

/** When it executes next. */
function due(cpu: Cpu): number {
  return cpu.halted ? Math.max(cpu.clock, cpu.wakesAt ?? 0) : cpu.clock;
}

/** Has to take an interrupt before the one who sent it goes on. */
function answers(cpu: Cpu): boolean {
  return !cpu.halted || cpu.stopped;
}
