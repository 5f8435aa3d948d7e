// A verdict as a person reads it: a line a part, its reasons below, and the verdict in the last line.

import { type Finding, PARTS, type Part, type Weight } from '../../vet/finding.ts';
import type { VetReport } from '../../vet/vet.ts';
import { visible } from '../terminal.ts';

const TITLES: Readonly<Record<Part, string>> = {
  loads: 'Does it load?',
  patchable: 'Can each function be patched?',
  unwinder: 'Is its code sound for the unwinder?',
  stall: 'Will it stall?',
  'comes and goes': 'Does it come and go?',
};
const MARKS: Readonly<Record<Weight, string>> = {
  good: '   ',
  told: ' - ',
  bad: ' ! ',
  'not seen': ' ? ',
};
const VERDICTS: Readonly<Record<VetReport['verdict'], string>> = {
  good: 'good',
  'not good': 'not good',
  'not all seen': 'nothing is against it, and not all was looked at',
};
/** Of the kernel's words, or of what is left, in text; `--json` has all. */
const MOST_LINES = 12;

export function reportText({ file, kernel, findings, verdict }: VetReport): string {
  const lines = [`${visible(file)} on ${kernel}`];
  for (const part of PARTS) {
    const own = findings.filter((finding) => finding.part === part);
    if (own.length === 0) continue;
    lines.push(TITLES[part], ...own.flatMap(findingLines));
  }
  const reasons = findings.filter(({ weight }) => weight === 'bad').length;
  const unseen = findings.filter(({ weight }) => weight === 'not seen').length;
  const why = [
    ...(reasons > 0 ? [`${reasons} against it`] : []),
    ...(unseen > 0 ? [`${unseen} not looked at`] : []),
  ];
  lines.push(`${visible(file)}: ${VERDICTS[verdict]}${why.length > 0 ? ` (${why.join(', ')})` : ''}`);
  return `${lines.join('\n')}\n`;
}

function findingLines({ weight, about, text, lines = [] }: Finding): string[] {
  const head = `${MARKS[weight]}${about === undefined ? '' : `${about}: `}${text}`;
  const shown = lines.slice(0, MOST_LINES).map((line) => `       ${line}`);
  const more = lines.length - shown.length;
  return [head, ...shown, ...(more > 0 ? [`       and ${more} more`] : [])].map(visible);
}
