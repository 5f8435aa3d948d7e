// What tests say of a tree with a mutant in it: the first test that fails has noticed it.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildProgram } from '../build.ts';
import { ScriptError } from '../errors.ts';
import type { Tree } from './tree.ts';
import { untilOver } from './until_over.ts';

export type Verdict =
  | { readonly is: 'killed'; readonly by: string }
  | { readonly is: 'survived' }
  /** The tests do not end, by what they took of a processor: who waits for them notices. */
  | { readonly is: 'endless'; readonly how: 'spins' | 'waits' }
  /** The image does not assemble, or has no frame table, with it: there is nothing to test. */
  | { readonly is: 'refused'; readonly why: string };

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** What something came to, and what it took. */
export interface Judged {
  readonly verdict: Verdict;
  readonly processorMs: number;
}

/** What may be taken by those that are wrong, of what they take as they are: and by those that are to show what that is. */
const SLOWER = 4;
const AND_MS = 30_000;
const FIRST_MS = 3_600_000;
const patienceFor = (processorMs: number): number => AND_MS + SLOWER * processorMs;

/** @param files test files, as vitest takes them. @param ms of processor time, after which they are endless */
async function judgedBy(tree: Tree, files: readonly string[], ms: number): Promise<Judged> {
  const json = join(tree.root, '.cache/report.json');
  rmSync(json, { force: true });
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--bail=1',
    '--reporter=json',
    `--outputFile=${json}`,
  ];
  const { with: end, processorMs } = await untilOver([...args, ...files], tree.root, ms);
  const verdict = ((): Verdict => {
    if (typeof end !== 'number') return { is: 'endless', how: end };
    if (end === 0) return { is: 'survived' };
    return existsSync(json)
      ? reasonIn(JSON.parse(readFileSync(json, 'utf8')) as Report)
      : { is: 'killed', by: `the tests ended with ${end}` };
  })();
  return { verdict, processorMs };
}

export async function verdictOf(tree: Tree, files: readonly string[], ms: number): Promise<Verdict> {
  return (await judgedBy(tree, files, ms)).verdict;
}

/** Of `npm run sequences`, which come after the tests: for what these do not notice. */
export const SEQUENCES = 200;

async function judgedBySequences(tree: Tree, ms: number): Promise<Judged> {
  const program = await buildProgram('test/properties/sequences_main.ts', tree.root);
  const args = [program, String(SEQUENCES), '--seed', '1', '--first'];
  const { with: end, processorMs } = await untilOver(args, tree.root, ms);
  if (typeof end !== 'number') return { verdict: { is: 'endless', how: end }, processorMs };
  return { verdict: end === 0 ? { is: 'survived' } : { is: 'killed', by: A_SEQUENCE }, processorMs };
}

/** What random sequences say, of the tree as it is. @param ms of processor time */
export async function verdictOfSequences(tree: Tree, ms: number): Promise<Verdict> {
  return (await judgedBySequences(tree, ms)).verdict;
}

const A_SEQUENCE = `one of ${SEQUENCES} sequences`;
export const isBySequences = (verdict: Verdict): boolean =>
  verdict.is === 'killed' && verdict.by === A_SEQUENCE;

/** Tests that fail as it is would notice every mutant. @returns processor time after which they will not end, in ms. @throws ScriptError */
export async function mustPass(tree: Tree, files: readonly string[]): Promise<number> {
  return mustSurvive(await judgedBy(tree, [...new Set(files)], FIRST_MS));
}

/** As do sequences that do. @returns processor time after which they will not end, in ms. @throws ScriptError */
export async function sequencesMustPass(tree: Tree): Promise<number> {
  return mustSurvive(await judgedBySequences(tree, FIRST_MS));
}

function mustSurvive({ verdict, processorMs }: Judged): number {
  if (verdict.is !== 'survived') throw new ScriptError(`without any mutant: ${inWords(verdict)}`);
  return patienceFor(processorMs);
}

const REFUSED = /AsmError|OrcGenError/;

function reasonIn(report: Report): Verdict {
  for (const { name, message, assertionResults } of report.testResults) {
    const failed = assertionResults.find((test) => test.status === 'failed');
    const text = failed?.failureMessages.join('\n') ?? message;
    if (REFUSED.test(text)) return { is: 'refused', why: text.split('\n')[0] };
    if (failed) return { is: 'killed', by: failed.fullName };
    if (message)
      return { is: 'killed', by: `${name.replace(/.*\/test\//, 'test/')}: ${message.split('\n')[0]}` };
  }
  return { is: 'killed', by: 'vitest' };
}

/** One line. */
export function inWords(verdict: Verdict): string {
  if (verdict.is === 'killed') return `killed by '${verdict.by}'`;
  if (verdict.is === 'endless') return `killed by tests that do not end (one ${verdict.how})`;
  return verdict.is === 'refused' ? `refused: ${verdict.why}` : verdict.is;
}
