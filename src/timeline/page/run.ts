// The run that the page is of, and what is asked about it at a moment. Everything is found by halving: a run may have
// millions of rows.

import type { PageData } from '../page_format.ts';

/** Rows of something in the order of time, by their index in the data. */
interface Rows {
  readonly from: ArrayLike<number>;
  readonly to: ArrayLike<number>;
  /** Which of the data's rows they are. */
  readonly row: ArrayLike<number>;
}

export class Run {
  readonly data: PageData;
  /** What each CPU executed. */
  readonly cpus: readonly Rows[];
  /** By task: where it ran. */
  readonly runs: readonly Rows[];
  /** By task: its patch_state. */
  readonly states: readonly Rows[];
  /** By task: rows of `slept`, and of `blocked`. */
  readonly #slept: readonly (readonly number[])[];
  readonly blocked: readonly (readonly number[])[];

  constructor(data: PageData) {
    this.data = data;
    const { runs, states, slept, blocked, tasks } = data;
    this.cpus = grouped(runs, runs.cpu, data.cpus);
    this.runs = grouped(runs, runs.task, tasks.length);
    this.states = grouped(states, states.task, tasks.length);
    this.#slept = indices(slept.task, tasks.length);
    this.blocked = indices(
      blocked.map(({ task }) => task),
      tasks.length,
    );
  }

  /** Moments at which something happened, in order. */
  moments(): readonly number[] {
    const { log, transitions, states, pokes, troubles } = this.data;
    const switched = states.from.filter((_, i) => states.way[i] >= 0);
    const marks = [log, pokes, troubles].flatMap((rows) => rows.map(({ t }) => t));
    const all = [...marks, ...switched, ...transitions.map(({ from }) => from)];
    return [...new Set(all)].sort((a, b) => a - b);
  }

  nameOf(task: number): string {
    const { pid, comm } = this.data.tasks[task];
    return pid === 0 ? comm : `${comm}:${pid}`;
  }

  livesAt(task: number, t: number): boolean {
    const { from, to, lives } = this.data.tasks[task];
    return t >= from && (lives || t <= to);
  }

  /** The CPU that executes it then; undefined for none. */
  cpuAt(task: number, t: number): number | undefined {
    const row = rowAt(this.runs[task], t, this.data.end);
    return row === undefined ? undefined : this.data.runs.cpu[row];
  }

  /** 0 or 1; undefined while no transition is under way. */
  stateAt(task: number, t: number): number | undefined {
    const row = rowAt(this.states[task], t, this.data.end);
    return row === undefined ? undefined : this.data.states.state[row];
  }

  /** Where it stood, for one that is not executed; undefined where nobody looked. */
  stackAt(task: number, t: number): readonly string[] | undefined {
    const { slept, stacks } = this.data;
    const rows = this.#slept[task];
    const at = countUpTo(rows, t, (row) => slept.t[row]) - 1;
    return at < 0 ? undefined : stacks[slept.stack[rows[at]]];
  }

  /** Who was executed by a CPU. */
  whoAt(cpu: number, t: number): number | undefined {
    const row = rowAt(this.cpus[cpu], t, this.data.end);
    return row === undefined ? undefined : this.data.runs.task[row];
  }

  /** Tasks that were executed at some time between two moments, on any CPU; idle ones are none. */
  ranBetween(from: number, to: number): readonly number[] {
    const { runs, tasks } = this.data;
    const ran = new Set<number>();
    for (const rows of this.cpus)
      for (let i = firstBehind(rows, from); i < rows.row.length && rows.from[i] <= to; i++) {
        const task = runs.task[rows.row[i]];
        if (tasks[task].pid !== 0) ran.add(task);
      }
    return [...ran];
  }

  /** The last rewriting of each site up to then. */
  sitesAt(t: number): readonly PageData['sites'][number][] {
    const last = new Map<string, PageData['sites'][number]>();
    for (const site of this.data.sites) if (site.t <= t) last.set(site.where, site);
    return [...last.values()];
  }
}

function grouped(
  { from, to }: { readonly from: readonly number[]; readonly to: readonly number[] },
  by: readonly number[],
  groups: number,
): Rows[] {
  return indices(by, groups).map((row) => ({
    row,
    from: row.map((i) => from[i]),
    to: row.map((i) => to[i]),
  }));
}

function indices(by: readonly number[], groups: number): number[][] {
  const all: number[][] = Array.from({ length: groups }, () => []);
  for (let i = 0; i < by.length; i++) all[by[i]].push(i);
  return all;
}

/** How many of them, which are in order, are not behind t. */
export function countUpTo<T>(rows: ArrayLike<T>, t: number, timeOf: (row: T) => number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(rows[middle]) <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first that ends behind t: from there on is what a view that begins at t shows. */
export function firstBehind({ to }: Rows, t: number): number {
  return countUpTo(to, t, (end) => end);
}

/** @param end of the run: what is so up to there is so there, too */
function rowAt({ from, to, row }: Rows, t: number, end: number): number | undefined {
  const at = countUpTo(from, t, (start) => start) - 1;
  if (at < 0) return undefined;
  const isThere = t < to[at] || (t === to[at] && (to[at] === from[at] || t === end));
  return isThere ? row[at] : undefined;
}
