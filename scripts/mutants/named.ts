// The mistakes of test/mutants/named.ts, one after the other, each before the tests that are to notice it.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NamedMutant } from '../../test/mutants/named.ts';
import { ScriptError } from '../errors.ts';
import type { Tree } from './tree.ts';
import { mustPass, type Verdict, verdictOf } from './verdict.ts';

/** @throws ScriptError when the text that it changes is not there, or not once */
export function mutatedText({ name, file, edits }: NamedMutant, text: string): string {
  return edits.reduce((changed, [from, to]) => {
    const parts = changed.split(from);
    if (parts.length === 2) return parts.join(to);
    throw new ScriptError(`${file}: '${name}': ${parts.length - 1} times in it, not once: ${from.trim()}`);
  }, text);
}

/** How it ended for each. @param told of each as it is known */
export async function runNamed(
  tree: Tree,
  mutants: readonly NamedMutant[],
  told: (mutant: NamedMutant, verdict: Verdict) => void,
): Promise<void> {
  const ms = await mustPass(
    tree,
    mutants.flatMap(({ tests }) => tests),
  );
  for (const mutant of mutants) {
    const missing = mutant.tests.find((file) => !existsSync(join(tree.root, file)));
    if (missing !== undefined) throw new ScriptError(`'${mutant.name}': there is no ${missing}`);
    const text = mutatedText(mutant, readFileSync(join(tree.root, mutant.file), 'utf8'));
    told(mutant, await tree.with(mutant.file, text, () => verdictOf(tree, mutant.tests, ms)));
  }
}
