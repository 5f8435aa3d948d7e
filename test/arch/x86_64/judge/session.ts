// One process of the judge: its engines, the host, and what is said of each form.

import type { ArchEngine } from '../../../../src/arch/engine.ts';
import { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { UnicornEngine } from '../../../../src/arch/x86_64/unicorn/unicorn.ts';
import { NO_UNICORN } from '../../../guest/unicorn_there.ts';
import { coreDigest } from './built.ts';
import { describeCase } from './compare.ts';
import type { Form } from './form.ts';
import { Host, hostCannotJudge, hostHasAvx512 } from './host.ts';
import { HOST_ANSWERS_OTHERWISE, type Known, knownAs, UNICORN_IS_WRONG } from './known.ts';
import { Rig } from './rig.ts';
import { isBeyondUnicorn, isOfMachine, unjudgedBecause } from './scope.ts';
import { SEQUENCE, sequences } from './sequences.ts';
import { Court, type Difference, type Judgement, type Trial } from './trial.ts';

/** What can be judged. */
export const SUBJECTS: Readonly<Record<string, () => ArchEngine>> = {
  core: () => new CoreEngine(),
  unicorn: () => new UnicornEngine(),
};

/** What one judge said of a form, in numbers. */
export interface Verdict {
  readonly states: number;
  /** Differences by the known case that they are of. */
  readonly known: Readonly<Record<string, number>>;
  /** Differences that are of none. */
  readonly open: number;
  /** The first of them. */
  readonly first: string | undefined;
}

export interface Result {
  /** The build that was judged (built.ts). */
  readonly build: string;
  readonly key: string;
  readonly name: string;
  readonly states: number;
  /** How states ended, by the engine that is judged. */
  readonly kinds: Readonly<Record<string, number>>;
  /** There is a state that did not end as one of an instruction that it does not have. */
  readonly executed: boolean;
  readonly unicorn: Verdict;
  readonly host: Verdict;
}

function verdictOf(
  { states, differences }: Judgement,
  table: readonly Known[],
  turned: readonly Known[],
): Verdict {
  const known: Record<string, number> = {};
  const open: Difference[] = [];
  for (const difference of differences) {
    const about = knownAs(table, difference) ?? knownAs(turned, turn(difference));
    if (about) known[about.name] = (known[about.name] ?? 0) + 1;
    else open.push(difference);
  }
  const [one] = open;
  return {
    states,
    known,
    open: open.length,
    first: one && `${describeCase(one.one)}\n  ${one.said.join('; ')} (judged / judge)`,
  };
}

/** Judge and judged change places: where it is Unicorn that the host judges. */
const turn = (difference: Difference): Difference => ({
  ...difference,
  subject: difference.judge ?? difference.subject,
  judge: difference.subject,
});

export function resultOf({ form, states, kinds, unicorn, host }: Trial, subject: string): Result {
  return {
    build: coreDigest(),
    key: form.key,
    name: form.name,
    states,
    kinds: Object.fromEntries(kinds),
    executed: [...kinds.keys()].some((kind) => kind !== 'undefined instruction' && kind !== 'engine error'),
    unicorn: verdictOf(unicorn, UNICORN_IS_WRONG, []),
    host: verdictOf(host, HOST_ANSWERS_OTHERWISE, subject === 'unicorn' ? UNICORN_IS_WRONG : []),
  };
}

/** Sequences that one trial is of. */
const OF_A_TRIAL = 4000;

/** Judges sequences of instructions by their numbers. */
export async function judgeSequences(states: number, tell: (result: Result) => void): Promise<void> {
  const rig = new Rig('core', SUBJECTS.core);
  const unicorn = NO_UNICORN ? undefined : new Rig('unicorn', SUBJECTS.unicorn);
  const host = hostCannotJudge() ? undefined : await Host.open();
  const court = new Court(rig, unicorn, host !== undefined);
  for (let from = 0; from < states; from += OF_A_TRIAL) {
    const cases = sequences(from, Math.min(from + OF_A_TRIAL, states));
    const trial = court.hearCases(SEQUENCE, cases);
    court.ask(host);
    tell(resultOf(trial, 'core'));
  }
  host?.close();
  rig.close();
  unicorn?.close();
}

/** States that the host is asked about at once, of as many forms as have them: a process each time. */
const TOGETHER = 4000;

/** Judges forms one after the other; those that no random states say anything of are left out. */
export async function judgeForms(
  forms: readonly Form[],
  subject: string,
  states: number,
  tell: (result: Result) => void,
): Promise<void> {
  const rig = new Rig(subject, SUBJECTS[subject]);
  const unicorn = subject === 'unicorn' || NO_UNICORN ? undefined : new Rig('unicorn', SUBJECTS.unicorn);
  const host = hostCannotJudge() ? undefined : await Host.open();
  const court = new Court(rig, unicorn, host !== undefined);
  const judged = forms.filter(
    (form) =>
      !unjudgedBecause(form) && !(subject === 'unicorn' && (isBeyondUnicorn(form) || isOfMachine(form))),
  );
  const rest = hostHasAvx512() ? judged : judged.filter(({ registers }) => registers !== 'zmm');
  const together = Math.max(1, Math.floor(TOGETHER / states));
  for (let i = 0; i < rest.length; i += together) {
    const trials = rest
      .slice(i, i + together)
      .map((form) => court.hear(form, states, !isBeyondUnicorn(form)));
    court.ask(host);
    for (const trial of trials) tell(resultOf(trial, subject));
  }
  host?.close();
  rig.close();
  unicorn?.close();
}
