// The words that the prompt of klpemu serve knows beside the shell's commands: they are about time.

import { parseDuration } from '../../scenario/units.ts';
import type { Moment } from './history.ts';

export type Control =
  | { readonly do: 'play' | 'pause' | 'next' | 'interrupt' }
  | { readonly do: 'step'; readonly count: number }
  | { readonly do: 'speed'; readonly speed: number }
  /** Undefined: before what was typed last. */
  | { readonly do: 'back'; readonly to: Moment | undefined };

export const MOST_STEPS = 1e9;
export const SPEEDS = { min: 1e-6, max: 1e6 };

export const HELP = `about time:
  play                    time passes by itself
  pause                   nothing is executed, in the midst of a command, too
  step [N]                N instructions (1) of all CPUs together
  next                    to the next thing that is told of: a switch, a line of dmesg, a byte of text
  back                    to before what was typed last
  back TIME               to a moment (1.2s, 800ms)
  back instruction N      to before an instruction
  speed X                 virtual time that passes in a second, in seconds (0.01, 1, 100)

`;

/** @returns undefined: none of these; a text: what is wrong with it */
export function controlOf(line: string): Control | string | undefined {
  const [word = '', ...args] = line.trim().split(/\s+/);
  switch (word) {
    case 'play':
    case 'pause':
    case 'next':
      return args.length === 0 ? { do: word } : undefined;
    case 'step':
      return stepOf(args);
    case 'speed':
      return speedOf(args);
    case 'back':
      return backOf(args);
    default:
      return undefined;
  }
}

function stepOf([count = '1', ...more]: readonly string[]): Control | string {
  const isGood = /^\d{1,10}$/.test(count) && Number(count) >= 1 && Number(count) <= MOST_STEPS;
  if (isGood && more.length === 0) return { do: 'step', count: Number(count) };
  return `step: how many instructions, 1 to ${MOST_STEPS}`;
}

function speedOf([text = '', ...more]: readonly string[]): Control | string {
  const speed = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (speed >= SPEEDS.min && speed <= SPEEDS.max && more.length === 0) return { do: 'speed', speed };
  return `speed: virtual seconds in a second, ${SPEEDS.min} to ${SPEEDS.max}`;
}

/** The shell has a command of that name, which has options. */
function backOf(args: readonly string[]): Control | string | undefined {
  const [first, second] = args;
  if (first === undefined) return { do: 'back', to: undefined };
  if (first === 'instruction') {
    const isGood = second !== undefined && /^\d{1,15}$/.test(second) && args.length === 2;
    return isGood ? { do: 'back', to: { instructions: Number(second) } } : 'back: instruction N';
  }
  const now = args.length === 1 ? parseDuration(first) : undefined;
  return now === undefined ? undefined : { do: 'back', to: { now } };
}
