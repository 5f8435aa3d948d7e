// docs/processor.md, of what the judges said.

import { CORPUS, CORPUS_INSTRUCTIONS } from './corpus.ts';
import { type Covered, lackingIn, percent } from './coverage_main.ts';
import { type Findings, findings } from './findings.ts';
import type { Form } from './form.ts';
import { FORMS } from './forms.ts';
import { KNOWN_ENDS, OTHER_NAN, UPPER_HALF } from './function_known.ts';
import { HOST_ANSWERS_OTHERWISE, UNICORN_IS_WRONG } from './known.ts';
import { onlyRing, unjudgedBecause } from './scope.ts';
import type { Result, Verdict } from './session.ts';

const whole = (n: number): string => n.toLocaleString('en-US');
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

function grouped<T>(all: readonly T[], name: (one: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const one of all) groups.set(name(one), [...(groups.get(name(one)) ?? []), one]);
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
}

const INTRODUCTION = `# The processor

<!-- Made by \`node scripts/run.mjs judge --write\`: not to be edited. -->

Guest code is executed by an interpreter of our own (\`src/arch/x86_64/core\`). Two judges say whether it is right: Unicorn, and
the processor of the computer that the tests run on. Each form of instruction is executed from thousands of random states;
registers, flags but the undefined ones, memory, and how the instruction ended are compared. Half of the states are of ring 0
and are compared with Unicorn; half are of ring 3 and are compared with the host, which executes them in a process of their
own, one instruction a signal. A form is an instruction with its operand size and its operand in a register or in memory, and the
LOCK and repeat prefixes that it may have. Operands lie anywhere: across pages, in memory that may only be read, in none; one in
eight in fs or gs. Where only one of the judges has an instruction, it is the one that is asked.

\`node scripts/run.mjs judge --only '^add '\` judges the forms of a name.
`;

const RELEASES = (found: Findings): string => (found.coverage ?? []).map(({ name }) => name).join(', ');
const lackingForms = ({ coverage = [] }: Findings): Set<string> =>
  new Set(coverage.flatMap(({ lacking }) => Object.keys(lacking)));

/** Why a form is not executed, for the reader. */
function missingBecause(form: Form, found: Findings): string {
  const reason = unjudgedBecause(form);
  if (reason) return reason;
  if (lackingForms(found).has(form.key)) return 'to be done';
  return `of extensions that cpuid does not tell of, and in no module of ${RELEASES(found)}`;
}

function judgedTable(results: readonly Result[]): string {
  const forms = new Map(FORMS.map((form) => [form.key, form]));
  const rows = grouped(results, ({ key }) => (forms.get(key) as Form).mnemonic).map(([mnemonic, of]) => {
    const differences = sum(of.map(({ unicorn, host }) => unicorn.open + host.open));
    const known = sum(of.map(({ unicorn, host }) => count(unicorn) + count(host)));
    const states = (by: 'unicorn' | 'host'): string => whole(sum(of.map((result) => result[by].states)));
    return [mnemonic, of.length, states('unicorn'), states('host'), whole(known), whole(differences)];
  });
  return [
    '| | forms | states: Unicorn | states: the host | known cases | differences |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');
}

const count = ({ known }: Verdict): number => sum(Object.values(known));

function knownTable(results: readonly Result[], by: 'unicorn' | 'host'): string {
  const rows = (by === 'unicorn' ? UNICORN_IS_WRONG : HOST_ANSWERS_OTHERWISE).map(({ name, right }) => {
    const states = sum(results.map((result) => result[by].known[name] ?? 0));
    return `| ${name} | ${right} | ${whole(states)} |`;
  });
  return ['| | who is right | states |', '| --- | --- | --- |', ...rows].join('\n');
}

/** Forms by the reason why they are not judged, and those of them that are not executed. */
function missingList(forms: readonly Form[], found: Findings): string {
  return grouped(forms, (form) => missingBecause(form, found))
    .map(
      ([reason, of]) =>
        `- ${reason} (${of.length} forms): ${[...new Set(of.map(({ mnemonic }) => mnemonic))].join(' ')}`,
    )
    .join('\n');
}

/** Of the table of today: forms of which the states of one ring say nothing, by the reason. */
export const oneRingList = (): string =>
  grouped(
    FORMS.filter((form) => unjudgedBecause(form) === undefined && onlyRing(form) !== undefined),
    (form) => onlyRing(form)?.reason as string,
  )
    .map(([reason, of]) => `- ${reason} (${of.length} forms): ${mnemonicsOf(of)}`)
    .join('\n');

