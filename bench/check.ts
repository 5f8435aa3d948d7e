// How fast a check executes and judges the instructions of real modules: on the core and in Unicorn, in turns, and beside
// the kernel's own objtool, which follows the same paths without executing them.
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

const AIM = 2_000_000;
/** Few enough for Unicorn, which executes each instruction by a call of its own. */
const SIDE_BY_SIDE = new Set(['usbcore.ko', 'nf_tables.ko', 'kvm.ko', 'ext4.ko', 'xfs.ko']);
const ROUNDS = 3;
const ENGINES = ['core', 'unicorn'] as const;
const whole = (n: number): string => Math.round(n).toLocaleString('en-US');
/** Instructions a second of processor time, and of real time. */
const speed = ({ reached, cpuMs }: Summary): number => reached / (cpuMs / 1000);
const realSpeed = ({ reached, ms }: Summary): number => reached / (ms / 1000);

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
  sideBySide(modules.filter((path) => SIDE_BY_SIDE.has(basename(path))));
  const summary = summaryOf(['check', '-j', '1', ...modules]);
  const objtool = objtoolPath();
  const beside = objtool ? `; objtool over them ${seconds(objtoolTime(objtool, modules))} s` : '';
  print(`${modules.length} modules on one thread`, summary, 1);
  console.log(`klpemu check ${seconds(summary.ms / 1000)} s${beside}`);
  if (process.argv.includes('--corpus'))
    print('all modules', summaryOf(['check', folder]), availableParallelism());
}

/** Each engine in turns, in processes of their own; the shortest round counts. */
function sideBySide(modules: readonly string[]): void {
  const rounds = Array.from({ length: ROUNDS }, () =>
    ENGINES.map((engine) => summaryOf(['check', '-j', '1', '--engine', engine, ...modules])),
  );
  const best = ENGINES.map((_, i) =>
    rounds.map((round) => round[i] as Summary).reduce((a, b) => (a.cpuMs <= b.cpuMs ? a : b)),
  );
  best.forEach((summary, i) => {
    const { reached, skipped } = summary;
    console.log(
      `${modules.length} modules, ${ENGINES[i]}: ${whole(speed(summary))} instructions a second of processor time, ` +
        `${whole(skipped)} of ${whole(reached)} stepped over`,
    );
  });
  const [core, unicorn] = best as [Summary, Summary];
  console.log(`core to Unicorn: ${(speed(core) / speed(unicorn)).toFixed(1)}`);
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
  const a = speed(summary);
  const memory = `, peak memory ${whole(summary.peakMemory / 2 ** 20)} MiB`;
  console.log(
    `${what}: ${whole(summary.reached)} of ${whole(summary.instructions)} instructions in ` +
      `${seconds(summary.ms / 1000)} s, ${whole(a)} a second of processor time (aim ${whole(AIM)}: ` +
      `${a >= AIM ? 'met' : 'missed'}), ${whole(realSpeed(summary) / cores)} a second a core, ` +
      `${((100 * summary.skipped) / summary.reached).toFixed(2)} % stepped over, ` +
      `${summary.wrong} wrong and declared reliable${memory}`,
  );
}

main();
