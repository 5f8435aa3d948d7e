// Judges an engine: every form's states against Unicorn and the host, in processes of their own, because Unicorn may
// end its process. Prints what differs, and writes docs/processor.md where that is asked for. `judge --help` says of what
// else it can be asked (scripts/judge.ts).

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { coreDigest } from './built.ts';
import { judgeCoverage } from './coverage_main.ts';
import { keep } from './findings.ts';
import { FORMS } from './forms.ts';
import { countForms, frequencyList } from './frequency.ts';
import { judgeFolder, judgeShareOfFunctions } from './functions_main.ts';
import { hostCannotJudge } from './host.ts';
import { processorPage } from './page.ts';
import { judgeForms, judgeSequences, type Result, SUBJECTS, type Verdict } from './session.ts';

/** Forms that one process judges: it takes a second to begin. */
const SHARE = 256;
const AT_ONCE = 2;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    states: { type: 'string', default: '2000' },
    only: { type: 'string' },
    subject: { type: 'string', default: 'core' },
    write: { type: 'boolean', default: false },
    page: { type: 'string', default: 'docs/processor.md' },
    /** A file of what earlier runs found: what this one finds is added, and the page is of all of it. */
    results: { type: 'string' },
    frequency: { type: 'string' },
    coverage: { type: 'boolean', default: false },
    functions: { type: 'string' },
    sequences: { type: 'string' },
    /** Of the modules of --functions. */
    every: { type: 'string', default: '1' },
    /** Functions that a process of --functions leaves out. */
    except: { type: 'string', multiple: true },
    /** Of the process of a share: its first form and the one behind its last. */
    share: { type: 'string' },
  },
});

const chosen = FORMS.filter(({ name }) => values.only === undefined || new RegExp(values.only).test(name));

async function main(): Promise<void> {
  if (values.frequency !== undefined) {
    process.stdout.write(frequencyList(countForms(values.frequency)));
    return;
  }
  if (values.coverage) {
    process.exitCode = judgeCoverage(positionals);
    return;
  }
  if (values.sequences !== undefined) {
    await judgeAllSequences(Number(values.sequences));
    return;
  }
  if (values.functions !== undefined) {
    const states = Number(values.states);
    if (positionals.length > 0) judgeShareOfFunctions(positionals, states, values.except ?? []);
    else process.exitCode = judgeFolder(values.functions, states, Number(values.every));
    return;
  }
  if (!(values.subject in SUBJECTS)) throw new Error(`--subject is ${Object.keys(SUBJECTS).join(' or ')}`);
  if (values.share !== undefined) {
    const [from, to] = values.share.split(',').map(Number);
    await judgeForms(chosen.slice(from, to), values.subject, Number(values.states), (result) => {
      process.stdout.write(`${JSON.stringify(result)}\n`);
    });
    return;
  }
  await judgeAll();
}

/** @param wanted how many; with `--write` what was found is kept for the page */
async function judgeAllSequences(wanted: number): Promise<void> {
  const results: Result[] = [];
  await judgeSequences(wanted, (result) => {
    report(result);
    results.push(result);
  });
  const sequences = results.reduce((sum, { states }) => sum + states, 0);
  const [unicorn, host] = [together(results.map((r) => r.unicorn)), together(results.map((r) => r.host))];
  const open = unicorn.open + host.open;
  console.log(
    `${sequences} sequences, ${unicorn.states} compared with Unicorn, ${host.states} with the host, ${open} differences`,
  );
  if (open > 0) process.exitCode = 1;
  else if (values.write) keep({ sequences: { build: coreDigest(), sequences, unicorn, host } });
}

function together(verdicts: readonly Verdict[]): Verdict {
  const known: Record<string, number> = {};
  for (const verdict of verdicts) {
    for (const [name, n] of Object.entries(verdict.known)) known[name] = (known[name] ?? 0) + n;
  }
  const sum = (of: (verdict: Verdict) => number): number =>
    verdicts.reduce((total, one) => total + of(one), 0);
  return { states: sum((v) => v.states), known, open: sum((v) => v.open), first: undefined };
}

