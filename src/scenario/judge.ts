// What a run's expectations came to: checks, the ends of actions and injected faults, each told as it is known.
//
// Invariant: an action is judged once, whoever looks first.

import type { Fault } from '../kernel/fault_inject.ts';
import { evaluate, type Failure, textHolds } from './checks.ts';
import { exitText } from './exit_text.ts';
import { faultMissed } from './faults.ts';
import type { Expectation } from './report.ts';
import type { Check, CheckBase, FaultSpec } from './scenario.ts';
import { whyOpen } from './unfinished.ts';
import type { ActionRun, World } from './world.ts';

/** Kernel lines shown with an action that failed. */
const SHOWN = 4;

export class Judge {
  readonly expectations: Expectation[] = [];
  readonly #world: World;
  readonly #tell: (result: Expectation) => void;

  constructor(world: World, tell: (result: Expectation) => void) {
    this.#world = world;
    this.#tell = tell;
  }

  /** @param failure undefined: it is as expected */
  expected(at: CheckBase, failure?: Failure, t = this.#world.machine.now()): void {
    const { place, path } = failure?.at ?? at;
    const base = { ok: failure === undefined, place, path, t };
    const result = failure ? { ...base, expected: failure.expected, seen: failure.seen } : base;
    this.expectations.push(result);
    this.#tell(result);
  }

  async check(check: Check): Promise<void> {
    const failure = await evaluate(check, this.#world);
    this.expected(check, failure && (await this.explained(check, failure)));
  }

  /** Who keeps it from coming true, where it is the end of a transition. */
  async explained(check: Check, failure: Failure): Promise<Failure> {
    const why = check.kind === 'done' ? await whyOpen(this.#world) : undefined;
    return why === undefined ? failure : { ...failure, seen: `${failure.seen}\n${why}` };
  }

  /** An action that has ended. */
  action(action: ActionRun): void {
    if (action.judged) return;
    action.judged = true;
    const { step, task, dmesgFrom, faults, endedAt } = action;
    this.faultsCame(step.faults, faults);
    const exit = exitText(task.exit);
    if (exit !== exitText(step.exit)) {
      const said = this.#world.log().slice(dmesgFrom).slice(-SHOWN);
      const seen = [exit, ...said].join('\n');
      this.expected(step, { expected: `${step.command}: ${exitText(step.exit)}`, seen }, endedAt);
    } else this.expected(step, undefined, endedAt);
    if (step.output.length === 0) return;
    const failure = textHolds(step.output, task.stdout, `the output of ${step.command}`);
    this.expected(step.outputAt, failure, endedAt);
  }

  /** Faults that should have come by now; none of them comes any more. */
  faultsCame(specs: readonly FaultSpec[], faults: readonly Fault[]): void {
    faults.forEach((fault, i) => {
      this.#world.machine.inspect.core.faults.disarm(fault);
      this.expected(specs[i], faultMissed(specs[i], fault));
    });
  }
}
