// An answer of going back, for a person.

import { insnText } from '../scenario/insn_text.ts';
import { formatDuration } from '../scenario/units.ts';
import type { BackAnswer } from './back.ts';
import { eventText } from './event_text.ts';

/** @param there how to come to an instruction @param wrap has lines of code fit on a terminal */
export function backText(
  { what, from, found }: BackAnswer,
  there: (position: number) => string,
  wrap: (lines: readonly string[]) => readonly string[] = (lines) => lines,
): string {
  if (!found) return `no ${what} before instruction ${from}\n`;
  const { position, t, cpu, task, at, before, after, stack, code, events } = found;
  const lines = [
    `${what}${before === undefined ? '' : `: ${before} -> ${after ?? 'no memory'}`}`,
    `${task} on CPU ${cpu}, in ${at}, at ${formatDuration(t)}, before instruction ${position}`,
    ...stack.map((line) => `  ${line}`),
    'code:',
    ...wrap(code.map((insn) => `  ${insnText(insn)}`)),
    ...(events.length === 0 ? [] : ['before it:']),
    ...events.map((event) => `  ${eventText(event)}`),
    `there: ${there(position)}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** As values that JSON has. */
export function backValue({ what, from, found }: BackAnswer): object {
  return { what, from, found: found ? { ...found, code: found.code.map(insnText) } : null };
}
