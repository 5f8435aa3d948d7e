// Times of things that are compared with each other, each in a process of its own: what the engine generates
// is faster in the process's first engine than in the next, and what one leaves behind slows down another.
//
// The processes take turns, and each part's best time counts, since other load on the machine only ever adds.

import { spawnSync } from 'node:child_process';

/** Gets ready and returns what to time; that is then called again and again. */
export type Part = () => (() => void) | Promise<() => void>;

const FLAG = '--part=';
const TURNS = 3;
const CALLS = 6;

/** The best time of each part in ms; in a process that was started for one part it does not return. */
export async function timeParts(parts: Readonly<Record<string, Part>>): Promise<Record<string, number>> {
  const wanted = process.argv.find((arg) => arg.startsWith(FLAG))?.slice(FLAG.length);
  if (wanted) {
    const action = await parts[wanted]();
    console.log(best(action));
    process.exit();
  }
  const times = Object.fromEntries(Object.keys(parts).map((name) => [name, Number.POSITIVE_INFINITY]));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of Object.keys(parts)) times[name] = Math.min(times[name], inProcess(name));
  }
  return times;
}

function best(action: () => void): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (let call = 0; call < CALLS; call++) {
    const start = performance.now();
    action();
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}

function inProcess(name: string): number {
  const { stdout, stderr, status } = spawnSync(process.execPath, [process.argv[1], `${FLAG}${name}`], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return Number(stdout);
}
