// The pages of the corpus: one a kernel, and the table that compares them.
//
// Invariant: the same results give the same bytes, but for the rows of times.

import type { UnpackedKernel } from '../debian/kernels.ts';
import { whyAnswersAreWrong, whyTablesDiffer } from './known.ts';
import {
  type CheckResult,
  type Difference,
  type OrcResult,
  type Results,
  SUBJECTS,
  type Subject,
  type Wrong,
} from './results.ts';

/** What was found out about one kernel. */
export interface KernelResults {
  readonly version: string;
  readonly kernel: Pick<UnpackedKernel, 'packages' | 'release'>;
  readonly node: string;
  readonly cores: number;
  readonly modules: Results;
  readonly image: Results;
}

type Row = readonly [title: string, value: string];

const TITLES: Readonly<Record<Subject, string>> = { modules: 'All modules', image: 'The image' };
const MOST_LISTED = 60;

const whole = (n: number): string => n.toLocaleString('en-US');
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const of = (part: number, all: number): string => `${whole(part)} of ${whole(all)}`;
const percent = (part: number, all: number): string => `${((100 * part) / all).toFixed(2)} %`;
const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
const nameOf = (file: string): string => file.split('/').at(-1) ?? file;

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [
  `| ${head.join(' | ')} |`,
  `| ${head.map(() => '---').join(' | ')} |`,
  ...rows.map((row) => `| ${row.join(' | ')} |`),
];

/** `7.2 (header) 4,220` */
function formats(objects: OrcResult['objects'] | CheckResult['objects']): string {
  const counts = new Map<string, number>();
  for (const { format } of objects) {
    if (format)
      counts.set(
        `${format.format} (by ${format.by})`,
        (counts.get(`${format.format} (by ${format.by})`) ?? 0) + 1,
      );
  }
  return [...counts].map(([name, n]) => `${name}: ${whole(n)}`).join(', ');
}

function orcRows({ summary: s, objects }: OrcResult): Row[] {
  return [
    ['objects', whole(s.objects)],
    ['of them not usable', whole(s.failed)],
    ['layout of the entries', formats(objects)],
    ['functions', whole(s.functions)],
    ['instructions', whole(s.instructions)],
    ['entries made', whole(s.entries)],
    ["tables that are objtool's (of those that are there)", of(s.same, s.compared)],
    ['functions with the same answers', of(s.functionsSame, s.functionsCompared)],
    ['instructions with the same answer', of(s.instructionsSame, s.instructionsCompared)],
    ...Object.entries(s.classes).map(([name, n]): Row => [`functions that differ: ${name}`, whole(n)]),
    ...times(s),
  ];
}

function checkRows({ summary: s }: CheckResult): Row[] {
  return [
    ['objects', whole(s.objects)],
    ['of them not usable', whole(s.failed)],
    ['of them not looked at as a whole', whole(s.partly)],
    ['functions', whole(s.functions)],
    ['instructions', whole(s.instructions)],
    ['covered', s.instructions === 0 ? '0' : `${whole(s.reached)} (${percent(s.reached, s.instructions)})`],
    ['right', whole(s.right)],
    ['wrong and declared unreliable', whole(s.unreliable)],
    ['wrong and declared reliable', whole(s.wrong)],
    ['covered instructions a second of processor time', whole(Math.round(s.reached / (s.cpuMs / 1000)))],
    ...times(s),
  ];
}

const times = (s: Readonly<Record<string, number>>): Row[] => [
  ['time', seconds(s.ms)],
  ['processor time', seconds(s.cpuMs)],
  ['peak memory', mebibytes(s.peakMemory)],
];

/** Rows that a second run may have otherwise. */
const OF_THE_RUN = [
  'covered instructions a second of processor time',
  'time',
  'processor time',
  'peak memory',
];

const functionOf = (place: string): string =>
  place.startsWith('.')
    ? place.replace(/\+0x[0-9a-f]+(?=\+)/, (at) => at).replace(/(\+0x[0-9a-f]+)\+.*$/, '$1')
    : place.replace(/\+0x[0-9a-f]+$/, '');

function orcList({ objects }: OrcResult): string[] {
  const lines: string[] = [];
  for (const { file, error, agreement } of objects) {
    if (error) lines.push(`- ${nameOf(file)}: not usable: ${withoutPath(error.message, file)}`);
    if (!agreement || agreement.differences.length === 0) continue;
    const functions = new Map<string, Difference[]>();
    for (const difference of agreement.differences) {
      const name = functionOf(difference.place);
      functions.set(name, [...(functions.get(name) ?? []), difference]);
    }
    lines.push(...objectDifferences(file, functions));
    if (agreement.omitted > 0) lines.push(`- ${nameOf(file)}: ${whole(agreement.omitted)} places more`);
  }
  return lines.length > 0 ? lines : ['No table differs.'];
}

