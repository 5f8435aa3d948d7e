// What an operation did, on whichever machine, and how the real one's are read from its serial line.

import { ScriptError } from '../errors.ts';

export interface LogLine {
  readonly level: number;
  readonly text: string;
}

/** Of one operation. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What the kernel said in its time. */
  readonly log: readonly LogLine[];
}

/** A machine ended before the operations did. */
export class MachineFailure extends ScriptError {
  override readonly name = 'MachineFailure';
  override readonly code = 'EMACHINE';
  override readonly exitStatus = 3;
  readonly outcomes: readonly Outcome[];

  constructor(message: string, outcomes: readonly Outcome[]) {
    super(message);
    this.outcomes = outcomes;
  }
}

const HEADER = /^@ (\d+) (\d+) (\d+) (\d+) (\d+)$/;

/** What init.sh wrote. `ended`: all operations were carried out. */
export function readOutcomes(bytes: Uint8Array): { outcomes: Outcome[]; ended: boolean } {
  const all = Buffer.from(bytes);
  const outcomes: Outcome[] = [];
  let at = 0;
  const take = (count: number): string => {
    const text = all.toString('latin1', at, at + count);
    at += count;
    return text;
  };
  for (;;) {
    const end = all.indexOf('\n', at);
    if (end < 0) return { outcomes, ended: false };
    const header = take(end + 1 - at).slice(0, -1);
    if (header === '@ end') return { outcomes, ended: true };
    const found = HEADER.exec(header);
    if (!found) throw new MachineFailure(`the real machine wrote '${header.slice(0, 60)}'`, outcomes);
    const [index, status, out, err, log] = found.slice(1).map(Number);
    // The last one may be cut off.
    if (at + out + err + log > all.length || index !== outcomes.length) return { outcomes, ended: false };
    outcomes.push({ status, stdout: take(out), stderr: take(err), log: readLog(take(log)) });
  }
}

/** Lines of `dmesg -r`: `<6>[    1.234567] text`. */
export function readLog(text: string): LogLine[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const found = /^<(\d+)>\[ *\d+\.\d{6}\] ?(.*)$/s.exec(line);
      // Of a message of several lines, those behind the first have no prefix in old versions of dmesg.
      return found ? { level: Number(found[1]) & 7, text: found[2] } : { level: -1, text: line };
    });
}
