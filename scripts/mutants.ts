// Mutation testing: the code is made wrong in one place, and the tests are to notice.
//
//   npm run mutants -- named [TEXT]            the mistakes of test/mutants/named.ts, all or those with TEXT in their names
//
// Exits with 1 when a mutant survives that nothing is known of, with 2 when it was called wrongly.

import { NAMED, type NamedMutant } from '../test/mutants/named.ts';
import { ScriptUsageError } from './errors.ts';
import { runNamed } from './mutants/named.ts';
import { Tree } from './mutants/tree.ts';
import { inWords, type Verdict } from './mutants/verdict.ts';

const USAGE = 'usage: npm run mutants -- named [TEXT]';
/** After which the tests of one mutant are ended. */
const PATIENCE_MS = 300_000;

export async function main([what, ...args]: readonly string[]): Promise<void> {
  if (what !== 'named') throw new ScriptUsageError(USAGE);
  await named(args);
}

async function named([text = '', ...more]: readonly string[]): Promise<void> {
  const chosen = NAMED.filter(({ name }) => name.includes(text));
  if (more.length > 0 || chosen.length === 0) throw new ScriptUsageError(USAGE);
  const tree = new Tree('named');
  const alive: NamedMutant[] = [];
  await runNamed(tree, chosen, PATIENCE_MS, (mutant, verdict) => {
    if (!noticed(verdict)) alive.push(mutant);
    console.log(`${inWords(verdict)}: ${mutant.name}`);
  });
  tree.remove();
  console.log(`${chosen.length} mistakes, ${alive.length} not noticed`);
  if (alive.length > 0) process.exitCode = 1;
}

const noticed = ({ is }: Verdict): boolean => is === 'killed' || is === 'timeout';
