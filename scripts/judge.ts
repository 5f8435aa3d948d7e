// Judges the processor: every form of instruction, in thousands of random states, against Unicorn and the host.
//
// `judge --help` says what it can be asked.

import { spawnSync } from 'node:child_process';
import { build, buildProgram } from './build.ts';
import { ROOT } from './root.ts';

const HELP = `Judges the core's semantics against Unicorn and, where it is an x86-64, the processor of this computer.

usage: node scripts/run.mjs judge [--only REGEX] [--states N] [--subject core|unicorn] [--results FILE] [--write]
       node scripts/run.mjs judge --sequences N [--write]
       node scripts/run.mjs judge --functions [RELEASE=]DIR [--states N] [--every N]
       node scripts/run.mjs judge --coverage RELEASE=DIR...
       node scripts/run.mjs judge --frequency DIR

  (nothing)      every form of instruction, from N random states each (2000); --only those of a name
    --results    what is found is added to what is in FILE already
    --write      docs/processor.md is made of it, and of what the others found last
  --sequences    N sequences of two to eight instructions; with --write what is found is kept for the page
  --functions    the functions of the modules below DIR, packed or not, from N states each, of every so manieth module;
                 with RELEASE= what is found is kept for the page
  --coverage     how many instructions of modules the core can execute, and how many klpemu check steps over: kept
  --frequency    how often each form is in modules: what test/arch/x86_64/judge/corpus_forms.txt is

What is kept is test/arch/x86_64/judge/findings.json. Exit status: 0 where nothing differs but what is known, else 1;
2 for what cannot be asked.

example: node scripts/run.mjs judge --only '^add ' --states 200
`;

export async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(HELP);
    return;
  }
  await build();
  const program = await buildProgram('test/arch/x86_64/judge/main.ts');
  const { status, error } = spawnSync(process.execPath, [program, ...args], { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exitCode = status ?? 1;
}
