// The last moment before another at which something was so: the history is executed once more, and looked at.

import type { KernelEvent } from '../kernel/events.ts';
import { parseDuration } from '../scenario/units.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { DrivenRun } from './driven_run.ts';
import { DebugError } from './error.ts';
import { runToTime } from './moments.ts';
import { Lookout } from './points.ts';
import type { Sought } from './sought.ts';

/** Events that are told of before a moment. */
const TOLD = 3;

export interface FoundMoment {
  /** Instructions executed before: the next one of that CPU is the one that did it. */
  readonly position: number;
  readonly cpu: number;
  /** comm:pid */
  readonly task: string;
  /** The last events before it, oldest first. */
  readonly events: readonly KernelEvent[];
}

/** Brings a machine to the moment from which is looked back. @param from a time, `instruction N`, or a text of the log @throws DebugError when it never comes */
export async function comeTo(checkpoints: Checkpoints, from: string): Promise<DrivenRun> {
  const run = await checkpoints.boot();
  const time = parseDuration(from);
  const [, position] = /^instruction (\d{1,15})$/.exec(from) ?? [];
  if (time !== undefined) await runToTime(run, time);
  else if (position !== undefined) await run.go(Number(position));
  else if (!(await toLine(run, from))) {
    run.close();
    throw new DebugError(`no line of the log has '${from}'`);
  }
  return run;
}

async function toLine(run: DrivenRun, text: string): Promise<boolean> {
  const { executor } = run.machine.inspect;
  let isThere = false;
  const leave = run.machine.events.subscribe(
    (event) => {
      if (event.type !== 'printk' || !event.text.includes(text)) return;
      isThere = true;
      executor.stopAt = executor.instructions;
    },
    ['printk'],
  );
  while (!isThere && run.over === undefined) await run.go(Number.POSITIVE_INFINITY);
  leave();
  return isThere;
}

/** @returns undefined: never, before that moment */
export async function lastBefore(
  checkpoints: Checkpoints,
  sought: Sought,
  before: number,
): Promise<FoundMoment | undefined> {
  const run = await checkpoints.boot();
  const { core, executor, smp } = run.machine.inspect;
  const recent: KernelEvent[] = [];
  let found: FoundMoment | undefined;
  const note = (position: number, cpu: number): void => {
    if (position < before) found = { position, cpu, task: String(core.current(cpu)), events: [...recent] };
  };
  run.machine.events.subscribe((event) => {
    if (sought.kind === 'line' && event.type === 'printk' && event.text.includes(sought.text))
      note(executor.instructions - 1, smp.current?.id ?? 0);
    if (event.type === 'sched' || event.type === 'wakeup') return;
    recent.push(event);
    if (recent.length > TOLD) recent.shift();
  });
  const lookout = new Lookout(run.machine);
  lookout.onMet = ({ position, cpu, point }) => {
    note('breakpoint' in point ? position : position - 1, cpu.id);
    return false;
  };
  lookout.set(sought.kind === 'call' ? [sought.addr] : [], sought.kind === 'access' ? [sought.point] : []);
  try {
    await run.go(before);
    return found;
  } finally {
    run.close();
  }
}
