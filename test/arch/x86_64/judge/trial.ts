// A form's states, executed by an engine and compared with what its judges say of them.

import { type Case, makeCase, type Window } from './cases.ts';
import { differences } from './compare.ts';
import type { Form } from './form.ts';
import type { Host, HostOutcome } from './host.ts';
import { KERNEL, type Place, USER } from './layout.ts';
import type { Outcome, Rig } from './rig.ts';
import { isBeyondUnicorn, onlyRing } from './scope.ts';
import { resultIsUndefined } from './undefined_flags.ts';

export interface Difference {
  readonly one: Case;
  readonly said: readonly string[];
  readonly subject: Outcome;
  readonly judge: Outcome | undefined;
}

/** What one judge said of all states of a form. */
export interface Judgement {
  states: number;
  /** How each ended, by the judge. */
  readonly kinds: Map<string, number>;
  readonly differences: Difference[];
}

export interface Trial {
  readonly form: Form;
  states: number;
  /** How each ended, by the engine that is judged. */
  readonly kinds: Map<string, number>;
  readonly unicorn: Judgement;
  readonly host: Judgement;
}

/** A state that the host is still to be asked about. */
interface Pending {
  readonly trial: Trial;
  readonly one: Case;
  readonly outcome: Outcome;
  readonly windows: readonly Window[];
}

/** Half of them in ring 0, half in ring 3; all in one where nobody judges the other. */
export function* casesOf(form: Form, states: number): Generator<Case> {
  let made = 0;
  const only = isBeyondUnicorn(form) ? USER : onlyRing(form)?.ring === 0 ? KERNEL : undefined;
  for (let number = 0; made < states && number < 8 * states; number++) {
    const one = makeCase(form, only ?? (number & 1 ? USER : KERNEL), number);
    if (!one) continue;
    made++;
    yield one;
  }
}

const count = (kinds: Map<string, number>, kind: string): unknown =>
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
const judgement = (): Judgement => ({ states: 0, kinds: new Map(), differences: [] });

export class Court {
  readonly #subject: Rig;
  readonly #unicorn: Rig | undefined;
  readonly #askHost: boolean;
  readonly #pending: Pending[] = [];

  /** @param askHost states of ring 3 are the host's to judge: Unicorn is asked about those of ring 0 */
  constructor(subject: Rig, unicorn: Rig | undefined, askHost: boolean) {
    this.#subject = subject;
    this.#unicorn = unicorn;
    this.#askHost = askHost;
  }

  /**
   * Executes a form's states, and compares with Unicorn.
   * @param byUnicorn it may be asked: it does not end the process
   */
  hear(form: Form, states: number, byUnicorn = true): Trial {
    return this.hearCases(form, casesOf(form, states), byUnicorn);
  }

  hearCases(form: Form, cases: Iterable<Case>, byUnicorn = true): Trial {
    const trial: Trial = { form, states: 0, kinds: new Map(), unicorn: judgement(), host: judgement() };
    for (const one of cases) this.#hearCase(trial, one, byUnicorn);
    return trial;
  }

  #hearCase(trial: Trial, one: Case, byUnicorn: boolean): void {
    const subject = this.#subject;
    const outcome = subject.execute(one);
    trial.states++;
    count(trial.kinds, outcome.kind);
    const forHost = this.#askHost && one.place.user;
    const other = byUnicorn && !forHost ? this.#unicorn : undefined;
    if (other) {
      const answer = other.execute(one);
      const said = whatDiffers(one, outcome, answer, () => memoryDifferences(one.place, subject, other));
      judge(trial.unicorn, one, outcome, answer, said);
      other.restore(one.place);
    }
    if (forHost) this.#pending.push({ trial, one, outcome, windows: windowsOf(one, subject) });
    subject.restore(one.place);
  }

  /**
   * Asks the host about all states of ring 3 since it was asked last. What differs is asked once more, of another process:
   * a process has its stack at an address that is drawn, at times where a state has its memory.
   */
  ask(host: Host | undefined): void {
    const pending = this.#pending.splice(0);
    if (!host) return;
    const answers = host.execute(pending.map(({ one }) => one));
    const differs = pending.map((of, i) => saidOfHost(of, answers[i]).length > 0);
    const again = host.execute(pending.filter((_, i) => differs[i]).map(({ one }) => one));
    pending.forEach((of, i) => {
      const answer = differs[i] ? again.shift() : answers[i];
      judge(of.trial.host, of.one, of.outcome, answer, saidOfHost(of, answer));
    });
  }
}

const saidOfHost = ({ one, outcome, windows }: Pending, answer: HostOutcome | undefined): string[] =>
  whatDiffers(one, outcome, answer, () => windowDifferences(windows, answer as HostOutcome));

function whatDiffers(
  one: Case,
  subject: Outcome,
  other: Outcome | undefined,
  memory: () => string[],
): string[] {
  if (!other) return ['the process ended'];
  return [...differences(one, subject, other), ...(resultIsUndefined(one) ? [] : memory())];
}

function judge(
  into: Judgement,
  one: Case,
  subject: Outcome,
  other: Outcome | undefined,
  said: readonly string[],
): void {
  into.states++;
  count(into.kinds, other?.kind ?? 'process ended');
  if (said.length > 0) into.differences.push({ one, said, subject, judge: other });
}

const windowsOf = (one: Case, { mem }: Rig): Window[] =>
  one.windows.map(({ addr, bytes }) => ({ addr, bytes: mem.readBytes(addr, bytes.length) }));

const windowDifferences = (windows: readonly Window[], { windows: others }: HostOutcome): string[] =>
  windows.flatMap(({ addr, bytes }, i) => firstDifferences(`0x${addr.toString(16)}`, bytes, others[i].bytes));

function memoryDifferences(place: Place, a: Rig, b: Rig): string[] {
  const others = b.memoryOf(place);
  return a
    .memoryOf(place)
    .flatMap((bytes, area) => firstDifferences(['near', 'far', 'stack'][area], bytes, others[area]));
}

/** Words in which it differs that are said. */
const MOST_SAID = 4;

function firstDifferences(name: string, bytes: Uint8Array, others: Uint8Array): string[] {
  if (Buffer.compare(bytes, others) === 0) return [];
  const said: string[] = [];
  const show = (of: Uint8Array, at: number): string => Buffer.from(of.subarray(at, at + 8)).toString('hex');
  for (let at = 0; at < bytes.length && said.length < MOST_SAID; at++) {
    if (bytes[at] === others[at]) continue;
    said.push(`memory ${name}+0x${at.toString(16)} ${show(bytes, at)} / ${show(others, at)}`);
    at += 7;
  }
  return said;
}