/** Functions that differ for one reason stand together. */
function objectDifferences(file: string, functions: ReadonlyMap<string, readonly Difference[]>): string[] {
  const groups = new Map<string, string[]>();
  for (const [name, differences] of functions) {
    const [first] = differences;
    const why = whyTablesDiffer(file, name, first.reason) ?? 'Not explained.';
    const said = `${first.class} (${first.reason}). ${execution(differences)} ${why}`;
    groups.set(said, [...(groups.get(said) ?? []), `\`${name}\``]);
  }
  return [...groups].map(([said, names]) => `- ${nameOf(file)}: ${listed(names)}: ${said}`);
}

const listed = (names: readonly string[]): string =>
  names.length <= MOST_LISTED
    ? names.join(', ')
    : `${names.slice(0, MOST_LISTED).join(', ')} and ${whole(names.length - MOST_LISTED)} more`;

/** What execution says of both tables, over all places of a function. */
function execution(differences: readonly Difference[]): string {
  const said = new Map<string, number>();
  for (const { proof } of differences) {
    const text = typeof proof === 'string' ? `it ${proof}` : `ours ${proof.ours}, theirs ${proof.theirs}`;
    said.set(text, (said.get(text) ?? 0) + 1);
  }
  return `Execution: ${[...said.keys()].sort().join('; ')}.`;
}

const withoutPath = (message: string, file: string): string => message.replace(`${file}: `, '');

const VERDICTS: readonly (readonly [Wrong, string])[] = [
  ['wrong', 'wrong and declared reliable'],
  ['unreliable', 'wrong and declared unreliable'],
];

function checkList({ objects }: CheckResult): string[] {
  const lines: string[] = [];
  const reasons = new Map<string, number>();
  for (const { check } of objects) {
    for (const [why, n] of Object.entries(check?.notCovered ?? {}))
      reasons.set(why, (reasons.get(why) ?? 0) + n);
  }
  for (const [why, n] of [...reasons].sort()) lines.push(`- not covered, ${why}: ${whole(n)}`);
  for (const { file, error } of objects) {
    if (error) lines.push(`- ${nameOf(file)}: not usable: ${withoutPath(error.message, file)}`);
  }
  for (const [verdict, title] of VERDICTS) {
    for (const { file, check } of objects) {
      if (!check || check[verdict] === 0) continue;
      const groups = new Map<string, string[]>();
      for (const f of check.functions.filter((each) => each[verdict] > 0)) {
        const why = whyAnswersAreWrong(file, f.name) ?? 'Not explained.';
        groups.set(why, [...(groups.get(why) ?? []), `\`${f.name}\` (${f[verdict]})`]);
      }
      for (const [why, names] of groups) lines.push(`- ${title}: ${nameOf(file)}: ${listed(names)}. ${why}`);
    }
  }
  return lines;
}

function section(subject: Subject, { orc, check }: Results): string[] {
  const lines = [`## ${TITLES[subject]}`, ''];
  if (orc)
    lines.push(
      '### Tables made from the code, against those in the objects',
      '',
      ...table(['klpemu orc --diff', ''], orcRows(orc)),
      '',
      ...orcList(orc),
      '',
    );
  if (check)
    lines.push(
      '### Answers at every instruction, against execution',
      '',
      ...table(['klpemu check', ''], checkRows(check)),
      '',
      ...checkList(check),
      '',
    );
  if (!orc && !check) lines.push('Not looked at.', '');
  return lines;
}

/** The page of one kernel. */
export function kernelPage(results: KernelResults): string {
  const { version, kernel, node, cores } = results;
  return [
    `# Debian's kernel ${version}`,
    '',
    `\`npm run corpus -- --kernel ${version}\` made this page, with Node ${node} on ${cores} cores, from`,
    `${kernel.packages.map((name) => `\`${name}\``).join(' and ')} (${kernel.release}). What the words mean says`,
    '[the corpus](../corpus.md).',
    '',
    ...SUBJECTS.flatMap((subject) => section(subject, results[subject])),
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}

/** All kernels side by side, without what only one run had. */
export function comparison(all: readonly KernelResults[]): string {
  const lines: string[] = [];
  for (const subject of SUBJECTS) {
    for (const [title, rowsOf] of [
      ['klpemu orc --diff', (r: Results) => (r.orc ? orcRows(r.orc) : undefined)],
      ['klpemu check', (r: Results) => (r.check ? checkRows(r.check) : undefined)],
    ] as const) {
      const columns = all.map((results) => new Map(rowsOf(results[subject]) ?? []));
      const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
      if (names.length === 0) continue;
      const ordered = [
        ...names.filter((n) => !OF_THE_RUN.includes(n)),
        ...names.filter((n) => OF_THE_RUN.includes(n)),
      ];
      const rows = ordered.map((name) => [name, ...columns.map((column) => column.get(name) ?? '')]);
      const heads = all.map(({ version }) => `[${version}](corpus/${version}.md)`);
      lines.push(...table([`${title}: ${TITLES[subject].toLowerCase()}`, ...heads], rows), '');
    }
  }
  return lines.join('\n').trimEnd();
}
