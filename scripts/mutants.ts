// Mutation testing: the code is made wrong in one place, and the tests are to notice. docs/mutants.md.
//
//   npm run mutants -- [FOLDER...] [--sample N] [--seed N] [--all] [--figures]     mutants of Stryker's, of folders of src/
//   npm run mutants -- asm [FILE...] [--sample N] [--seed N] [--all] [--figures]   of the guest's own text
//   npm run mutants -- named [TEXT]                                    of test/mutants/named.ts
//   npm run mutants -- ci                                              a few of both latter, always the same
//
// --figures writes what came of it into the table of docs/mutants.md.
// Exits with 1 when a mutant survives that test/mutants/known.ts does not know, with 2 when it was called wrongly.

import { KNOWN } from '../test/mutants/known.ts';
import { NAMED, type NamedMutant } from '../test/mutants/named.ts';
import { ScriptUsageError } from './errors.ts';
import { asmKey } from './mutants/asm.ts';
import { draw } from './mutants/draw.ts';
import { writeFigures } from './mutants/figures.ts';
import { FOLDERS, GUEST_FILES } from './mutants/folders.ts';
import { guestMutants, runGuest } from './mutants/guest.ts';
import { runNamed } from './mutants/named.ts';
import { rerunTimeouts, runSources, type SourceMutant, sourceKey, testSources } from './mutants/stryker.ts';
import { Tree } from './mutants/tree.ts';
import { inWords, isBySequences, type Verdict } from './mutants/verdict.ts';

const USAGE = `usage: npm run mutants -- [FOLDER...] [--sample N] [--seed N] [--all] [--figures], of ${Object.keys(FOLDERS).join(', ')}
       npm run mutants -- asm [FILE...] [--sample N] [--seed N] [--all] [--figures]
       npm run mutants -- named [TEXT]
       npm run mutants -- ci`;
const SAMPLE = 20;
/** Of `ci`, of each kind: what two processors do in under two minutes. */
const CI_EACH = 6;

interface Sample {
  readonly size: number;
  readonly seed: number;
  readonly figures: boolean;
}

interface Options extends Sample {
  readonly names: readonly string[];
}

export async function main(args: readonly string[]): Promise<void> {
  const { names, ...sample } = parsed(args);
  const [what = '', ...rest] = names;
  const unnoticed = await run(what, rest, names, sample);
  if (unnoticed.length === 0) return;
  for (const one of unnoticed) console.log(`NOT NOTICED: ${one}`);
  process.exitCode = 1;
}

async function run(
  what: string,
  rest: readonly string[],
  names: readonly string[],
  sample: Sample,
): Promise<string[]> {
  if (what === 'named') return named(NAMED.filter(({ name }) => name.includes(rest.join(' '))));
  if (what === 'asm') return guest(rest.length ? rest : GUEST_FILES, sample);
  if (what === 'ci') {
    const seed = sample.seed;
    const few = draw(NAMED, ({ name }) => name, CI_EACH, seed);
    const each = { size: CI_EACH, seed, figures: false };
    return [...(await named(few)), ...(await guest(['livepatch.s', 'shadow.s'], each))];
  }
  const folders = names.length ? names : Object.keys(FOLDERS);
  const unnoticed: string[] = [];
  for (const folder of folders) {
    if (!Object.hasOwn(FOLDERS, folder)) throw new ScriptUsageError(USAGE);
    unnoticed.push(...(await sources(folder, sample)));
  }
  return unnoticed;
}

function parsed(args: readonly string[]): Options {
  const names: string[] = [];
  let [size, seed, figures] = [SAMPLE, 1, false];
  for (let i = 0; i < args.length; i++) {
    const number = /^\d{1,9}$/.test(args[i + 1] ?? '') ? Number(args[i + 1]) : undefined;
    if (args[i] === '--figures') figures = true;
    else if (args[i] === '--all') size = Number.MAX_SAFE_INTEGER;
    else if (args[i] === '--sample' && number !== undefined) [size, i] = [number, i + 1];
    else if (args[i] === '--seed' && number !== undefined) [seed, i] = [number, i + 1];
    else if (args[i].startsWith('-')) throw new ScriptUsageError(USAGE);
    else names.push(args[i]);
  }
  return { names, size, seed, figures };
}

