// Judges the engine by the functions of modules: `node scripts/run.mjs judge --functions DIR`. Modules are shared out to
// processes, because Unicorn may end its own.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { ELF_MACHINE } from '../../../../src/arch/x86_64/module/relocation.ts';
import { UnicornEngine } from '../../../../src/arch/x86_64/unicorn/unicorn.ts';
import { parseElf } from '../../../../src/elf/elf_object.ts';
import { MODULE_FILE, unpack } from '../../../../src/elf/unpack.ts';
import { coreDigest } from './built.ts';
import { keep } from './findings.ts';
import { imagesOf } from './function_images.ts';
import { FunctionCourt, type FunctionTally } from './functions.ts';

/** Instructions that a function may take. */
const MOST = 300;
/** Modules that one process judges. */
const SHARE = 100;
/** Larger sections are not in reach of the areas. */
const LARGEST = 6 << 20;

type Counts = Record<string, number>;

export interface FunctionsAnswer {
  readonly functions: number;
  readonly states: number;
  readonly instructions: number;
  /** How runs ended on the core. */
  readonly kinds: Counts;
  /** Runs that end otherwise for a reason that is known. */
  readonly known: Counts;
  readonly differences: readonly string[];
  /** Functions at which Unicorn ends its process. */
  readonly ended?: readonly string[];
}

const NONE: FunctionsAnswer = {
  functions: 0,
  states: 0,
  instructions: 0,
  kinds: {},
  known: {},
  differences: [],
};

/** The judge of one process: what it finds is told module by module. */
class ModuleJudge {
  readonly #states: number;
  readonly #isHeard: (name: string) => boolean;

  /** @param states of each function @param isHeard it is told of each function before it is executed */
  constructor(states: number, isHeard: (name: string) => boolean) {
    this.#states = states;
    this.#isHeard = isHeard;
  }

  hear(files: readonly string[], tell: (answer: FunctionsAnswer) => void): void {
    const court = new FunctionCourt(
      () => new CoreEngine(),
      () => new UnicornEngine(),
    );
    for (const file of files) {
      const images = imagesOf(parseElf(unpack(readFileSync(file), file), file, ELF_MACHINE));
      for (const image of images) {
        const name = basename(file);
        if (image.bytes.length < LARGEST)
          court.hear(name, image, this.#states, MOST, (of) => this.#isHeard(`${name} ${of}`));
      }
      tell(answerOf(court.take()));
    }
    court.close();
  }
}

const answerOf = ({ kinds, known, differences, ...counts }: FunctionTally): FunctionsAnswer => ({
  ...counts,
  kinds: Object.fromEntries(kinds),
  known: Object.fromEntries(known),
  differences: differences.map(({ name, seed, said }) => `${name}, seed ${seed}: ${said.join('; ')}`),
});

/** In this process. @param states of each function */
export function judgeFunctions(files: readonly string[], states: number): FunctionsAnswer {
  let all = NONE;
  new ModuleJudge(states, () => true).hear(files, (answer) => {
    all = together(all, answer);
  });
  return all;
}

/** Where the process of a share says which function it is about to execute. */
const PROGRESS = 3;

/** A share, for its parent: an answer a line. @param except functions that are left out */
export function judgeShareOfFunctions(
  files: readonly string[],
  states: number,
  except: readonly string[],
): void {
  const isHeard = (name: string): boolean => {
    writeSync(PROGRESS, `${name}\n`);
    return !except.includes(name);
  };
  new ModuleJudge(states, isHeard).hear(files, (answer) => {
    writeSync(1, `${JSON.stringify(answer)}\n`);
  });
}

export const modulesIn = (folder: string): string[] =>
  (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => MODULE_FILE.test(name))
    .sort()
    .map((name) => join(folder, name));

const added = (a: Counts, b: Counts): Counts =>
  Object.fromEntries(
    [...new Set([...Object.keys(a), ...Object.keys(b)])].map((name) => [
      name,
      (a[name] ?? 0) + (b[name] ?? 0),
    ]),
  );

const together = (a: FunctionsAnswer, b: FunctionsAnswer): FunctionsAnswer => ({
  functions: a.functions + b.functions,
  states: a.states + b.states,
  instructions: a.instructions + b.instructions,
  kinds: added(a.kinds, b.kinds),
  known: added(a.known, b.known),
  differences: [...a.differences, ...b.differences],
  ended: [...(a.ended ?? []), ...(b.ended ?? [])],
});

const listed = (counts: Counts): string =>
  Object.entries(counts)
    .sort((a, b) => b[1] - a[1])
    .map(([name, n]) => `  ${n} ${name}\n`)
    .join('');

/** In a process of its own, and in another one without the function that ended it. */
function judgeShare(folder: string, share: readonly string[], states: number): FunctionsAnswer {
  let answer = NONE;
  const ended: string[] = [];
  for (let left = share; left.length > 0; ) {
    const except = ended.flatMap((name) => ['--except', name]);
    const args = ['--functions', folder, '--states', String(states), ...except, ...left];
    const { output, status } = spawnSync(process.execPath, [process.argv[1], ...args], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    });
    const answers = (output[1] ?? '').split('\n').filter((line) => line.endsWith('}'));
    for (const line of answers) answer = together(answer, JSON.parse(line) as FunctionsAnswer);
    if (status === 0) break;
    const at = (output[PROGRESS] ?? '').trimEnd().split('\n').at(-1);
    if (!at || ended.includes(at))
      throw new Error(`the judge of ${left[answers.length]} ended with ${status}`);
    ended.push(at);
    left = left.slice(answers.length);
  }
  for (const line of answer.differences) console.log(line);
  return { ...answer, ended };
}

export interface FunctionsFound extends FunctionsAnswer {
  readonly build: string;
  /** The kernel's release. */
  readonly name: string;
  readonly modules: number;
}

/**
 * In processes of their own.
 * @param wanted the folder, or NAME=DIR: what was found is kept, for docs/processor.md
 * @param every so manieth module
 * @returns exit status
 */
export function judgeFolder(wanted: string, states: number, every: number): number {
  const name = /^([^/]*)=/.exec(wanted)?.[1];
  const folder = name === undefined ? wanted : wanted.slice(name.length + 1);
  const files = modulesIn(folder).filter((_, i) => i % every === 0);
  let answer = NONE;
  for (let from = 0; from < files.length; from += SHARE) {
    answer = together(answer, judgeShare(folder, files.slice(from, from + SHARE), states));
  }
  const { functions, states: heard, instructions, kinds, known, differences, ended = [] } = answer;
  console.log(`How they ended:\n${listed(kinds)}Where Unicorn is known to end otherwise:\n${listed(known)}`);
  if (ended.length > 0) console.log(`Unicorn ended its process at: ${ended.join(', ')}\n`);
  console.log(
    `${files.length} modules, ${functions} functions, ${heard} states, ${instructions} instructions, ${differences.length} differences`,
  );
  if (name !== undefined && differences.length === 0)
    keep({ functions: { build: coreDigest(), name, modules: files.length, ...answer } });
  return differences.length > 0 ? 1 : 0;
}