/** Which builds of the processor the page is of. */
function buildsOf(results: readonly Result[], { coverage = [], functions, sequences }: Findings): string {
  const found: [string, string | undefined][] = [
    ...results.map(({ build }): [string, string] => ['forms', build]),
    ...coverage.map(({ name, build }): [string, string] => [`what of ${name} is executed`, build]),
    ...(sequences ? [['sequences', sequences.build] as [string, string]] : []),
    ...(functions ? [['functions', functions.build] as [string, string]] : []),
  ];
  const builds = grouped(found, ([, build = 'an earlier one']) => build);
  if (builds.length === 1)
    return `All of this page was found with one build of the processor, whose sources have the digest ${builds[0][0]}.\n`;
  const rows = builds.map(([build, of]) => `${build} (${[...new Set(of.map(([what]) => what))].join(', ')})`);
  return `This page was found with several builds of the processor, by the digests of their sources: ${rows.join('; ')}.\n`;
}

/** Of the table of today. */
export const unjudgedList = (): string =>
  missingList(
    FORMS.filter((form) => unjudgedBecause(form) !== undefined),
    {},
  );

const mnemonicsOf = (of: readonly Pick<Form, 'mnemonic'>[]): string =>
  [...new Set(of.map(({ mnemonic }) => mnemonic))].join(' ');

/** Of an instruction in a module: by the form, or by what EVEX begins, which is no form of the catalogue. */
function lackingBecause(key: string): string {
  const form = FORMS.find((one) => one.key === key);
  const reason = form && unjudgedBecause(form);
  return reason ?? (key.startsWith('EVEX_') ? 'what EVEX begins' : 'to be done');
}

const nameOfKey = (key: string): string =>
  FORMS.find((one) => one.key === key)?.mnemonic ??
  (key.replace(/^EVEX_/, '').split('_')[0] as string).toLowerCase();

/** Of all releases together, by reason. */
function lackingList(coverage: readonly Covered[]): string {
  const counts = new Map<string, number>();
  for (const { lacking } of coverage) {
    for (const [key, n] of Object.entries(lacking)) counts.set(key, (counts.get(key) ?? 0) + n);
  }
  return grouped([...counts], ([key]) => lackingBecause(key))
    .map(([reason, of]) => {
      const names = [...new Set(of.map(([key]) => nameOfKey(key)))].join(' ');
      return `- ${reason} (${whole(sum(of.map(([, n]) => n)))} instructions): ${names}`;
    })
    .join('\n');
}

function coverageSection({ coverage = [] }: Findings): string[] {
  if (coverage.length === 0) return [];
  const rows = coverage.map((covered) => {
    const { name, modules, instructions, check } = covered;
    const executed = instructions - lackingIn(covered);
    const skipped = `${whole(check.skipped)} of ${whole(check.reached)} (${((100 * check.skipped) / check.reached).toFixed(4)} %)`;
    const columns = [
      name,
      whole(modules),
      whole(instructions),
      whole(executed),
      percent(executed, instructions),
      skipped,
    ];
    return `| ${columns.join(' | ')} |`;
  });
  const because = new Map<string, number>();
  for (const { check } of coverage) {
    for (const [why, n] of Object.entries(check.because)) because.set(why, (because.get(why) ?? 0) + n);
  }
  const reasons = [...because].map(([why, n]) => `${why}: ${whole(n)}`).join('; ');
  return [
    "## What of Debian's modules can be executed\n",
    'Every instruction of every section of code, given to the translator: it is executed unless it would be #UD; ud2 and its like',
    'are #UD anywhere. What `klpemu check` steps over of the same modules is beside it.\n',
    '| release | modules | instructions | can be executed | | check steps over |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    `Stepped over: ${reasons}. Not executed, of all of them:\n`,
    `${lackingList(coverage)}\n`,
    '`node scripts/run.mjs judge --coverage RELEASE=DIR...` counts.\n',
  ];
}

function sequencesSection({ sequences }: Findings): string[] {
  if (!sequences) return [];
  const { unicorn, host } = sequences;
  return [
    '## Sequences of instructions\n',
    `${whole(sequences.sequences)} sequences of two to eight instructions, drawn from the forms that go on behind themselves and are neither string`,
    'instructions nor of the list of known cases; half of them with vector registers where the host judges. What a flag is that',
    `an instruction leaves undefined is asked by none behind it. ${whole(unicorn.states)} were compared with Unicorn, ${whole(host.states)} with the host:`,
    `${whole(unicorn.open + host.open)} differences, ${whole(count(unicorn) + count(host))} of a known case.\n`,
    '`node scripts/run.mjs judge --sequences N` judges as many.\n',
  ];
}

