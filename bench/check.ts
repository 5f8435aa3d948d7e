// How fast a check executes and judges the instructions of real modules, beside the kernel's own objtool, which
// follows the same paths without executing them.
//
//   npm run bench check                ten modules and the smallest one, on one thread
//   npm run bench check -- --corpus    all modules of the folder as well, on all cores
//
// Needs modules: those of `npm run corpus`, of the running kernel, or of the folder that KLPEMU_MODULES names.

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  copyModules,
  median,
  moduleFolder,
  NEEDS,
  namedModules,
  objtoolPath,
  type Summary,
  seconds,
  stripModules,
  summaryOf,
  timeObjtool,
} from './lib/modules.ts';

const AIM = 300_000;
const whole = (n: number): string => Math.round(n).toLocaleString('en-US');
const speed = ({ reached, ms }: Summary): number => reached / (ms / 1000);

function main(): void {
  const folder = moduleFolder();
  if (!folder) {
    console.log(`skipped: ${NEEDS}`);
    return;
  }
  const modules = namedModules(folder);
  for (const path of modules) {
    const summary = summaryOf(['check', '-j', '1', path]);
    console.log(
      `${basename(path)}: ${whole(summary.instructions)} instructions, ${whole(speed(summary))} a second`,
    );
  }
  const summary = summaryOf(['check', '-j', '1', ...modules]);
  const objtool = objtoolPath();
  const beside = objtool ? `; objtool over them ${seconds(objtoolTime(objtool, modules))} s` : '';
  print(`${modules.length} modules on one thread`, summary, 1);
  console.log(`klpemu check ${seconds(summary.ms / 1000)} s${beside}`);
  if (process.argv.includes('--corpus'))
    print('all modules', summaryOf(['check', folder]), availableParallelism());
}

function objtoolTime(objtool: string, modules: readonly string[]): number {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-bench-'));
  try {
    const bare = stripModules(modules, join(dir, 'bare'));
    return median([0, 1, 2].map(() => timeObjtool(objtool, copyModules(bare, join(dir, 'work'))).wall));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function print(what: string, summary: Summary, cores: number): void {
  const a = speed(summary) / cores;
  const memory = `, peak memory ${whole(summary.peakMemory / 2 ** 20)} MiB`;
  console.log(
    `${what}: ${whole(summary.reached)} of ${whole(summary.instructions)} instructions in ` +
      `${seconds(summary.ms / 1000)} s, ${whole(a)} a second a core (aim ${whole(AIM)}: ` +
      `${a >= AIM ? 'met' : 'missed'}), ${whole(summary.reached / (summary.cpuMs / 1000))} a second of processor ` +
      `time, ${summary.wrong} wrong and declared reliable${memory}`,
  );
}

main();
