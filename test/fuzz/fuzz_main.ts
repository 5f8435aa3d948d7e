// The long run of broken objects: `npm run fuzz -- [COUNT] [--command orc|check|sframe|dwarf|kernel] [--seed N] [--jobs N] [FILE...]`.
// COUNT objects go through each command as its file; ends with 1 when one makes it crash, hang or grow.
//
// Invariant: the processes that try objects may die; the object that killed one is kept and named.

import { type ChildProcess, fork } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  COMMANDS,
  type Command,
  type Failure,
  numberFile,
  type Report,
  type Share,
  tryShare,
} from './fuzz_share.ts';

/** Which objects are broken, by what reads them. */
const MODULES = 'fixtures/modules';
const TABLES = 'fixtures/objects/unwinders';
/** Of later kernels, with the tables and annotations that those have. */
const LATER = 'fixtures/objects/annotated';
const VICTIMS: Readonly<Record<Command, readonly string[]>> = {
  orc: [MODULES, LATER],
  check: [MODULES, LATER],
  sframe: [TABLES],
  dwarf: [TABLES],
  // Made as they are broken.
  kernel: [],
};
/** Where objects that did harm are kept. */
const KEPT = '.cache/fuzz';
/** Without a word for this long, a process hangs. */
const HANG_MS = 60_000;
/** Processes of one share that may die before it is given up. */
const MOST_DEATHS = 20;

interface Tally {
  done: number;
  /** By outcome: a report, or the code of an error. */
  readonly outcomes: Record<string, number>;
  slowest: number;
  /** Of the largest process. */
  peak: number;
  readonly failures: Failure[];
  /** By file of a share, where its last report ended. */
  readonly next: Map<string, number>;
}

function files(given: readonly string[], command: Command): string[] {
  const own = VICTIMS[command].flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)));
  const all = given.length > 0 ? given : own;
  return all.filter((file) => file.endsWith('.ko') || file.endsWith('.o'));
}

/** A share to its end, in one process after the other. */
async function runShare(share: Share, tally: Tally): Promise<void> {
  let from = share.from;
  for (let deaths = 0; from < share.to && deaths < MOST_DEATHS; deaths++) {
    const death = await runProcess({ ...share, from }, tally);
    if (death === undefined) return;
    const index = Number(readFileSync(numberFile(share.file), 'utf8'));
    mkdirSync(KEPT, { recursive: true });
    const name = join(KEPT, `${share.command}-${share.seed}-${index}.ko`);
    copyFileSync(share.file, name);
    tally.failures.push({ index, name, kinds: [], why: death });
    // Those since its last word are counted with it.
    tally.done += index + 1 - Math.max(from, tally.next.get(share.file) ?? 0);
    from = index + 1;
  }
}

/** How the process died; undefined where it came to the end. */
function runProcess(share: Share, tally: Tally): Promise<string | undefined> {
  const child = fork(process.argv[1], ['--share', JSON.stringify(share)]);
  return new Promise((resolve) => {
    let timer = setTimeout(() => hang(child), HANG_MS);
    child.on('message', (report: Report) => {
      clearTimeout(timer);
      timer = setTimeout(() => hang(child), HANG_MS);
      add(tally, report, share.file);
    });
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(undefined);
      else resolve(signal === 'SIGKILL' ? 'hung' : `killed its process (${signal ?? code})`);
    });
  });
}

function add(tally: Tally, report: Report, file: string): void {
  tally.next.set(file, report.next);
  tally.done += report.done;
  for (const [name, n] of Object.entries(report.outcomes))
    tally.outcomes[name] = (tally.outcomes[name] ?? 0) + n;
  tally.slowest = Math.max(tally.slowest, report.slowest);
  tally.peak = Math.max(tally.peak, report.rss);
  tally.failures.push(...report.failures);
}

const hang = (child: ChildProcess): boolean => child.kill('SIGKILL');

async function runCommand(
  command: Command,
  count: number,
  seed: number,
  jobs: number,
  victims: string[],
): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-fuzz-'));
  const tally: Tally = { done: 0, outcomes: {}, slowest: 0, peak: 0, failures: [], next: new Map() };
  const started = performance.now();
  const shares = Array.from({ length: jobs }, (_, i): Share => {
    const [from, to] = [Math.floor((i * count) / jobs), Math.floor(((i + 1) * count) / jobs)];
    return { command, from, to, seed, file: join(dir, `object-${i}.ko`), victims };
  });
  const log = setInterval(
    () => console.error(`${command}: ${tally.done} of ${count}, ${tally.failures.length} failures`),
    30_000,
  );
  await Promise.all(shares.map((share) => runShare(share, tally)));
  clearInterval(log);
  rmSync(dir, { recursive: true });
  const outcomes = Object.entries(tally.outcomes).sort((a, b) => b[1] - a[1]);
  console.log(
    `${command}: ${tally.done} broken objects in ${((performance.now() - started) / 1000).toFixed(1)} s: ` +
      `${outcomes.map(([name, n]) => `${n} ${name}`).join(', ')}; the slowest took ${tally.slowest.toFixed(0)} ms, ` +
      `peak memory ${tally.peak >> 20} MiB; ${tally.failures.length} failures`,
  );
  for (const { index, name, kinds, why } of tally.failures) {
    console.log(`  ${index} of seed ${seed} (${name}: ${kinds.join(', ')}): ${why}`);
  }
  return tally.failures.length === 0 && tally.done === count;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      command: { type: 'string' },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: `${availableParallelism()}` },
      share: { type: 'string' },
    },
  });
  if (values.share !== undefined)
    return tryShare(JSON.parse(values.share), (report) => process.send?.(report));
  const count = Number(positionals[0] ?? 100_000);
  const commands = COMMANDS.filter((name) => values.command === undefined || values.command === name);
  if (!(count > 0) || commands.length === 0) {
    throw new Error(
      'usage: npm run fuzz -- [COUNT] [--command orc|check|sframe|dwarf|kernel] [--seed N] [--jobs N] [FILE...]',
    );
  }
  for (const command of commands) {
    const good = await runCommand(
      command,
      count,
      Number(values.seed),
      Number(values.jobs),
      files(positionals.slice(1), command),
    );
    if (!good) process.exitCode = 1;
  }
}

await main();
