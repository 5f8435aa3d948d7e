// Letting virtual time pass in pieces, between which a person may say that it is enough.

import type { ShellContext } from './command.ts';

/** Virtual ns between two looks at whether it was interrupted. */
const PIECE_NS = 10e9;

type Passed = 'done' | 'time is up';

/**
 * Lets virtual ns pass. @param done ends it before; it is asked after every step of the machine
 * @throws GivenUp when somebody wants no more of it, or the command's limit is reached
 */
export async function letPass(
  shell: ShellContext,
  ns: number,
  done: () => boolean = () => false,
): Promise<Passed> {
  const { guest } = shell;
  const { machine } = guest;
  const end = machine.now() + ns;
  for (;;) {
    const left = end - machine.now();
    if (await guest.runUntil(done, Math.min(left, PIECE_NS))) return 'done';
    guest.stopIfAsked();
    if (left <= PIECE_NS) return 'time is up';
    // Who asks in this very thread must come to speak.
    await new Promise((resolve) => setImmediate(resolve));
    guest.stopIfAsked();
  }
}

/** Seconds in each unit. */
const SECONDS: Readonly<Record<string, number>> = { '': 1, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400 };

/** `2`, `0.5`, `20ms`, `3h` in ns, as sleep reads it; undefined for anything else. */
export function timeInterval(text: string): number | undefined {
  const match = /^(\d*\.?\d+|\d+\.)(ms|[smhd]?)$/.exec(text);
  return match ? Number(match[1]) * SECONDS[match[2]] * 1e9 : undefined;
}
