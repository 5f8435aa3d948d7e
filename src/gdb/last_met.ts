// Where a debugger's way back ends: at the last moment before this one at which something was met, or a task stood before
// its next instruction. It is found by executing the history once more.
//
// Invariant: what is found is before the moment from which it is looked for.

import type { Past } from '../history/back.ts';
import { type Debuggee, positionOf } from '../history/debuggee.ts';
import { Lookout, type Points } from '../history/points.ts';
import type { Reason } from './stop.ts';
import { idleThread, lastTask, threadOf } from './threads.ts';

/** What was met last before a moment. */
interface LastMet {
  readonly position: number;
  readonly thread: number;
  readonly reason: Reason;
  /** The moment is that before the instruction at a breakpoint. */
  readonly isBefore: boolean;
}

/** Where nothing but writes of text is looked for, they are known. */
export function lastTextWrite(run: Debuggee, points: Points): LastMet | undefined | 'unknown' {
  const { breakpoints, watchpoints } = points;
  const { textWrites } = run;
  if (!textWrites || breakpoints.size > 0 || !watchpoints.every((point) => textWrites.covers(point)))
    return 'unknown';
  const found = textWrites.last(watchpoints, positionOf(run));
  if (!found) return undefined;
  const { write, point } = found;
  const reason = { kind: 'watchpoint', point } as const;
  const thread = write.pid === 0 ? idleThread(write.cpu) : write.pid;
  return { position: write.position - 1, thread, reason, isBefore: false };
}

/** The same history once more, up to a moment: what was met last before it. */
export async function lastMet(history: Past, points: Points, before: number): Promise<LastMet | undefined> {
  const run = await history.at(0);
  const lookout = new Lookout(run.machine);
  let last: LastMet | undefined;
  const { core } = run.machine.inspect;
  lookout.onMet = ({ cpu, point, position }) => {
    const isBefore = 'breakpoint' in point;
    // Backwards, an access is undone: the moment is that before its instruction.
    const at = isBefore ? position : position - 1;
    if (at >= before) return false;
    const thread = threadOf(run.machine, core.current(cpu.id));
    const reason: Reason = isBefore
      ? { kind: 'breakpoint', addr: point.breakpoint }
      : { kind: 'watchpoint', point };
    last = { position: at, thread, reason, isBefore };
    return false;
  };
  lookout.set(points.breakpoints.keys(), points.watchpoints);
  await run.go(before);
  run.close();
  return last;
}

/** How much further back each time a task's last instruction is looked for. */
const WINDOW_GROWS = 32;

/** The machine before the last instruction that a task executed before `here`. @returns undefined: it executed none */
export async function lastStep(history: Past, thread: number, here: number): Promise<Debuggee | undefined> {
  for (let window = 1; ; window *= WINDOW_GROWS) {
    const from = Math.max(0, here - window);
    const run = await history.at(from);
    const found = await lastOf(run, thread, here);
    if (found === positionOf(run)) return run;
    run.close();
    if (found !== undefined) return history.at(found);
    if (from === 0) return undefined;
  }
}

/** Before which instruction, of those up to `end`, the last of a task stands; the machine goes there but for the last one. */
async function lastOf(run: Debuggee, thread: number, end: number): Promise<number | undefined> {
  const { machine } = run;
  let last: number | undefined;
  for (let at = positionOf(run); at < end && run.over === undefined; at = positionOf(run)) {
    const { executor } = machine.inspect;
    const isKnown = executor.rest !== undefined;
    const before = isKnown ? threadOf(machine, lastTask(machine)) : undefined;
    // The moment that is looked for, unless it is found out only by going on.
    if (at === end - 1 && before === thread) return at;
    const owners = new Map(machine.inspect.smp.cpus.map(({ id }) => [id, machine.inspect.core.current(id)]));
    await run.go(at + 1);
    const cpu = machine.inspect.smp.current;
    const owner = cpu && owners.get(cpu.id);
    if (owner && threadOf(machine, owner) === thread) last = at;
    if (positionOf(run) === at) break;
  }
  return last;
}
