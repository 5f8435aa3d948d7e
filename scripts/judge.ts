// Judges the processor: every form of instruction, in thousands of random states, against Unicorn and the host.
//
//   node scripts/run.mjs judge [--states N] [--only REGEX] [--subject core|unicorn] [--write] [--results FILE]
//   node scripts/run.mjs judge --functions DIR [--states N] [--every N]
//   node scripts/run.mjs judge --frequency DIR
//
// --write makes docs/processor.md of what was found. With --results it is of earlier
// runs' findings, too, and the file has them all. --functions
// executes the functions of modules on both engines. --frequency counts the forms in the modules below a folder.

import { spawnSync } from 'node:child_process';
import { build, buildProgram } from './build.ts';
import { ROOT } from './root.ts';

export async function main(args: readonly string[]): Promise<void> {
  await build();
  const program = await buildProgram('test/arch/x86_64/judge/main.ts');
  const { status, error } = spawnSync(process.execPath, [program, ...args], { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exitCode = status ?? 1;
}
