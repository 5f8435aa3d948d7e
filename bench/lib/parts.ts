// Times of things that are compared with each other, each in a process of its own: what the engine generates
// is faster in the process's first engine than in the next, and what one leaves behind slows down another.
//
// The processes take turns, and each part's best time counts, since other load on the machine only ever adds.

import { answer, askPart, wantedPart } from './child.ts';

/** Gets ready and returns what to time; that is then called again and again. */
export type Part = () => (() => void) | Promise<() => void>;

const TURNS = 3;
/** Many short calls, one that nothing else on the machine interrupts is enough; and long enough for V8 to compile. */
const CALLS = 60;
const LEAST_MS = 1500;

/** The best time of each part in ms; in a process that was started for one part it does not return. */
export async function timeParts(parts: Readonly<Record<string, Part>>): Promise<Record<string, number>> {
  const wanted = wantedPart();
  if (wanted) {
    const action = await parts[wanted]();
    answer(best(action));
    process.exit();
  }
  const times = Object.fromEntries(Object.keys(parts).map((name) => [name, Number.POSITIVE_INFINITY]));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of Object.keys(parts)) times[name] = Math.min(times[name], askPart<number>(name));
  }
  return times;
}

function best(action: () => void): number {
  let shortest = Number.POSITIVE_INFINITY;
  const end = performance.now() + LEAST_MS;
  for (let call = 0; call < CALLS || performance.now() < end; call++) {
    const start = performance.now();
    action();
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}
