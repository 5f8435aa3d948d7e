// The end of a report: the proof that no task mixed old and new, and a table of the transitions.

import type { SwitchWay } from '../../kernel/events.ts';
import type { TransitionFacts } from '../../scenario/recorder.ts';
import type { Counters, RunReport } from '../../scenario/report.ts';
import { formatDuration } from '../../scenario/units.ts';
import { fittedTable } from '../fitted_table.ts';
import { counted } from '../numbers.ts';
import { type Colors, tableColumns, toTerminal, toTerminalUnder } from '../terminal.ts';
import { expectationText } from './expectation_text.ts';

const KLP_PATCHED = 1;
/** Ways that have a column when any task went by them. */
const WAYS: readonly SwitchWay[] = [
  'stack check',
  'cond_resched',
  'freezable sleep',
  'kernel exit',
  'idle loop',
  'force',
];

export function summary(report: RunReport, colors: Colors): string {
  const parts = [
    proof(report, colors),
    report.transitions.length > 0 ? transitionTable(report.transitions, colors) : '',
    verdict(report, colors),
  ];
  return parts.filter(Boolean).join('\n');
}

/** Where the words of a count begin. */
const UNDER = 12;

function proof(report: RunReport, { bold, red }: Colors): string {
  const { counters, checks, transitions, sites, text } = report;
  const made = checks.filter((check) => check.count > 0);
  if (transitions.length === 0) return '';
  const rows = [
    ...(counters ? counterRows(counters) : []),
    ...made.map(({ name, count }) => `${number(count)}  ${name}`),
  ];
  if (sites.length > 0) {
    const patched = sites.filter((site) => site.what === 'register').length;
    rows.push(`${number(patched)}  fentry sites rewritten, ${sites.length - patched} of them back to a nop`);
    rows.push(`${number(text.pokes)}  writes to live text; int3 hits in between, carried over: ${text.int3}`);
  }
  const list = toTerminalUnder(
    rows.map((row) => `  ${row}`),
    UNDER,
  );
  const heading = toTerminal([proofHeading(report, bold, red)]);
  return `${[...heading, ...list].join('\n')}\n`;
}

function proofHeading(report: RunReport, good: Paint, bad: Paint): string {
  const { counters, transitions, failure, checks, gaps, holes } = report;
  const made = checks.reduce((sum, check) => sum + check.count, 0);
  if (holes.some((one) => one.forced !== undefined))
    return bad('A transition completed over a task that force had left behind (docs/findings.md)');
  if (holes.length > 0)
    return bad('A transition passed over a task in a part of a replaced function (docs/findings.md)');
  if (counters && counters.mixed > 0) return bad('Old and new were mixed in a task');
  if (gaps.length > 0) return bad("Old and new were mixed through the kernel's own gap (docs/findings.md)");
  if (failure) return good('Checks that held until then');
  if (made === 0) {
    const nothing = 'Nothing was held against the ground truth';
    return good(counters ? `${nothing}; what the module counted:` : nothing);
  }
  if (transitions.some((one) => one.forced))
    return good('A transition was forced: nothing keeps old and new apart');
  if (transitions.some((one) => one.outcome === 'running'))
    return good('A transition is not over; what was checked until now:');
  return good('Old and new were never mixed in a task. What was checked:');
}

type Paint = (text: string) => string;

function counterRows({ mixed, rows }: Counters): string[] {
  const done = rows.map(
    ({ name, values }) =>
      `${number(values.reduce((a, b) => a + b, 0))}  ${name}, by version: ${values.join(' ')}`,
  );
  return [...done, `${number(mixed)}  of these mixed, by the count that the module keeps itself`];
}

const number = (value: number): string => String(value).padStart(8);

/** `stack check` in two lines. */
const head = (words: string): string => words.replace(' ', '\n');

function transitionTable(transitions: readonly TransitionFacts[], colors: Colors): string {
  const ways = WAYS.filter((way) => transitions.some((one) => one.switches.some((s) => s.way === way)));
  const heads = [
    'transition',
    'tasks',
    ...ways,
    'born',
    'blocked',
    'half after',
    'last after',
    'ended after',
  ];
  const rows = transitions.map((one) => {
    const counts = ways.map((way) => one.switches.filter((s) => s.way === way).length);
    const others = [one.born || '-', blockedCount(one), ...times(one)];
    return [title(one), one.tasks, ...counts.map((n) => n || '-'), ...others].map(String);
  });
  const columns = heads.map((words) => ({ head: head(words) }));
  return `${fittedTable(columns, rows, tableColumns(), colors.bold)}\n`;
}

function title({ patch, target, outcome, forced }: TransitionFacts): string {
  const word = target === KLP_PATCHED ? 'patching' : 'unpatching';
  const how = outcome === 'complete' ? '' : outcome === 'running' ? ' (not complete)' : ` (${outcome})`;
  return `${patch} ${word}${forced ? ' (forced)' : ''}${how}`;
}

/** Tasks that a stack check found unable to switch, at least once. */
function blockedCount({ blocked }: TransitionFacts): string | number {
  return new Set(blocked.map((one) => one.pid)).size || '-';
}

function times({ switches, startedAt, endedAt }: TransitionFacts): string[] {
  const since = switches.map((one) => one.sinceNs).toSorted((a, b) => a - b);
  const half = since[Math.floor((since.length - 1) / 2)];
  const show = (ns: number | undefined) => (ns === undefined ? '-' : formatDuration(ns));
  return [show(half), show(since.at(-1)), show(endedAt === undefined ? undefined : endedAt - startedAt)];
}

function verdict(report: RunReport, colors: Colors): string {
  const { expectations, endedAt, failure } = report;
  const failed = expectations.filter((one) => !one.ok);
  const looked = counted(expectations.length, 'expectation');
  const end = `${formatDuration(endedAt)} of virtual time`;
  const list = failed.map((one) => expectationText(one, colors)).join('');
  if (failure) return `${list}${colors.red('FAILED')} after ${end}: ${failure.message}\n`;
  if (failed.length === 0) return `${colors.green('ok')}: ${looked} held, ${end}\n`;
  return `${list}${colors.red('FAILED')}: ${failed.length} of ${looked}, ${end}\n`;
}
