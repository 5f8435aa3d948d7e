// Timers in virtual time: sleeps, struct timer_list of modules, jiffies.
// Mirrors kernel/time/timer.c and hrtimer.c by behaviour: a timer expires at a tick, one of the wheel with its bucket (timer_wheel.ts).
//
// A timer_list is guest memory; the queue holds its address and when it is due.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { type Structs, tickNs } from '../kernel/description.ts';
import { initialJiffies, jiffiesAt } from '../kernel/jiffies.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Sched } from './core.ts';
import { bucketExpiry } from './timer_wheel.ts';

/** ns of a jiffy. */
type Due =
  | { readonly wake: TaskStruct }
  | { readonly timer: Addr }
  /** A delayed work. */
  | { readonly work: Addr }
  | { readonly run: () => void };

interface Entry {
  readonly at: number;
  /** Order among those due at the same time. */
  readonly seq: number;
  readonly key: Addr | object;
  readonly due: Due;
}

/** What is armed, as it is kept: of memory's timers and works. */
interface KeptTimers {
  readonly seq: number;
  /** As the heap has them. */
  readonly heap: readonly Entry[];
  /** Places in the heap, in the order in which they were armed. */
  readonly pending: readonly number[];
}

export class Timers {
  /** Virtual ns from one tick of a CPU to its next: a jiffy. */
  readonly tickNs: number;
  readonly #initialJiffies: bigint;
  readonly #core: KernelCore;
  readonly #timerList: Structs['timer_list']['fields'];
  readonly #restartExpiresAt: bigint;
  readonly #sched: Sched;
  /** A binary heap by (at, seq). */
  readonly #heap: Entry[] = [];
  readonly #pending = new Map<Addr | object, Entry>();
  /** Guest timers that are due, for run_timer_softirq() to call. */
  readonly #softirq: Addr[] = [];
  readonly #jiffies: Addr;
  #seq = 0;
  /** delayed_work_timer_fn() */
  onDelayedWork: (work: Addr) => void = () => {};

  constructor(core: KernelCore, sched: Sched) {
    this.#core = core;
    this.tickNs = tickNs(core.kernel);
    this.#initialJiffies = initialJiffies(core.kernel.constants.HZ);
    this.#timerList = core.kernel.structs.timer_list.fields;
    this.#restartExpiresAt = BigInt(core.kernel.structs.task_struct.fields.restart_block_nanosleep_expires);
    this.#sched = sched;
    this.#jiffies = core.symbols.require('jiffies');
    this.#define();
    core.host.keeps('timers', this);
  }

