// The lanes of the picture from the top down: CPUs, livepatches, the log, text, tasks.

import type { Run } from './run.ts';

export type Lane =
  | { readonly kind: 'cpu'; readonly cpu: number; readonly label: string }
  | { readonly kind: 'transitions'; readonly patch: string; readonly label: string }
  | { readonly kind: 'log' | 'text' | 'troubles'; readonly label: string }
  | { readonly kind: 'task'; readonly task: number; readonly label: string };

/** Pixels. */
export const LANE_HEIGHT = 22;

/** @param wanted part of the names of tasks that are shown; empty for all */
export function lanesOf(run: Run, wanted: string): Lane[] {
  const { data } = run;
  const patches = [...new Set(data.transitions.map(({ patch }) => patch))];
  const tasks = data.tasks.map((_, task) => task).filter((task) => run.nameOf(task).includes(wanted));
  // Those that a transition looked at come first: that is what the page is about.
  const touched = (task: number): number => (run.states[task].from.length > 0 ? 0 : 1);
  tasks.sort((a, b) => touched(a) - touched(b) || a - b);
  return [
    ...Array.from({ length: data.cpus }, (_, cpu): Lane => ({ kind: 'cpu', cpu, label: `CPU ${cpu}` })),
    ...patches.map((patch): Lane => ({ kind: 'transitions', patch, label: patch })),
    ...(data.troubles.length > 0 ? [{ kind: 'troubles', label: 'went wrong' } as const] : []),
    { kind: 'log', label: 'dmesg' },
    { kind: 'text', label: 'text written' },
    ...tasks.map((task): Lane => ({ kind: 'task', task, label: run.nameOf(task) })),
  ];
}
