// What is wrong with a run: sentences, each of a kind. A run that has none went as a kernel may.
//
// Invariant: what a kernel may do under another order of events is no problem; so a step that asks for what was not to
// be had at that moment may fail, in the ways that the kernel has for it.

import { holeText } from '../machine/truth/hole_text.ts';
import type { Hole } from '../scenario/recorder.ts';
import type { RunReport } from '../scenario/report.ts';
import type { ActionStep, Scenario } from '../scenario/scenario.ts';

export type ProblemKind =
  /** A task runs a version that was chosen before it was switched. */
  | 'gap'
  /** A task stands in code that a transition replaced. */
  | 'hole'
  /** The ground truth, an oops, a panic, or a machine that cannot go on. */
  | 'failure'
  | 'warning'
  /** An operation ended as it never may. */
  | 'exit'
  /** The run did not come to its end. */
  | 'stuck'
  /** Something that the scenario expects was not seen. */
  | 'expectation'
  | 'audit';

export interface Problem {
  readonly kind: ProblemKind;
  /** A sentence. */
  readonly text: string;
}

/** What tells a problem from others, whatever numbers are in it. */
export const problemKey = ({ kind, text }: Problem): string =>
  `${kind}: ${text
    .replace(/:\d+\b/g, '')
    .replace(/0x[0-9a-f]+/g, '0x')
    .replace(/\d+(\.\d+)?(ms|us|s)\b/g, 'T')}`;

/** How operations may fail where others are under way: errno of the shell's exit codes by what is done. */
const MAY_FAIL: Readonly<Record<ActionStep['verb'], RegExp>> = {
  // -EBUSY: a transition is under way. -ENOENT, -EEXIST: the module is gone, or there.
  load: /E(BUSY|NOENT|EXIST)\b/,
  unload: /E(BUSY|AGAIN|WOULDBLOCK|NOENT)\b/,
  write: /E(BUSY|INVAL|NOENT|NODEV)\b/,
  read: /E(NOENT|NODEV)\b/,
};

/** Places of time that other orders of events move. */
const OF_TIME = /^step begins at /;

export function problemsOf(scenario: Scenario, report: RunReport, audit: readonly string[]): Problem[] {
  const problems: Problem[] = [];
  const add = (kind: ProblemKind, text: string): void => {
    if (!problems.some((one) => one.kind === kind && one.text === text)) problems.push({ kind, text });
  };
  for (const { pid, comm, func, version } of report.gaps) {
    const ran = version === 'original' ? `the original ${func}()` : `${version} for ${func}()`;
    add(
      'gap',
      `${comm}:${pid} runs ${ran}: chosen before the task was switched, and not its version any more`,
    );
  }
  for (const hole of report.holes) add('hole', holeSentence(hole));
  if (report.failure)
    add(report.failure.code === 'ELIMIT' ? 'stuck' : 'failure', report.failure.message.split('\n')[0]);
  for (const line of report.dmesg) if (/\b(WARNING|BUG): /.test(line)) add('warning', withoutTime(line));
  for (const { ok, expected = '', seen = '' } of report.expectations) {
    if (ok || OF_TIME.test(expected) || /^no task in code that /.test(expected)) continue;
    const [first] = seen.split('\n');
    const step = scenario.steps.find((one) => 'command' in one && expected.startsWith(one.command));
    if (step && 'command' in step && isExit(expected)) {
      if (!MAY_FAIL[step.verb].test(first)) add('exit', `${expected}: ${first}`);
    } else add('expectation', `expected ${expected}, seen ${first}`);
  }
  for (const line of audit) add('audit', line);
  return problems;
}

const isExit = (expected: string): boolean =>
  /: (exit \d+|[A-Z0-9]+ \(\d+\)|killed|still running)$/.test(expected);

function holeSentence(hole: Hole): string {
  return `${hole.comm}:${hole.pid} ${holeText(hole)}, as '${hole.patch}' takes it for switched`;
}

const withoutTime = (line: string): string => line.replace(/^\[ *[\d.]+\] /, '');
