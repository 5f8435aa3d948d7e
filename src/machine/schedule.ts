// Schedules: what is done to a machine's order of events, as a short text that runs again.
//
//   q,p1@20418          from the quiet choices on (src/kernel/choices.ts): at instruction 20418 the task of CPU 1 is preempted
//   s7,h0@5000,c12=1    from seed 7 on: CPU 0 stands still at instruction 5000, and choice 12 is 1
//   q+,w0@5000/3        CPU 0 stands still behind a host function of livepatch, of whose stores others see the first 3
//
// Instructions and choices are counted from where the schedule begins, over all CPUs.
//
// Invariant: text and schedule say the same; what the text does not say is as its base has it.

import type { ChoiceKind, Chooser } from '../kernel/choices.ts';

/**
 * h: the CPU stands still, as one whose host runs something else. p: its task is preempted, and kept from the CPU. w: it
 * stands still, and of what the host function has stored that it executes others see the first `stores` stores.
 */
export interface Action {
  readonly kind: 'h' | 'p' | 'w';
  readonly cpu: number;
  /** Instructions executed before it. */
  readonly at: number;
  /** w: how many are visible. */
  readonly stores?: number;
}

/** A choice that is another than the base's. */
interface Override {
  readonly index: number;
  readonly value: number;
}

export interface Schedule {
  /** quiet: no chance at all. seeded: as ever. */
  readonly base: 'quiet' | 'seeded';
  /** Of the chances; undefined for the machine's own. */
  readonly seed?: number;
  /** Host functions of livepatch pause behind their stores. */
  readonly pauses?: boolean;
  readonly actions: readonly Action[];
  readonly overrides: readonly Override[];
}

/** A text that is no schedule, or a schedule that does not fit what it is to be a schedule of. */
export class ScheduleError extends Error {
  readonly code = 'ESCHEDULE';
  constructor(message: string) {
    super(message);
    this.name = 'ScheduleError';
  }
}

const MOST = Number.MAX_SAFE_INTEGER;

/** @throws ScheduleError */
export function parseSchedule(text: string): Schedule {
  const [base, ...parts] = text.split(',');
  const actions: Action[] = [];
  const overrides: Override[] = [];
  for (const part of parts) {
    const choice = /^c(\d{1,16})=(\d{1,10})$/.exec(part);
    if (choice) overrides.push({ index: whole(choice[1], part), value: whole(choice[2], part) });
    else actions.push(parseAction(part));
  }
  for (const [list, key] of [
    [actions.map(({ at }) => at), 'instruction'],
    [overrides.map(({ index }) => index), 'choice'],
  ] as const)
    if (list.some((n, i) => i > 0 && n < list[i - 1]))
      throw new ScheduleError(`schedule: not in the order of its ${key}s`);
  return { ...parseBase(base), actions, overrides };
}

function parseBase(text: string): Pick<Schedule, 'base' | 'seed' | 'pauses'> {
  const [, kind = '', plus] = /^(.*?)(\+?)$/.exec(text) ?? [];
  const pauses = plus === '+' ? { pauses: true } : {};
  if (kind === 'q') return { base: 'quiet', ...pauses };
  const [, seed] = /^s(\d{0,10})$/.exec(kind) ?? [];
  if (seed === undefined || Number(seed) > 0xffffffff)
    throw new ScheduleError("schedule: begins with 'q' (quiet) or 's' and a seed below 2^32");
  return seed === '' ? { base: 'seeded', ...pauses } : { base: 'seeded', seed: Number(seed), ...pauses };
}

function parseAction(part: string): Action {
  const [, kind, cpu, at, stores] = /^([hpw])(\d{1,2})@(\d{1,16})(?:\/(\d{1,6}))?$/.exec(part) ?? [];
  if (kind === undefined || (kind === 'w') !== (stores !== undefined)) {
    const shown = JSON.stringify(part.slice(0, 40));
    throw new ScheduleError(
      `schedule: ${shown} is none of hCPU@INSTRUCTION, pCPU@INSTRUCTION, wCPU@INSTRUCTION/STORES, cCHOICE=VALUE`,
    );
  }
  const action = { kind: kind as Action['kind'], cpu: Number(cpu), at: whole(at, part) };
  return stores === undefined ? action : { ...action, stores: Number(stores) };
}

function whole(digits: string, part: string): number {
  const value = Number(digits);
  if (value <= MOST) return value;
  throw new ScheduleError(`schedule: ${part}: a number is too large`);
}

export function scheduleText({ base, seed, pauses, actions, overrides }: Schedule): string {
  const first = `${base === 'quiet' ? 'q' : `s${seed ?? ''}`}${pauses ? '+' : ''}`;
  return [
    first,
    ...actions.map(actionText),
    ...overrides.map(({ index, value }) => `c${index}=${value}`),
  ].join(',');
}

export const actionText = ({ kind, cpu, at, stores }: Action): string =>
  `${kind}${cpu}@${at}${stores === undefined ? '' : `/${stores}`}`;

/** Chooses as the base does, but for the overrides; and notes where another chooser differs from the base. */
export class ScheduleChooser implements Chooser {
  readonly #base: Chooser;
  readonly #overrides: readonly Override[];
  #made = 0;
  #next = 0;

  constructor(base: Chooser, overrides: readonly Override[]) {
    this.#base = base;
    this.#overrides = overrides;
  }

  /** Overrides that were not come to. */
  get left(): number {
    return this.#overrides.length - this.#next;
  }

  /** @throws ScheduleError for a value that the choice does not have */
  choose(kind: ChoiceKind, count: number): number {
    // The base draws, too: an override changes nothing but itself.
    const value = this.#base.choose(kind, count);
    if (count <= 1) return value;
    const override = this.#overrides[this.#next];
    if (override?.index !== this.#made++) return value;
    this.#next++;
    if (override.value < count) return override.value;
    throw new ScheduleError(
      `the schedule does not fit: choice ${override.index} (${kind}) is one of ${count}, not ${override.value}`,
    );
  }
}

/** A recording as a schedule: where it differs from what the base would have chosen. */
export function recordedOverrides(
  base: Chooser,
  recorded: readonly { readonly kind: ChoiceKind; readonly count: number; readonly value: number }[],
): Override[] {
  return recorded.flatMap(({ kind, count, value }, index) =>
    base.choose(kind, count) === value ? [] : [{ index, value }],
  );
}
