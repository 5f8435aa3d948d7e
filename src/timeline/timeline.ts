// A run as rows over virtual time: what each CPU executed, where each task was and in which patch_state, how each
// transition went, what was written to text and to dmesg. Pictures are made of it.
//
// Invariant: rows are in the order of time, and what is in one row does not overlap.

import type { KernelEvent, SwitchWay } from '../kernel/events.ts';

/** Virtual ns since boot. */
interface Span {
  readonly from: number;
  to: number;
}

interface Run extends Span {
  readonly task: TaskRow;
  readonly cpu: number;
  /** It did not leave the CPU by itself. */
  preempted: boolean;
  /** It has not ended: `to` is as far as is known. */
  isUnderWay: boolean;
}

interface State extends Span {
  /** KLP_PATCHED (1) or KLP_UNPATCHED (0). */
  readonly state: number;
  /** How it came to it; undefined where the transition began so, or the task was born so. */
  readonly way?: SwitchWay;
}

interface Blocked {
  readonly t: number;
  readonly why: string;
  readonly func?: string;
  readonly stack: readonly string[];
}

export interface TaskRow extends Span {
  /** 0 for the idle task of a CPU. */
  readonly pid: number;
  readonly comm: string;
  readonly parent?: number;
  /** 0 to 255, or what was said of a signal; undefined while it lives. */
  exit?: number;
  readonly runs: Run[];
  /** While transitions are under way; none before and behind. */
  readonly states: State[];
  readonly blocked: Blocked[];
}

export interface Transition extends Span {
  readonly patch: string;
  /** KLP_PATCHED (1) or KLP_UNPATCHED (0). */
  readonly target: number;
  outcome: 'running' | 'complete' | 'reversed' | 'canceled';
  forced: boolean;
  /** Tasks that were still to switch, from a moment on. */
  readonly left: { readonly t: number; readonly tasks: number }[];
}

/** What happened at a moment and took no time. */
export interface Mark {
  readonly t: number;
  readonly cpu: number;
  readonly event: KernelEvent & {
    type: 'poke' | 'printk' | 'ftrace' | 'module' | 'oops' | 'gap' | 'hole' | 'int3';
  };
}

const MARKS: ReadonlySet<string> = new Set([
  'poke',
  'printk',
  'ftrace',
  'module',
  'oops',
  'gap',
  'hole',
  'int3',
]);
const isMark = (event: KernelEvent): event is Mark['event'] => MARKS.has(event.type);

export class Timeline {
  /** By CPU, what it executed. */
  readonly cpus: Run[][] = [];
  /** In the order in which they were first seen. */
  readonly tasks: TaskRow[] = [];
  readonly transitions: Transition[] = [];
  readonly marks: Mark[] = [];
  /** Where the run ended. */
  end = 0;
  /** By what the scheduler calls them: the last of that name. */
  readonly #named = new Map<string, TaskRow>();
  readonly #alive = new Set<TaskRow>();
  /** Born with a patch_state, before it was told that they were born. */
  readonly #unborn = new Map<number, State>();

  /** @param tasks that are there when it begins, idle ones among them */
  constructor(tasks: readonly Pick<TaskRow, 'pid' | 'comm'>[], cpus: number) {
    for (let cpu = 0; cpu < cpus; cpu++) this.cpus.push([]);
    for (const { pid, comm } of tasks) this.#add(pid, comm, 0);
  }

  record(event: KernelEvent): void {
    this.end = Math.max(this.end, event.t);
    if (isMark(event)) this.marks.push({ t: event.t, cpu: event.cpu, event });
    else if (event.type === 'sched') this.#sched(event);
    else if (event.type === 'task') this.#task(event);
    else if (event.type === 'transition') this.#transition(event);
    else if (event.type === 'patch_state') this.#switched(event);
    else if (event.type === 'blocked') this.#blocked(event);
  }

  /** What is under way is so up to there; more may come. @param t moment at which the run ended, or up to which it is known */
  finish(t: number): void {
    this.end = Math.max(this.end, t);
    for (const task of this.#named.values()) {
      if (this.#alive.has(task)) task.to = this.end;
      const [run, state] = [task.runs.at(-1), task.states.at(-1)];
      if (run?.isUnderWay) run.to = this.end;
      if (state && this.current && this.#alive.has(task)) state.to = this.end;
    }
    const { current } = this;
    if (current) current.to = this.end;
  }

  /** The transition under way. */
  get current(): Transition | undefined {
    const last = this.transitions.at(-1);
    return last?.outcome === 'running' ? last : undefined;
  }

  #add(pid: number, comm: string, t: number, parent?: number): TaskRow {
    const row: TaskRow = {
      pid,
      comm,
      from: t,
      to: t,
      ...(parent === undefined ? {} : { parent }),
      runs: [],
      states: [],
      blocked: [],
    };
    this.tasks.push(row);
    this.#named.set(keyOf(pid, comm), row);
    this.#alive.add(row);
    return row;
  }

  #sched({ t, cpu, prev, next, preempted }: KernelEvent & { type: 'sched' }): void {
    const before = this.#row(prev, t);
    const run = before.runs.at(-1);
    if (run?.isUnderWay) Object.assign(run, { to: t, preempted, isUnderWay: false });
    // Nobody was told when it began.
    else this.#run({ task: before, cpu, from: before.from, to: t, preempted, isUnderWay: false });
    // One that has exited has its last moments behind that.
    if (!this.#alive.has(before)) before.to = t;
    this.#run({ task: this.#row(next, t), cpu, from: t, to: t, preempted: false, isUnderWay: true });
  }

  #run(run: Run): void {
    run.task.runs.push(run);
    this.cpus[run.cpu].push(run);
  }

