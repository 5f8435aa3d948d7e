// Does to a machine what a schedule says: CPUs that stand still, tasks that are preempted, at an exact instruction.
//
// A CPU stands still as that of a virtual machine does whose host runs something else: the others go on until none of them
// has anything to do, for HOLD_NS at most. A task that is preempted stays off the CPU for PREEMPT_NS, as one whose group has used
// up its quota; what its CPU has to do besides goes on. Nothing else is changed, so that whatever comes of it can happen.
//
// Invariant: without a schedule it is asked nothing.

import { type Chooser, QuietChooser } from '../../kernel/choices.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Timers } from '../../sched/timer.ts';
import { seededChooser } from '../boot/chance.ts';
import { type Action, actionText, type Schedule, ScheduleChooser } from '../schedule.ts';
import type { Cpu } from './cpu.ts';
import type { Executor } from './executor.ts';
import type { Smp } from './smp.ts';
import type { WaitingStores } from './waiting_stores.ts';

/** How long a CPU stands still at most, virtual ns: over one retry of a transition. */
const HOLD_NS = 1.1e9;
/** How long a task is kept from the CPU: over two retries of a transition. */
const PREEMPT_NS = 2.5e9;

/** An action that there was no place for: the run is another one than that of which the schedule was made. */
interface Missed {
  readonly action: Action;
  readonly why: string;
}

export class Steering {
  readonly #core: KernelCore;
  readonly #smp: Smp;
  readonly #sched: Sched;
  readonly #timers: Timers;
  readonly #executor: Executor;
  /** Of livepatch's host functions. */
  readonly stores: WaitingStores;
  #actions: readonly Action[] = [];
  #next = 0;
  /** Instructions that had been executed when the schedule began. */
  #origin = 0;
  #chooser: ScheduleChooser | undefined;
  /** Who chose before the schedule. */
  #before: Chooser | undefined;
  readonly missed: Missed[] = [];
  /** Told of each action of the schedule before it is done. */
  onAct: ((action: Action) => void) | undefined;

  constructor(
    core: KernelCore,
    smp: Smp,
    sched: Sched,
    timers: Timers,
    executor: Executor,
    stores: WaitingStores,
  ) {
    this.stores = stores;
    // Who waits for a CPU that stands still has no need of whole slices.
    stores.onPolls = (cpu) => {
      if (smp.holds) cpu.sliceOver = true;
    };
    this.#core = core;
    this.#smp = smp;
    this.#sched = sched;
    this.#timers = timers;
    this.#executor = executor;
  }

  /** From now on. Seeded, without a seed: whoever chooses now goes on choosing. */
  follow(schedule: Schedule): void {
    this.end();
    this.#before = this.#core.choices.chooser;
    this.#chooser = new ScheduleChooser(this.#base(schedule), schedule.overrides);
    this.#core.choices.use(this.#chooser);
    this.stores.watch(schedule.pauses === true);
    this.#actions = schedule.actions;
    this.#next = 0;
    this.#origin = this.#executor.instructions;
    this.missed.length = 0;
    this.#executor.onSteer = (cpu) => this.#steer(cpu);
    this.#aim();
  }

  #base({ base, seed }: Schedule): Chooser {
    if (base === 'quiet') return new QuietChooser();
    // Of a machine that is made with a schedule the seed is the schedule's.
    return seed === undefined || this.#executor.instructions === 0
      ? this.#core.choices.chooser
      : seededChooser(seed);
  }

  /** Nothing more is done, and whoever chose before chooses again. */
  end(): void {
    if (this.#before) this.#core.choices.use(this.#before);
    this.#before = undefined;
    this.stores.watch(false);
    this.#actions = [];
    this.#aim();
  }

  /** What of the schedule has not come to pass, a sentence each. */
  unmet(): string[] {
    const lines = this.missed.map(({ action, why }) => `${actionText(action)}: ${why}`);
    for (const action of this.#actions.slice(this.#next))
      lines.push(`${actionText(action)}: the run ended before`);
    const left = this.#chooser?.left ?? 0;
    if (left > 0) lines.push(`${left} of its choices were not come to`);
    return lines;
  }

  #aim(): void {
    const action = this.#actions[this.#next];
    this.#executor.steerAt = action ? this.#origin + action.at : Number.POSITIVE_INFINITY;
  }

  /** Before an instruction of a CPU. @returns whether something was done */
  #steer(cpu: Cpu): boolean {
    let done = false;
    if (this.#executor.instructions < this.#executor.steerAt) return done;
    for (let action = this.#actions[this.#next]; action; action = this.#actions[++this.#next]) {
      const here = this.#executor.instructions - this.#origin;
      // Another CPU begins its slice at the same instruction.
      if (here < action.at || (here === action.at && action.cpu !== cpu.id)) break;
      if (here > action.at) this.missed.push({ action, why: 'its CPU did not execute there' });
      else {
        this.onAct?.(action);
        if (this.act(cpu, action)) done = true;
        else this.missed.push({ action, why: 'no so many stores wait there' });
      }
    }
    this.#aim();
    return done;
  }

  /** @returns whether it could be done */
  act(cpu: Cpu, { kind, stores = 0 }: Pick<Action, 'kind' | 'stores'>): boolean {
    if (kind === 'p') this.#preempt(cpu);
    else {
      if (kind === 'w' && !this.stores.hide(cpu, stores)) return false;
      this.#smp.hold(cpu, this.#smp.now() + HOLD_NS);
    }
    return true;
  }

  /** Until when a CPU would stand still that begins to now, and whether by that nothing would change on the machine. */
  standing(cpu: Cpu): { readonly until: number; readonly isInVain: boolean } {
    const until = this.#smp.now() + HOLD_NS;
    return { until, isInVain: this.#smp.isAlone(cpu, until, this.#timers.next()) };
  }

  #preempt(cpu: Cpu): void {
    const task = this.#core.current(cpu.id);
    if (!task.isIdle) this.#keepOff(task);
    this.#sched.reschedCurr(cpu.id);
    cpu.reschedulePending = true;
  }

  #keepOff(task: TaskStruct): void {
    this.#sched.hold(task);
    const until = this.#core.clock.now() + PREEMPT_NS;
    this.#timers.add({}, until, { run: () => this.#sched.letGo(task) });
  }
}
