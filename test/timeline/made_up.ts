// A run of as many tasks and slices as are wanted, for pages that are to be large.

import type { PageData } from '../../src/timeline/page_format.ts';

/** Tasks that are executed in turn by two CPUs, each switched once. */
export function madeUp(tasks: number, runs: number): PageData {
  const each = Array.from({ length: runs }, (_, i) => i);
  const all = Array.from({ length: tasks }, (_, i) => i);
  const end = 1000 * runs;
  return {
    title: `${tasks} tasks`,
    about: '',
    machine: 'made up',
    outcome: { ok: true, text: '' },
    end,
    cpus: 2,
    tasks: all.map((i) => ({ pid: i + 1, comm: 'task', from: 0, to: end, lives: true })),
    runs: {
      task: each.map((i) => i % tasks),
      cpu: each.map((i) => i % 2),
      from: each.map((i) => 1000 * i),
      to: each.map((i) => 1000 * i + 2000),
    },
    states: {
      task: all,
      state: all.map(() => 1),
      way: all.map(() => 0),
      from: all.map((i) => i * 100),
      to: all.map(() => end),
    },
    ways: ['stack check'],
    blocked: [],
    slept: { task: all, t: all.map((i) => i), stack: all.map(() => 0) },
    stacks: [['[<0>] msleep+0x15/0x20']],
    transitions: [{ patch: 'p', target: 1, from: 0, to: end, outcome: 'running', forced: false, left: [] }],
    sites: [],
    pokes: [],
    log: [],
    troubles: [],
  };
}