const noticed = ({ is }: Verdict): boolean => is !== 'survived';
const isKnown = (key: string, as?: 'equivalent'): boolean =>
  KNOWN.some(({ mutant, is }) => mutant === key && (as === undefined || is === as));

async function named(mutants: readonly NamedMutant[]): Promise<string[]> {
  if (mutants.length === 0) throw new ScriptUsageError(USAGE);
  const tree = new Tree('named');
  const alive: string[] = [];
  await runNamed(tree, mutants, (mutant, verdict) => {
    if (!noticed(verdict) || verdict.is === 'refused') alive.push(mutant.name);
    console.log(`${inWords(verdict)}: ${mutant.name}`);
  });
  tree.remove();
  console.log(`${mutants.length} mistakes with names: ${mutants.length - alive.length} noticed`);
  return alive;
}

async function guest(files: readonly string[], { size, seed, figures }: Sample): Promise<string[]> {
  const all = guestMutants(files);
  const chosen = draw(all, asmKey, size, seed);
  const tree = new Tree('asm');
  const verdicts = new Map<string, Verdict>();
  await runGuest(tree, chosen, (mutant, verdict) => {
    verdicts.set(asmKey(mutant), verdict);
    console.log(`${inWords(verdict)}: ${asmKey(mutant)}`);
  });
  tree.remove();
  const count = (...which: readonly Verdict['is'][]): number =>
    [...verdicts.values()].filter(({ is }) => which.includes(is)).length;
  const alive = [...verdicts].filter(([, verdict]) => !noticed(verdict)).map(([key]) => key);
  const known = alive.filter((key) => isKnown(key)).length;
  const equivalent = alive.filter((key) => isKnown(key, 'equivalent')).length;
  const endless = count('endless');
  const killed = count('killed') + endless;
  const bySequences = [...verdicts.values()].filter(isBySequences).length;
  const counts = { run: killed + alive.length, killed, endless, bySequences, equivalent };
  if (figures) writeFigures({ of: 'asm', mutants: all.length, seed, ...counts });
  console.log(
    `asm: ${chosen.length} of ${all.length} mutants, seed ${seed}: ${killed} killed, ${endless} of them by tests that do not end, ` +
      `${count('refused')} refused by the assembler or the tables, ${alive.length} survived, ${known} of them known`,
  );
  return alive.filter((key) => !isKnown(key));
}

async function sources(folder: string, sample: Sample): Promise<string[]> {
  const tree = new Tree(folder);
  const mutants = await testSources(tree, folder, sample);
  const of = (...which: readonly string[]) => mutants.filter(({ status }) => which.includes(status));
  const told = (mutant: SourceMutant, verdict: Verdict): void =>
    console.log(`${inWords(verdict)}: ${mutant.place}: ${sourceKey(mutant)}`);
  // Where no test comes to, none notices.
  const unnoticed = [...of('Survived', 'NoCoverage')];
  let [byTests, endless, bySequences] = [of('Killed', 'RuntimeError').length, 0, 0];
  await rerunTimeouts(tree, of('Timeout'), (mutant, verdict) => {
    if (verdict.is === 'endless') endless++;
    else if (noticed(verdict)) byTests++;
    else unnoticed.push(mutant);
    told(mutant, verdict);
  });
  const survived: SourceMutant[] = [];
  await runSources(tree, unnoticed, (mutant, verdict) => {
    if (noticed(verdict)) bySequences++;
    else survived.push(mutant);
    told(mutant, verdict);
  });
  tree.remove();
  const killed = byTests + endless + bySequences;
  const keys = survived.map(sourceKey);
  const known = keys.filter((key) => isKnown(key)).length;
  const equivalent = keys.filter((key) => isKnown(key, 'equivalent')).length;
  const run = killed + survived.length;
  const counts = { run, killed, endless, bySequences, equivalent };
  if (sample.figures) writeFigures({ of: folder, mutants: mutants.length, seed: sample.seed, ...counts });
  console.log(
    `${folder}: ${run} of ${mutants.length} mutants, seed ${sample.seed}: ${killed} killed, ${endless} of them by tests that do not end, ` +
      `${bySequences} by sequences, ` +
      `${survived.length} survived, ${known} of them known; no test comes to ${of('NoCoverage').length}`,
  );
  return keys.filter((key) => !isKnown(key));
}
