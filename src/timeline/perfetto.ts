// A timeline in the Trace Event Format, which Perfetto's user interface and its trace processor open.
//
// A track a CPU: what it executed. A track a task: where it ran. A track a task: its patch_state, while transitions are
// under way. A track a livepatch: its transitions, with a counter of the tasks that are left, and a flow from a transition
// to each task that it switched.
//
// Invariant: slices of a track do not overlap; a flow begins and ends inside of slices.

import { hexBytes } from '../scenario/trace.ts';
import type { Mark, TaskRow, Timeline, Transition } from './timeline.ts';

/** One of `traceEvents`. Times are in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'i' | 'C' | 'M' | 's' | 't' | 'f';
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: number;
  readonly bp?: 'e';
  readonly s?: 't' | 'p' | 'g';
  readonly args?: Record<string, unknown>;
}

/** What Perfetto calls processes: groups of tracks. */
const GROUP = { cpus: 1, tasks: 2, states: 3, livepatch: 4, log: 5 };
const GROUP_NAMES: Readonly<Record<keyof typeof GROUP, string>> = {
  cpus: 'CPUs',
  tasks: 'tasks',
  states: 'patch_state of tasks',
  livepatch: 'livepatch',
  log: 'dmesg and text',
};
const STATES: Readonly<Record<number, string>> = { 0: 'unpatched', 1: 'patched' };
const us = (ns: number): number => ns / 1000;

/** @returns all events, those that name tracks first */
export function* traceEvents(timeline: Timeline): Generator<TraceEvent> {
  for (const [group, pid] of Object.entries(GROUP)) {
    const name = GROUP_NAMES[group as keyof typeof GROUP];
    yield { name: 'process_name', ph: 'M', pid, tid: 0, args: { name } };
    yield { name: 'process_sort_index', ph: 'M', pid, tid: 0, args: { sort_index: pid } };
  }
  const tracks = new Map(timeline.tasks.map((task, i) => [task, i + 1]));
  const track = (task: TaskRow): number => tracks.get(task) as number;
  for (const [cpu] of timeline.cpus.entries()) yield named(GROUP.cpus, cpu + 1, `CPU ${cpu}`);
  for (const task of timeline.tasks) {
    yield named(GROUP.tasks, track(task), nameOf(task));
    if (task.states.length > 0) yield named(GROUP.states, track(task), nameOf(task));
  }
  for (const [cpu, runs] of timeline.cpus.entries()) {
    for (const { task, from, to, preempted } of runs)
      yield slice(GROUP.cpus, cpu + 1, nameOf(task), from, to, { preempted });
  }
  for (const task of timeline.tasks) yield* taskEvents(task, track(task));
  yield* livepatchEvents(timeline, track);
  for (const mark of timeline.marks) yield markEvent(mark);
}

function* taskEvents(task: TaskRow, tid: number): Generator<TraceEvent> {
  for (const { cpu, from, to } of task.runs) yield slice(GROUP.tasks, tid, `on CPU ${cpu}`, from, to);
  for (const { state, way, from, to } of task.states)
    yield slice(
      GROUP.states,
      tid,
      STATES[state] ?? String(state),
      from,
      to,
      way === undefined ? {} : { way },
    );
  for (const { t, why, func, stack } of task.blocked)
    yield instant(GROUP.states, tid, `cannot switch: ${why}`, t, { ...(func && { func }), stack });
}

function* livepatchEvents(timeline: Timeline, track: (task: TaskRow) => number): Generator<TraceEvent> {
  const patches = [...new Set(timeline.transitions.map(({ patch }) => patch))];
  for (const [i, patch] of patches.entries()) yield named(GROUP.livepatch, i + 1, patch);
  let flow = 0;
  for (const transition of timeline.transitions) {
    const tid = patches.indexOf(transition.patch) + 1;
    const { from, to, target, outcome, forced } = transition;
    const name = target === 1 ? 'patching' : 'unpatching';
    yield slice(GROUP.livepatch, tid, name, from, to, { outcome, forced });
    for (const { t, tasks } of transition.left) yield counter(t, tasks);
    for (const { task, t, way } of switchesOf(timeline, transition)) {
      const base = { name: 'switch', cat: 'livepatch', id: ++flow };
      yield { ...base, ph: 's', pid: GROUP.livepatch, tid, ts: us(from) };
      yield { ...base, ph: 'f', bp: 'e', pid: GROUP.states, tid: track(task), ts: us(t), args: { way } };
    }
    if (outcome === 'complete' || outcome === 'canceled') yield counter(to, 0);
  }
}

/** In the order of time. */
function switchesOf(timeline: Timeline, { from, to, target }: Transition) {
  const switches = timeline.tasks.flatMap((task) =>
    task.states
      .filter(({ state, way, from: t }) => state === target && way !== undefined && t >= from && t <= to)
      .map(({ way, from: t }) => ({ task, t, way })),
  );
  return switches.sort((a, b) => a.t - b.t);
}

function markEvent({ t, cpu, event }: Mark): TraceEvent {
  const { type, t: _, cpu: __, ...args } = event;
  const readable = Object.fromEntries(Object.entries(args).map(([key, value]) => [key, plain(value)]));
  const name = type === 'printk' ? (event as { text: string }).text : type;
  const tid = type === 'printk' || type === 'oops' ? 1 : 2;
  return { ...instant(GROUP.log, tid, name, t, { ...readable, cpu }), cat: type };
}

const plain = (value: unknown): unknown =>
  typeof value === 'bigint'
    ? `0x${value.toString(16)}`
    : value instanceof Uint8Array
      ? hexBytes(value)
      : value;
const nameOf = ({ comm, pid }: TaskRow): string => (pid === 0 ? comm : `${comm}:${pid}`);
const named = (pid: number, tid: number, name: string): TraceEvent => ({
  name: 'thread_name',
  ph: 'M',
  pid,
  tid,
  args: { name },
});
const slice = (pid: number, tid: number, name: string, from: number, to: number, args = {}): TraceEvent => ({
  name,
  ph: 'X',
  pid,
  tid,
  ts: us(from),
  dur: us(to - from),
  args,
});
const instant = (pid: number, tid: number, name: string, t: number, args = {}): TraceEvent => ({
  name,
  ph: 'i',
  s: 't',
  pid,
  tid,
  ts: us(t),
  args,
});
const counter = (t: number, tasks: number): TraceEvent => ({
  name: 'tasks left to switch',
  ph: 'C',
  pid: GROUP.livepatch,
  tid: 0,
  ts: us(t),
  args: { tasks },
});