  /** @param name `comm:pid` */
  #row(name: string, t: number): TaskRow {
    const at = name.lastIndexOf(':');
    const [comm, pid] = [name.slice(0, at), Number(name.slice(at + 1))];
    return this.#named.get(keyOf(pid, comm)) ?? this.#add(pid, comm, t);
  }

  #task({ t, what, pid, comm, parent, code }: KernelEvent & { type: 'task' }): void {
    if (what === 'new') {
      const row = this.#add(pid, comm, t, parent);
      const state = this.#unborn.get(pid) ?? this.#bornState(t);
      this.#unborn.delete(pid);
      if (!state) return;
      row.states.push(state);
      if (state.state !== this.current?.target) this.#left(t, 1);
      return;
    }
    const row = this.#named.get(keyOf(pid, comm));
    if (!row) return;
    if (code !== undefined) row.exit = code;
    if (this.#isPending(row)) this.#left(t, -1);
    this.#alive.delete(row);
    row.to = t;
    const state = row.states.at(-1);
    if (state && this.current) state.to = t;
  }

  /** Of a child whose parent has yet to switch. */
  #bornState(t: number): State | undefined {
    const { current } = this;
    return current && { from: t, to: t, state: current.target === 0 ? 1 : 0 };
  }

  #isPending(row: TaskRow): boolean {
    const { current } = this;
    return current !== undefined && row.states.at(-1)?.state !== current.target;
  }

  #left(t: number, change: number): void {
    const left = this.current?.left;
    if (!left) return;
    left.push({ t, tasks: (left.at(-1)?.tasks ?? 0) + change });
  }

  #transition({ t, patch, what, target }: KernelEvent & { type: 'transition' }): void {
    const { current } = this;
    if (what === 'initializing') this.#begin(t, patch, target);
    else if (what === 'reversing') {
      if (current) this.#end(current, t, 'reversed');
      this.#begin(t, patch, target === 0 ? 1 : 0, current);
    } else if (what === 'forcing' && current) current.forced = true;
    else if (what === 'canceling' && current) this.#end(current, t, 'canceled');
    else if (what === 'complete' && current) this.#end(current, t, 'complete');
  }

  /** @param reversed the transition that this one takes back: states go on */
  #begin(t: number, patch: string, target: number, reversed?: Transition): void {
    const state = target === 0 ? 1 : 0;
    let tasks = 0;
    for (const row of this.#alive) {
      const before = row.states.at(-1);
      if (reversed && before?.to === t) row.states.push({ from: t, to: t, state: before.state });
      else row.states.push({ from: t, to: t, state });
      if (row.states.at(-1)?.state !== target) tasks++;
    }
    const left = [{ t, tasks }];
    this.transitions.push({ patch, target, from: t, to: t, outcome: 'running', forced: false, left });
  }

  #end(transition: Transition, t: number, outcome: Transition['outcome']): void {
    Object.assign(transition, { to: t, outcome });
    for (const row of this.#alive) {
      const state = row.states.at(-1);
      if (state && state.from >= transition.from) state.to = t;
    }
  }

  #switched({ t, pid, comm, to, way }: KernelEvent & { type: 'patch_state' }): void {
    const row = this.#named.get(keyOf(pid, comm));
    if (!row) {
      this.#unborn.set(pid, { from: t, to: t, state: to, way });
      return;
    }
    const before = row.states.at(-1);
    if (before) before.to = t;
    const pending = this.#isPending(row);
    row.states.push({ from: t, to: t, state: to, way });
    if (pending && to === this.current?.target) this.#left(t, -1);
  }

  #blocked({ t, pid, comm, why, func, stack }: KernelEvent & { type: 'blocked' }): void {
    const base = { t, why, stack };
    this.#named.get(keyOf(pid, comm))?.blocked.push(func === undefined ? base : { ...base, func });
  }
}

/** Idle tasks have no pid of their own. */
const keyOf = (pid: number, comm: string): string => (pid === 0 ? comm : String(pid));
