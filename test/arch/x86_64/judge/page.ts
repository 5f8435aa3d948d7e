// docs/processor.md, of what the judges said.

import { CORPUS, CORPUS_INSTRUCTIONS, isInCorpus } from './corpus.ts';
import type { Form } from './form.ts';
import { FORMS } from './forms.ts';
import { HOST_ANSWERS_OTHERWISE, UNICORN_IS_WRONG } from './known.ts';
import { unjudgedBecause } from './scope.ts';
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
LOCK and repeat prefixes that it may have. Operands lie anywhere: across pages, in memory that may only be read, in none.

\`node scripts/run.mjs judge --only '^add '\` judges the forms of a name.
`;

/** Why a form is not executed, for the reader. */
function missingBecause(form: Form): string {
  const reason = unjudgedBecause(form);
  if (reason) return reason;
  return isInCorpus(form.key) ? 'to be done' : 'no module of a kernel contains it';
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
function missingList(forms: readonly Form[]): string {
  return grouped(forms, missingBecause)
    .map(
      ([reason, of]) =>
        `- ${reason} (${of.length} forms): ${[...new Set(of.map(({ mnemonic }) => mnemonic))].join(' ')}`,
    )
    .join('\n');
}

/** Of the table of today. */
export const unjudgedList = (): string =>
  missingList(FORMS.filter((form) => unjudgedBecause(form) !== undefined));

/** They are no forms of the catalogue: only how many there are is known. */
function evexLine(): string {
  const found = [...CORPUS].filter(([key]) => key.startsWith('EVEX_'));
  const instructions = whole(sum(found.map(([, n]) => n)));
  return `- what EVEX begins: no processor that is described has AVX-512 (${found.length} forms, ${instructions} instructions of modules)\n`;
}

export function processorPage(results: readonly Result[]): string {
  const executed = results.filter(
    (result) => result.executed || result.unicorn.open + result.host.open === 0,
  );
  const keys = new Set(executed.map(({ key }) => key));
  const missing = FORMS.filter((form) => unjudgedBecause(form) === undefined && !keys.has(form.key));
  const covered = sum([...CORPUS].filter(([key]) => keys.has(key)).map(([, n]) => n));
  const open = sum(executed.map(({ unicorn, host }) => unicorn.open + host.open));
  const share = ((100 * covered) / CORPUS_INSTRUCTIONS).toFixed(3);
  return [
    INTRODUCTION,
    `${whole(executed.length)} forms, at least ${whole(Math.min(...executed.map((r) => r.states)))} states each: ${whole(sum(executed.map((r) => r.unicorn.states)))} compared with`,
    `Unicorn, ${whole(sum(executed.map((r) => r.host.states)))} with the host, ${whole(open)} differences that are of no known case. Of the`,
    `${whole(CORPUS_INSTRUCTIONS)} instructions of the modules of Debian's kernel 6.1.0-56, ${share} % are of these forms.\n`,
    '## Where Unicorn is wrong\n',
    `${knownTable(executed, 'unicorn')}\n`,
    '## Where the host answers otherwise\n',
    `${knownTable(executed, 'host')}\n`,
    '## Forms that are judged\n',
    'A known case is a state in which a judge is known to be wrong or the manual leaves open what happens: the tables above.\n',
    `${judgedTable(executed)}\n`,
    '## Forms that no random state says anything of\n',
    unjudgedList(),
    evexLine(),
    ...(missing.length > 0 ? ['## Forms that are not executed\n', `${missingList(missing)}\n`] : []),
  ].join('\n');
}
