// Makes the timeline of a run.

import type { KernelEvent } from '../kernel/events.ts';
import type { ScenarioMachine } from '../scenario/ports.ts';
import type { RunObserver } from '../scenario/run_options.ts';
import type { World } from '../scenario/world.ts';
import { Timeline } from './timeline.ts';

export class TimelineObserver implements RunObserver {
  #timeline: Timeline | undefined;
  #now: () => number = () => 0;

  booted({ machine }: World): void {
    this.begin(machine);
  }

  /** @param machine that has executed nothing but its boot */
  begin(machine: ScenarioMachine): void {
    const { tasks, cpus } = machine.inspect.core;
    this.#timeline = new Timeline([...tasks.idle, ...tasks.processes()], cpus);
    this.#now = () => machine.now();
  }

  event(event: KernelEvent): void {
    this.#timeline?.record(event);
  }

  /** Of the run up to now, its last; undefined where no machine was booted. */
  finish(): Timeline | undefined {
    this.#timeline?.finish(this.#now());
    return this.#timeline;
  }
}
