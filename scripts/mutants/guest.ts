// Mutants of asm/, each in a copy of the checkout, before the tests of its file, and random sequences where these notice nothing.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptUsageError } from '../errors.ts';
import { ROOT } from '../root.ts';
import { type AsmMutant, asmMutants } from './asm.ts';
import { testsOfGuest } from './folders.ts';
import type { Tree } from './tree.ts';
import { mustPass, sequencesMustPass, type Verdict, verdictOf, verdictOfSequences } from './verdict.ts';

/** @param files below asm/x86_64. @throws ScriptUsageError when one is not there */
export function guestMutants(files: readonly string[]): AsmMutant[] {
  return files.flatMap((name) => {
    const file = `asm/x86_64/${name}`;
    if (!existsSync(join(ROOT, file))) throw new ScriptUsageError(`there is no ${file}`);
    return asmMutants(file, readFileSync(join(ROOT, file), 'utf8'));
  });
}

/** @param told of each as it is known */
export async function runGuest(
  tree: Tree,
  mutants: readonly AsmMutant[],
  told: (mutant: AsmMutant, verdict: Verdict) => void,
): Promise<void> {
  const ms = await mustPass(
    tree,
    mutants.flatMap(({ file }) => testsOfGuest(file)),
  );
  const forSequences = await sequencesMustPass(tree);
  for (const mutant of mutants) {
    const tests = testsOfGuest(mutant.file);
    const judged = async (): Promise<Verdict> => {
      const verdict = await verdictOf(tree, tests, ms);
      return verdict.is === 'survived' ? verdictOfSequences(tree, forSequences) : verdict;
    };
    told(mutant, await tree.with(mutant.file, mutant.text, judged));
  }
}