function functionsSection({ functions }: Findings): string[] {
  if (!functions) return [];
  const { name, modules, kinds, known, ended = [], differences } = functions;
  const ends = Object.entries(kinds)
    .sort((a, b) => b[1] - a[1])
    .map(([kind, n]) => `${kind === 'budget' ? '300 instructions' : kind} ${whole(n)}`)
    .join(', ');
  const rows = [...KNOWN_ENDS, OTHER_NAN, UPPER_HALF].map(
    (one) => `| ${one.name} | ${one.right} | ${whole(known[one.name] ?? 0)} |`,
  );
  return [
    '## Whole functions of modules\n',
    `${whole(functions.functions)} functions of the ${whole(modules)} modules of ${name}, executed from ${whole(functions.states)} random states on the core and on Unicorn, up to`,
    `300 instructions each: ${whole(functions.instructions)} instructions, ${whole(differences.length)} differences in registers, flags that are no status, vector registers`,
    'of 16 bytes, memory, how and where they ended that are of no known case. Calls of other sections return at once. A function',
    'ends where it asks a device, the clock or a register of the machine, and where VEX begins what Unicorn lacks.',
    `They ended by: ${ends}.\n`,
    ...(ended.length > 0
      ? [
          `Unicorn ended its process at ${whole(ended.length)} functions, which are not among them: ${ended.join(', ')}.\n`,
        ]
      : []),
    '| Unicorn | who is right | states |',
    '| --- | --- | --- |',
    ...rows,
    '',
    '`node scripts/run.mjs judge --functions DIR [--states N]` judges the modules of a folder.\n',
  ];
}

export function processorPage(all: readonly Result[], found = findings()): string {
  const inScope = new Set(FORMS.filter((form) => unjudgedBecause(form) === undefined).map(({ key }) => key));
  // Those of earlier runs may be of forms that are not judged any more.
  const results = all.filter(({ key }) => inScope.has(key));
  const executed = results.filter((result) => result.executed);
  const alike = results.filter(({ executed: is, unicorn, host }) => !is && unicorn.open + host.open === 0);
  const forms = new Map(FORMS.map((form) => [form.key, form]));
  const keys = new Set([...executed, ...alike].map(({ key }) => key));
  const missing = FORMS.filter((form) => unjudgedBecause(form) === undefined && !keys.has(form.key));
  const covered = sum([...CORPUS].filter(([key]) => keys.has(key)).map(([, n]) => n));
  const open = sum(executed.map(({ unicorn, host }) => unicorn.open + host.open));
  const undefinedAlike = alike.map(({ key }) => forms.get(key) as Form);
  return [
    INTRODUCTION,
    `${whole(executed.length)} forms, at least ${whole(Math.min(...executed.map((r) => r.states)))} states each: ${whole(sum(executed.map((r) => r.unicorn.states)))} compared with`,
    `Unicorn, ${whole(sum(executed.map((r) => r.host.states)))} with the host, ${whole(open)} differences that are of no known case. Of the`,
    `${whole(CORPUS_INSTRUCTIONS)} instructions of the modules of Debian's kernel 6.1.0-56, ${percent(covered, CORPUS_INSTRUCTIONS)} are of these forms.\n`,
    buildsOf([...executed, ...alike], found),
    ...coverageSection(found),
    '## Where Unicorn is wrong\n',
    `${knownTable(executed, 'unicorn')}\n`,
    '## Where the host answers otherwise\n',
    `${knownTable(executed, 'host')}\n`,
    ...sequencesSection(found),
    ...functionsSection(found),
    '## Forms that are judged\n',
    'A known case is a state in which a judge is known to be wrong or the manual leaves open what happens: the tables above.\n',
    `${judgedTable(executed)}\n`,
    '## Forms of which random states are of one ring\n',
    'What VEX and EVEX begin, far transfers, and pcmpestri and its like are of ring 3 as well, where the host judges them: Unicorn lacks',
    'them or ends its process. Of the following the other ring has tests of its own, or nothing that could be compared.\n',
    `${oneRingList()}\n`,
    '## Forms that no random state says anything of\n',
    `${unjudgedList()}\n`,
    ...(missing.length + alike.length > 0 ? ['## Forms that are not executed\n'] : []),
    ...(alike.length > 0
      ? [
          `- undefined to the core and to its judges alike (${alike.length} forms): ${mnemonicsOf(undefinedAlike)}`,
        ]
      : []),
    ...(missing.length > 0 ? [`${missingList(missing, found)}\n`] : []),
  ].join('\n');
}
