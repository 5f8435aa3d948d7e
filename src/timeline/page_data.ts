// The data of a page: a timeline and what its picture needs, in columns.

import { logPrefix } from '../kernel/printk.ts';
import { hexBytes } from '../scenario/trace.ts';
import type { PageData } from './page_format.ts';
import type { Mark, TaskRow, Timeline } from './timeline.ts';

/** What is told of a run beside what happened in it. */
export type Told = Pick<PageData, 'title' | 'about' | 'machine' | 'outcome'> & {
  /** It ended because the machine could not go on. */
  readonly failed: boolean;
};

/** What a picture has beside its timeline. */
export interface Pictured {
  /** Where tasks that left a CPU stood from then on. */
  readonly slept: readonly SleptRow[];
  readonly sites: PageData['sites'];
}

export interface SleptRow {
  readonly pid: number;
  readonly comm: string;
  /** When it left the CPU. */
  readonly t: number;
  readonly stack: readonly string[];
}

export function pageData(timeline: Timeline, picture: Pictured, { failed, ...told }: Told): PageData {
  const index = new Map(timeline.tasks.map((task, i) => [task, i]));
  const stacks = new Stacks();
  return {
    ...told,
    end: timeline.end,
    cpus: timeline.cpus.length,
    tasks: timeline.tasks.map(({ pid, comm, from, to, exit }) => ({
      pid,
      comm,
      from,
      to,
      lives: exit === undefined && to === timeline.end && !failed,
    })),
    runs: runsOf(timeline, index),
    ...statesOf(timeline, index),
    blocked: blockedOf(timeline, stacks),
    slept: sleptOf(timeline, picture, stacks),
    stacks: stacks.all,
    transitions: timeline.transitions,
    sites: picture.sites,
    ...marksOf(timeline),
  };
}

/** Each stack once. */
class Stacks {
  readonly all: (readonly string[])[] = [];
  readonly #known = new Map<string, number>();

  indexOf(stack: readonly string[]): number {
    const key = stack.join('\n');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, this.all.length);
    return this.all.push(stack) - 1;
  }
}

function runsOf(timeline: Timeline, index: ReadonlyMap<TaskRow, number>): PageData['runs'] {
  const runs = timeline.cpus.flat().sort((a, b) => a.from - b.from || a.cpu - b.cpu);
  return {
    task: runs.map(({ task }) => index.get(task) as number),
    cpu: runs.map(({ cpu }) => cpu),
    from: runs.map(({ from }) => from),
    to: runs.map(({ to }) => to),
  };
}

function statesOf(
  timeline: Timeline,
  index: ReadonlyMap<TaskRow, number>,
): Pick<PageData, 'states' | 'ways'> {
  const states = timeline.tasks
    .flatMap((task) => task.states.map((state) => ({ ...state, task: index.get(task) as number })))
    .sort((a, b) => a.from - b.from);
  const ways = [...new Set(states.flatMap(({ way }) => (way === undefined ? [] : [way])))].sort();
  return {
    states: {
      task: states.map(({ task }) => task),
      state: states.map(({ state }) => state),
      way: states.map(({ way }) => (way === undefined ? -1 : ways.indexOf(way))),
      from: states.map(({ from }) => from),
      to: states.map(({ to }) => to),
    },
    ways,
  };
}

function blockedOf(timeline: Timeline, stacks: Stacks): PageData['blocked'] {
  return timeline.tasks
    .flatMap((row, task) =>
      row.blocked.map(({ t, why, func, stack }) => ({
        task,
        t,
        why,
        ...(func === undefined ? {} : { func }),
        stack: stacks.indexOf(stack),
      })),
    )
    .sort((a, b) => a.t - b.t);
}

function sleptOf(timeline: Timeline, { slept }: Pictured, stacks: Stacks): PageData['slept'] {
  const byPid = new Map<number, number[]>();
  for (const [i, { pid }] of timeline.tasks.entries()) byPid.set(pid, [...(byPid.get(pid) ?? []), i]);
  const rows = slept.flatMap(({ pid, t, stack }) => {
    // Of those who had the pid one after the other.
    const task = byPid.get(pid)?.findLast((i) => timeline.tasks[i].from <= t);
    return task === undefined ? [] : [{ task, t, stack: stacks.indexOf(stack) }];
  });
  return {
    task: rows.map(({ task }) => task),
    t: rows.map(({ t }) => t),
    stack: rows.map(({ stack }) => stack),
  };
}

function marksOf(timeline: Timeline): Pick<PageData, 'pokes' | 'log' | 'troubles'> {
  const of = <T extends Mark['event']['type']>(...types: T[]) =>
    timeline.marks.flatMap(({ event }) =>
      types.includes(event.type as T) ? [event as Extract<Mark['event'], { type: T }>] : [],
    );
  return {
    pokes: of('poke').map(({ t, cpu, where, step, before, after }) => ({
      t,
      cpu,
      where,
      step,
      before: hexBytes(before),
      after: hexBytes(after),
    })),
    log: of('printk').flatMap(({ t, text }) =>
      text.split('\n').map((line) => ({ t, text: logPrefix(t) + line })),
    ),
    troubles: of('oops', 'gap', 'hole').map((event) => ({ t: event.t, text: troubleOf(event) })),
  };
}

function troubleOf(event: Extract<Mark['event'], { type: 'oops' | 'gap' | 'hole' }>): string {
  const who = `${event.comm}:${event.pid}`;
  if (event.type === 'oops') return `oops of ${who}: ${event.text.split('\n', 1)[0]}`;
  if (event.type === 'gap') return `${who} ran ${event.version}, chosen before it switched`;
  return `${who} stood in ${event.version} when it was taken for switched`;
}
