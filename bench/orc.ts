// How long the ORC tables of real modules take, beside the kernel's own objtool in the same run.
//
//   npm run bench orc                  ten modules and the smallest one
//   npm run bench orc -- --corpus      all modules of the folder as well (minutes: objcopy has to strip each)
//
// Needs linux-kbuild, binutils, and modules: those of `npm run corpus`, of the running kernel, or of the folder that
// KLPEMU_MODULES names. objtool is run once a module, as kbuild does; klpemu once for all of them, for the ten on
// one thread. Both write their tables.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  copyModules,
  KLPEMU,
  median,
  moduleFolder,
  modulesIn,
  NEEDS,
  namedModules,
  objtoolPath,
  seconds,
  stripModules,
  summaryOf,
  type Time,
  time,
  timeObjtool,
} from './lib/modules.ts';

const ROUNDS = 5;

function main(): void {
  const [objtool, folder] = [objtoolPath(), moduleFolder()];
  if (!objtool || !folder) {
    console.log(`skipped: ${NEEDS}`);
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-bench-'));
  try {
    few(objtool, stripModules(namedModules(folder), join(dir, 'few')), dir);
    if (process.argv.includes('--corpus')) {
      all(objtool, stripModules(modulesIn(folder), join(dir, 'all')), dir);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** One process, one thread, in turns with objtool. */
function few(objtool: string, modules: readonly string[], dir: string): void {
  const rounds: { theirs: Time; ours: Time }[] = [];
  const each = modules.map((): Time[] => []);
  for (let i = 0; i < ROUNDS; i++) {
    const copies = copyModules(modules, join(dir, 'work'));
    const theirs = timeObjtool(objtool, copies);
    copyModules(modules, join(dir, 'work'));
    copies.forEach((copy, m) => {
      each[m].push(timeObjtool(objtool, [copy]));
    });
    const ours = time(process.execPath, [KLPEMU, 'orc', '-j', '1', '-o', join(dir, 'out/'), ...modules]);
    rounds.push({ theirs, ours });
  }
  modules.forEach((path, m) => {
    const name = basename(path).replace(/^\d+-/, '');
    console.log(`${name}: objtool ${seconds(median(each[m].map(({ cpu }) => cpu)))} s`);
  });
  const summary = summaryOf(['orc', '-j', '1', ...modules]);
  print(`${modules.length} modules in one process`, summary, rounds, 1);
}

function all(objtool: string, modules: readonly string[], dir: string): void {
  const ours = time(process.execPath, [KLPEMU, 'orc', '-o', join(dir, 'out-all/'), join(dir, 'all')]);
  const summary = summaryOf(['orc', join(dir, 'all')]);
  const theirs = timeObjtool(objtool, modules);
  print(`${modules.length} modules, all cores`, summary, [{ theirs, ours }], 0.5);
}

function print(
  what: string,
  { instructions, peakMemory }: { readonly instructions: number; readonly peakMemory?: number },
  rounds: readonly { theirs: Time; ours: Time }[],
  aim: number,
): void {
  const of = (who: 'theirs' | 'ours', which: keyof Time): number =>
    median(rounds.map((round) => round[who][which]));
  const line = (which: keyof Time): string => {
    const ratio = median(rounds.map(({ theirs, ours }) => ours[which] / theirs[which]));
    return `objtool ${seconds(of('theirs', which))} s, klpemu ${seconds(of('ours', which))} s, ratio ${ratio.toFixed(2)}`;
  };
  const ratio = median(rounds.map(({ theirs, ours }) => ours.wall / theirs.wall));
  console.log(
    `${what}, ${instructions.toLocaleString('en-US')} instructions: time ${line('wall')} (aim ${aim} or less: ` +
      `${ratio <= aim ? 'met' : 'missed'}); processor time ${line('cpu')}; ` +
      `peak memory ${Math.round((peakMemory ?? 0) / 2 ** 20)} MiB`,
  );
}

main();