async function judgeAll(): Promise<void> {
  if (chosen.length === 0) {
    console.error(`judge: no form has a name like --only ${values.only}`);
    process.exitCode = 2;
    return;
  }
  const why = hostCannotJudge();
  if (why) console.log(`The host judges nothing: ${why}.`);
  const results: Result[] = [];
  const shares = Array.from({ length: Math.ceil(chosen.length / SHARE) }, (_, i) => i * SHARE);
  const worker = async (): Promise<void> => {
    for (let from = shares.shift(); from !== undefined; from = shares.shift()) {
      await judgeShare(from, Math.min(from + SHARE, chosen.length), results);
      if (values.results !== undefined)
        writeFileSync(values.results, `${JSON.stringify(withEarlier(results))}\n`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const executed = results.filter((result) => result.executed || isUndefined(result));
  for (const result of executed) report(result);
  const lacking = results.filter((result) => !executed.includes(result));
  for (const { name } of lacking) console.log(`not executed: ${name}`);
  const open = executed.reduce((sum, { unicorn, host }) => sum + unicorn.open + host.open, 0);
  const states = executed.reduce((sum, result) => sum + result.states, 0);
  console.log(`${executed.length} forms, ${states} states, ${open} differences that no known case explains`);
  console.log(`${lacking.length} forms are not executed`);
  const all = inOrder(withEarlier(results));
  // A page of forms of which some were not judged would say what nobody has looked at.
  if (values.write && process.exitCode === undefined) writeFileSync(values.page, processorPage(all));
  else if (values.write) console.log(`${values.page} is as it was: not every form was judged`);
  if (open > 0) process.exitCode = 1;
}

/** A process that ends before it is through with its share is begun again behind the form that ended it. */
async function judgeShare(from: number, to: number, results: Result[]): Promise<void> {
  const args = ['--states', values.states, '--subject', values.subject, '--share', `${from},${to}`];
  if (values.only !== undefined) args.push('--only', values.only);
  const child = spawn(process.execPath, [process.argv[1], ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  let done = from;
  for await (const line of createInterface({ input: child.stdout })) {
    const result = JSON.parse(line) as Result;
    results.push(result);
    done = chosen.findIndex(({ key }) => key === result.key) + 1;
  }
  const code = await ended;
  if (code === 0) return;
  console.log(
    `The process of the judge ended (${code}) at or behind ${chosen[done]?.name ?? 'the last form'}`,
  );
  process.exitCode = 1;
  if (done + 1 < to) await judgeShare(done + 1, to, results);
}

/** Of a form that was judged again, only the new one. */
function withEarlier(results: readonly Result[]): readonly Result[] {
  if (values.results === undefined || !existsSync(values.results)) return results;
  const earlier = JSON.parse(readFileSync(values.results, 'utf8')) as Result[];
  const byKey = new Map([...earlier, ...results].map((result) => [result.key, result]));
  return FORMS.flatMap(({ key }) => byKey.get(key) ?? []);
}

/** As the catalogue has them: processes end in any order. */
function inOrder(results: readonly Result[]): Result[] {
  const places = new Map(FORMS.map(({ key }, i) => [key, i]));
  const place = ({ key }: Result): number => places.get(key) as number;
  return results.toSorted((a, b) => place(a) - place(b));
}

/** The instruction is one that every judge calls undefined. */
const isUndefined = ({ unicorn, host }: Result): boolean => unicorn.open + host.open === 0;

function report({ name, unicorn, host }: Result): void {
  for (const [judge, { open, first }] of [
    ['Unicorn', unicorn],
    ['the host', host],
  ] as const) {
    if (open > 0) console.log(`${open} differences of ${name} from ${judge}, such as ${first}`);
  }
}

await main();
