// Judges the engine by the functions of modules: `node scripts/run.mjs judge --functions DIR`. Modules are shared out to
// processes, because Unicorn may end its own.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { ELF_MACHINE } from '../../../../src/arch/x86_64/module/relocation.ts';
import { UnicornEngine } from '../../../../src/arch/x86_64/unicorn/unicorn.ts';
import { parseElf } from '../../../../src/elf/elf_object.ts';
import { FunctionCourt, imagesOf } from './functions.ts';

/** Instructions that a function may take. */
const MOST = 300;
/** Modules that one process judges. */
const SHARE = 40;
/** Larger sections are not in reach of the areas. */
const LARGEST = 6 << 20;

export interface FunctionsAnswer {
  readonly states: number;
  readonly instructions: number;
  readonly differences: readonly string[];
}

/** In this process. @param states of each function */
export function judgeFunctions(files: readonly string[], states: number): FunctionsAnswer {
  const court = new FunctionCourt(
    () => new CoreEngine(),
    () => new UnicornEngine(),
  );
  for (const file of files) {
    const images = imagesOf(parseElf(readFileSync(file), file, ELF_MACHINE));
    for (const image of images) {
      if (image.bytes.length < LARGEST) court.hear(basename(file), image, states, MOST);
    }
  }
  court.close();
  const { tally } = court;
  const differences = tally.differences.map(
    ({ name, seed, said }) => `${name}, seed ${seed}: ${said.join('; ')}`,
  );
  return { states: tally.states, instructions: tally.instructions, differences };
}

export const modulesIn = (folder: string): string[] =>
  (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => name.endsWith('.ko'))
    .sort()
    .map((name) => join(folder, name));

/** In processes of their own. @param every so manieth module @returns exit status */
export function judgeFolder(folder: string, states: number, every: number): number {
  const files = modulesIn(folder).filter((_, i) => i % every === 0);
  const sum = { states: 0, instructions: 0, differences: 0 };
  let status = 0;
  for (let from = 0; from < files.length; from += SHARE) {
    const share = files.slice(from, from + SHARE);
    const { stdout, signal } = spawnSync(
      process.execPath,
      [process.argv[1], '--functions', folder, '--states', String(states), ...share],
      { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    if (signal || stdout === '') {
      console.log(`The process of the judge ended (${signal}) at one of ${share[0]} to ${share.at(-1)}`);
      status = 1;
      continue;
    }
    const answer = JSON.parse(stdout) as FunctionsAnswer;
    sum.states += answer.states;
    sum.instructions += answer.instructions;
    sum.differences += answer.differences.length;
    for (const line of answer.differences) console.log(line);
  }
  console.log(
    `${files.length} modules, ${sum.states} states, ${sum.instructions} instructions, ${sum.differences} differences`,
  );
  return status || (sum.differences > 0 ? 1 : 0);
}
