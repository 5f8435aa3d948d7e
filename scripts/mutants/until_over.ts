// A process that is run to its end, or until it is certain that it has none: it has taken more processor time than it may, or waits for
// what never comes. No clock on the wall decides: on a busy machine whatever it allows is too short for somebody.
//
// Of Linux: what processes did is asked of /proc (proc_pid_stat(5)).

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { ScriptUsageError } from '../errors.ts';

export interface Over {
  /** Its exit code; or that it does not end: it computes without end, or waits for ever. */
  readonly with: number | 'spins' | 'waits';
  /** Processor time of it and all that it started, as seen last: up to a second ago. */
  readonly processorMs: number;
}

const LOOK_EVERY_MS = 1_000;
/** Who has hardly run for so long, though nobody kept him from a processor, waits. No test sleeps for a minute. */
const WAITS_AFTER_LOOKS = 60;
/** Timers of Node's and vitest's own still go off: of those looks so many may find a thread that is to run, and so much may be executed. */
const MAY_RUN_LOOKS = 3;
const MAY_RUN_MS = 1_000;
/** USER_HZ, which is 100 wherever Linux has x86_64 programs. */
const TICK_MS = 10;

interface Look {
  readonly processorMs: number;
  /** Whether a thread has or waits for a processor, or for the disk. */
  readonly runs: boolean;
}

/**
 * Runs Node, without output. It and all that it started are ended when it is certain that it does not end by itself: a worker that spins does
 * not end with its parent.
 * @param processorMs which it may take
 * @throws ScriptUsageError where there is no /proc
 */
export function untilOver(args: readonly string[], cwd: string, processorMs: number): Promise<Over> {
  if (!existsSync('/proc/self/stat')) throw new ScriptUsageError('mutants are tested on Linux: no /proc');
  const child = spawn(process.execPath, args, { cwd, stdio: 'ignore', detached: true });
  const looks: Look[] = [];
  const used = (): number => Math.max(0, ...looks.map((look) => look.processorMs));
  return new Promise((resolve, reject) => {
    const over = (how: Over['with']): void => {
      clearInterval(timer);
      resolve({ with: how, processorMs: used() });
    };
    const timer = setInterval(() => {
      if (child.pid === undefined) return;
      looks.push(lookAt(child.pid));
      const how = endless(looks, processorMs);
      if (how === undefined) return;
      endGroup(child.pid);
      over(how);
    }, LOOK_EVERY_MS);
    child.on('error', reject);
    child.on('close', (code) => over(code ?? 1));
  });
}

/** What the looks at a process say of it. @returns undefined while it may end */
export function endless(looks: readonly Look[], processorMs: number): 'spins' | 'waits' | undefined {
  const last = looks.at(-1);
  if (last === undefined) return undefined;
  if (last.processorMs > processorMs) return 'spins';
  const lately = looks.slice(-WAITS_AFTER_LOOKS);
  if (lately.length < WAITS_AFTER_LOOKS) return undefined;
  const ran = lately.filter(({ runs }) => runs).length;
  const took = last.processorMs - lately[0].processorMs;
  return ran <= MAY_RUN_LOOKS && took <= MAY_RUN_MS ? 'waits' : undefined;
}

/** It may have ended since. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The processes of a group, and those that they have waited for. */
function lookAt(group: number): Look {
  let [ticks, runs] = [0, false];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = statOf(`/proc/${pid}`);
    if (stat?.group !== group) continue;
    ticks += stat.ticks;
    runs ||= threadsOf(pid).some((thread) => /[RD]/.test(statOf(thread)?.state ?? ''));
  }
  return { processorMs: ticks * TICK_MS, runs };
}

function threadsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}`);
  } catch {
    return []; // it has ended
  }
}

/** Of a process or a thread. @returns undefined where it has ended */
function statOf(path: string): { state: string; group: number; ticks: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`${path}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // Its name, in parentheses, may have any character in it. Fields from the third on.
  const [state, , group, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  // utime, stime, cutime and cstime are the 14th to the 17th.
  const ticks = rest.slice(8, 12).reduce((sum, field) => sum + Number(field), 0);
  return { state, group: Number(group), ticks };
}