  /** What is armed, where no task's sleep is among it and none is due. Those that were disarmed leave the heap. */
  keep(): KeptTimers | undefined {
    this.#sortOut();
    const isPlain = this.#heap.every(({ due }) => 'timer' in due || 'work' in due);
    if (!isPlain || this.#softirq.length > 0) return undefined;
    const pending = Array.from(this.#pending.values(), (entry) => this.#heap.indexOf(entry));
    return { seq: this.#seq, heap: this.#heap, pending };
  }
  restore({ seq, heap, pending }: KeptTimers): void {
    this.#seq = seq;
    this.#heap.push(...heap);
    for (const i of pending) this.#pending.set(heap[i].key, heap[i]);
  }

  /** Takes what was disarmed, or armed anew, out of the heap. */
  #sortOut(): void {
    const entries = this.#heap.splice(0).filter((entry) => this.#pending.get(entry.key) === entry);
    for (const entry of entries) this.#push(entry);
  }

  /** Functions of struct timer_list that are to expire. */
  pendingFunctions(): Addr[] {
    const timers = [...this.#pending.values()].flatMap(({ due }) => ('timer' in due ? [due.timer] : []));
    return timers.map((timer) => this.#core.mem.readU64(timer + BigInt(this.#timerList.function)));
  }

  /** A sleep that ends by itself. */
  wakes(task: TaskStruct): boolean {
    return [...this.#pending.values()].some(({ due }) => 'wake' in due && due.wake === task);
  }

  #define(): void {
    const core = this.#core;
    const current = (cpu: number) => core.current(cpu);
    core.host.defineAll({
      add_process_timer: ({ args, cpu }) => {
        const expires = this.jiffies() + args[1];
        this.#addToWheel(args[0], expires, { wake: current(cpu) });
        return expires;
      },
      jiffies_left: ({ args }) => {
        const left = BigInt.asIntN(64, args[0] - this.jiffies());
        return left < 0n ? 0n : left;
      },
      hrtimer_sleeper_start: ({ args, cpu }) => {
        const at = core.clock.now() + Number(args[1]);
        this.add(args[0], at, { wake: current(cpu) });
        core.mem.writeU64(current(cpu).addr + this.#restartExpiresAt, BigInt(Math.round(at)));
        return BigInt(Math.round(at));
      },
      hrtimer_expired: ({ args }) => core.clock.now() >= Number(args[0]),
      hrtimer_save_restart: () => {},
      hrtimer_restart_left: ({ cpu }) => {
        const at = Number(core.mem.readU64(current(cpu).addr + this.#restartExpiresAt));
        return BigInt(Math.max(0, Math.round(at - core.clock.now())));
      },
      init_timer_key: ({ args }) => {
        core.mem.fill(args[0], this.#core.kernel.structs.timer_list.size, 0);
        core.mem.writeU64(args[0] + BigInt(this.#timerList.function), args[1]);
        core.mem.writeU32(args[0] + BigInt(this.#timerList.flags), Number(args[2]));
      },
      add_timer: ({ args }) =>
        this.#addGuest(args[0], core.mem.readU64(args[0] + BigInt(this.#timerList.expires))),
      mod_timer: ({ args }) => this.#addGuest(args[0], args[1]),
      timer_delete: ({ args }) => this.del(args[0]),
      timer_delete_sync: ({ args }) => this.del(args[0]),
      next_expired_timer: () => this.#softirq.shift() ?? 0n,
    });
  }

  /** Ticks since boot, from INITIAL_JIFFIES on; the guest's variable follows at each tick. */
  jiffies(): bigint {
    return jiffiesAt(this.#core.kernel.constants.HZ, this.#core.clock.now());
  }

  #addGuest(timer: Addr, expires: bigint): boolean {
    this.#core.mem.writeU64(timer + BigInt(this.#timerList.expires), expires);
    return this.#addToWheel(timer, expires, { timer });
  }

  /** Arms the timer of a delayed work, for so many jiffies from now. */
  addWork(timer: Addr, delay: number, work: Addr): void {
    this.#addToWheel(timer, this.jiffies() + BigInt(delay), { work });
  }

  #addToWheel(timer: Addr, expires: bigint, due: Due): boolean {
    const clk = this.jiffies();
    const delta = Number(BigInt.asIntN(64, expires - clk));
    const jiffy = bucketExpiry(Number(clk), delta, this.#core.kernel.constants.HZ);
    return this.add(timer, (jiffy - Number(this.#initialJiffies)) * this.tickNs, due);
  }

  /** Arms a timer for a time (virtual ns); true when it was armed already. */
  add(key: Addr | object, at: number, due: Due): boolean {
    const was = this.#pending.has(key);
    const entry = { at, seq: this.#seq++, key, due };
    this.#pending.set(key, entry);
    this.#push(entry);
    return was;
  }

  /** Disarms; true when it was armed. */
  del(key: Addr | object): boolean {
    if (typeof key === 'bigint') {
      const i = this.#softirq.indexOf(key);
      if (i >= 0) this.#softirq.splice(i, 1);
    }
    return this.#pending.delete(key);
  }

  /** The clocks begin anew, after so many ns that do not count: what is armed is due so much earlier. */
  beginAgain(ns: number): void {
    const entries = this.#heap.splice(0).filter((entry) => this.#pending.get(entry.key) === entry);
    for (const entry of entries) {
      const earlier = { ...entry, at: Math.max(0, entry.at - ns) };
      this.#pending.set(entry.key, earlier);
      this.#push(earlier);
    }
    this.#core.mem.writeU64(this.#jiffies, this.jiffies());
  }

  isPending(key: Addr | object): boolean {
    return this.#pending.has(key);
  }

  /** When the next timer is due (virtual ns); undefined when none is armed. */
  next(): number | undefined {
    while (this.#heap.length > 0 && this.#pending.get(this.#heap[0].key) !== this.#heap[0]) this.#pop();
    return this.#heap[0]?.at;
  }

  /** What a tick does: jiffies, and every timer that is due. */
  run(now: number): void {
    this.#core.mem.writeU64(this.#jiffies, this.jiffies());
    for (let at = this.next(); at !== undefined && at <= now; at = this.next()) {
      const { key, due } = this.#pop() as Entry;
      this.#pending.delete(key);
      if ('wake' in due) this.#sched.wakeUpProcess(due.wake);
      else if ('timer' in due) {
        this.#softirq.push(due.timer);
        this.#core.percpu.writeU32(
          'irq_stat',
          this.#core.here(),
          1 << this.#core.kernel.constants.TIMER_SOFTIRQ,
        ); // __raise_softirq_irqoff()
      } else if ('work' in due) this.onDelayedWork(due.work);
      else due.run();
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(entry, heap[up])) break;
      heap[i] = heap[up];
      i = up;
    }
    heap[i] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!last || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.seq < b.seq);
}
