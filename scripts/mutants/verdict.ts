// What tests say of a tree with a mutant in it: the first test that fails has noticed it.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildProgram } from '../build.ts';
import { ScriptError } from '../errors.ts';
import type { Tree } from './tree.ts';

export type Verdict =
  | { readonly is: 'killed'; readonly by: string }
  | { readonly is: 'survived' }
  /** The tests did not end: who waits for them notices. */
  | { readonly is: 'timeout' }
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

/** @param files test files, as vitest takes them. @param ms after which they are ended */
export async function verdictOf(tree: Tree, files: readonly string[], ms: number): Promise<Verdict> {
  const json = join(tree.root, '.cache/report.json');
  rmSync(json, { force: true });
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--bail=1',
    '--reporter=json',
    `--outputFile=${json}`,
  ];
  const over = await ends([...args, ...files], tree.root, ms);
  if (over === 'timeout') return { is: 'timeout' };
  if (over === 0) return { is: 'survived' };
  return existsSync(json)
    ? reasonIn(JSON.parse(readFileSync(json, 'utf8')) as Report)
    : { is: 'killed', by: `the tests ended with ${over}` };
}

/** Of `npm run sequences`, which come after the tests: for what these do not notice. */
export const SEQUENCES = 200;
/** Of a machine with much else to do. */
const FOR_SEQUENCES_MS = 900_000;
const SLOWER = 3;

/** What random sequences say, of the tree as it is. */
export async function verdictOfSequences(tree: Tree, ms: number): Promise<Verdict> {
  const program = await buildProgram('test/properties/sequences_main.ts', tree.root);
  const over = await ends([program, String(SEQUENCES), '--seed', '1', '--first'], tree.root, ms);
  if (over === 'timeout') return { is: 'timeout' };
  return over === 0 ? { is: 'survived' } : { is: 'killed', by: A_SEQUENCE };
}

const A_SEQUENCE = `one of ${SEQUENCES} sequences`;
export const isBySequences = (verdict: Verdict): boolean =>
  verdict.is === 'killed' && verdict.by === A_SEQUENCE;

/** Tests that fail as it is would notice every mutant. @throws ScriptError */
export async function mustPass(tree: Tree, files: readonly string[], ms: number): Promise<void> {
  mustSurvive(await verdictOf(tree, [...new Set(files)], ms));
}

/** As do sequences that do. @returns after which time they will not end. @throws ScriptError */
export async function sequencesMustPass(tree: Tree): Promise<number> {
  const started = performance.now();
  mustSurvive(await verdictOfSequences(tree, FOR_SEQUENCES_MS));
  return 60_000 + SLOWER * (performance.now() - started);
}

function mustSurvive(verdict: Verdict): void {
  if (verdict.is !== 'survived') throw new ScriptError(`without any mutant: ${inWords(verdict)}`);
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

/** The process and all that it started: a worker that spins does not end with its parent. */
function ends(args: readonly string[], cwd: string, ms: number): Promise<number | 'timeout'> {
  const child = spawn(process.execPath, args, { cwd, stdio: 'ignore', detached: true });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      resolve('timeout');
    }, ms);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code ?? 1);
    });
  });
}

/** One line. */
export function inWords(verdict: Verdict): string {
  if (verdict.is === 'killed') return `killed by '${verdict.by}'`;
  return verdict.is === 'refused' ? `refused: ${verdict.why}` : verdict.is;
}
