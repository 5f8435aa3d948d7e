// What whoever runs a scenario may ask of the run, and what he is told of it.

import type { EventType, KernelEvent } from '../kernel/events.ts';
import type { BootMachine, ScenarioMachine } from './ports.ts';
import type { Expectation } from './report.ts';
import type { Step } from './scenario.ts';
import type { ActionRun, World } from './world.ts';

/** Told of everything in the order in which it happens; none of it changes the run. */
export interface RunObserver {
  booted?(world: World): void;
  /** Types of events that it wants; all, when it has none of these. */
  readonly eventTypes?: readonly EventType[];
  event?(event: KernelEvent): void;
  stepStarted?(step: Step, t: number): void;
  actionEnded?(action: ActionRun): void;
  snapshot?(step: Extract<Step, { verb: 'snapshot' }>, world: World): Promise<void> | void;
  expectation?(result: Expectation): void;
  /** The last step is done, and the machine still there. */
  ended?(): void;
  /** Between two slices: for what takes time, such as printing. */
  flush?(): Promise<void> | void;
}

export interface RunOptions {
  /** Instead of the scenario's. */
  readonly seed?: number;
  /** A kernel's file or release, instead of the scenario's. */
  readonly kernel?: string;
  /** What is done to the order of events (docs/explore.md), instead of the scenario's. */
  readonly schedule?: string;
  /** Virtual ns at which to stop, wherever the scenario is. */
  readonly stopAt?: number;
  readonly observers?: readonly RunObserver[];
  /**
   * Asked between slices once the last step is done: the run ends where it holds, and is too long at the limit. Without it, where
   * nobody is held by its schedule any more, or at the limit.
   */
  readonly isSettled?: (machine: ScenarioMachine) => boolean;
  /** How machines are made; tests may have another way. */
  readonly boot?: BootMachine;
  /** Who has the machine run, as runUntil() of it does: a debugger stops in between. */
  readonly drive?: Drive;
}

/** As ScenarioMachine.runUntil(). Nothing else happens until it is done. */
export type Drive = (machine: ScenarioMachine, condition: () => boolean, limitNs: number) => Promise<boolean>;
