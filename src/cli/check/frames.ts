// What `klpemu check --unwinder fp` prints beside the sums: for each function the instructions at which frame
// pointers alone would be wrong, and for all objects together the rules for reliable stack traces that this
// comes under.

import { ruleOf } from '../../check/frame_rules.ts';
import type { FrameMapReport, FrameRange, FrameReport, RuleReport } from '../../check/verdicts.ts';
import { counted } from '../numbers.ts';
import type { Colors } from '../terminal.ts';

/** Functions printed for an object; all with --functions. */
const MAX_FUNCTIONS = 20;
const DOCUMENT = 'Documentation/livepatch/reliable-stacktrace.rst';

const hex = (n: number): string => `+0x${n.toString(16)}`;

/** The map of one object. */
export function frameMapLines(map: FrameMapReport, all: boolean, colors: Colors): string[] {
  const wrong = map.functions.filter(({ ranges, calls }) => ranges.length + calls.length > 0);
  const shown = all ? wrong : wrong.slice(0, MAX_FUNCTIONS);
  const lines = shown.flatMap((report) => functionLines(report, colors));
  if (shown.length < wrong.length)
    lines.push(`  and ${counted(wrong.length - shown.length, 'more function')}`);
  for (const range of map.outside) lines.push(`  ${range.function}${rangeText(range)}`);
  return lines;
}

function functionLines(
  { name, instructions, interrupted, ranges, calls }: FrameReport,
  colors: Colors,
): string[] {
  const lines = [
    `  ${colors.bold(name)}: right at ${interrupted} of ${counted(instructions, 'instruction')}`,
  ];
  for (const range of ranges) {
    lines.push(`    ${range.function === name ? '' : range.function}${rangeText(range)}`);
  }
  for (const { offset, noticed } of calls) {
    const why = noticed
      ? 'a call without a frame, noticed'
      : colors.red('a call without a frame, and nothing notices');
    lines.push(`    ${hex(offset)}  ${why} (3)`);
  }
  return lines;
}

function rangeText({ from, to, instructions, why }: FrameRange): string {
  return `${hex(from)}..${hex(to)}  ${counted(instructions, 'instruction')}: ${why} (${ruleOf(why)})`;
}

/** One table for all objects. */
export function ruleLines(maps: readonly FrameMapReport[], colors: Colors): string[] {
  const functions = maps.flatMap((map) => map.functions);
  const instructions = functions.reduce((sum, f) => sum + f.instructions, 0);
  const interrupted = functions.reduce((sum, f) => sum + f.interrupted, 0);
  const lines = sumOfRules(maps).flatMap(({ section, title, demands, classes }) => [
    `  ${colors.bold(`${section.padEnd(4)} ${title}`)}${classes.length === 0 ? ': nothing here' : ''}`,
    ...(classes.length === 0 ? [] : [`       ${demands}`]),
    ...classes.map(
      ({ why, example, ...n }) =>
        `         ${why}: ${counted(n.instructions, 'instruction')} in ${counted(n.functions, 'function')}, ` +
        `as ${example}`,
    ),
  ]);
  return [
    `${colors.bold('Frame pointers alone')} are right at ${interrupted.toLocaleString('en-US')} of ` +
      `${counted(instructions, 'instruction')} if interrupted there. Rules of ${DOCUMENT}:`,
    ...lines,
  ];
}

function sumOfRules(maps: readonly FrameMapReport[]): RuleReport[] {
  const [first, ...others] = maps.map(({ rules }) => rules);
  return (first ?? []).map((rule, i) => {
    const sums = new Map(rule.classes.map((row) => [row.why, { ...row }]));
    for (const row of others.flatMap((rules) => rules[i].classes)) {
      const sum = sums.get(row.why);
      if (sum) {
        sum.instructions += row.instructions;
        sum.functions += row.functions;
      } else sums.set(row.why, { ...row });
    }
    return { ...rule, classes: [...sums.values()] };
  });
}
