// Broken objects one after the other through a command of klpemu, as it takes files: what one process of the
// long run does, and the short run of the tests.

import { readFileSync, writeFileSync } from 'node:fs';
import { type CheckReport, checkFile } from '../../src/cli/check/file.ts';
import { type OrcReport, orcObject } from '../../src/cli/orc/object.ts';
import { type Kind, Victim } from './mutations.ts';
import { Random } from './random.ts';

/** The tables of `check --unwinder sframe` and `dwarf` are commands of their own. */
export const COMMANDS = ['orc', 'check', 'sframe', 'dwarf'] as const;
export type Command = (typeof COMMANDS)[number];

export interface Share {
  readonly command: Command;
  /** Which of the seed's objects. */
  readonly from: number;
  readonly to: number;
  readonly seed: number;
  /** Where each of them is written, its number beside it: after a crash the one that did it is there. */
  readonly file: string;
  readonly victims: readonly string[];
}

export interface Failure {
  readonly index: number;
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly why: string;
}

/** Since the last report. */
export interface Report {
  readonly next: number;
  readonly done: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly slowest: number;
  readonly rss: number;
  readonly failures: readonly Failure[];
}

export const numberFile = (file: string): string => `${file}.number`;

/** Of processor time: objects here take milliseconds, and nothing in one of them is a reason to take this long. */
const LATE_MS = 5_000;
const MOST_MEMORY = 1 << 30;
const REPORT_EVERY_MS = 500;

export async function tryShare(share: Share, tell: (report: Report) => void): Promise<void> {
  const { from, to, seed, file } = share;
  const victims = share.victims.map((path) => new Victim(readFileSync(path), path));
  const outcomes: Record<string, number> = {};
  const failures: Failure[] = [];
  let [done, slowest, told] = [0, 0, performance.now()];
  const sound = await soundness(share);
  const report = async (next: number): Promise<void> => {
    const harm = await sound();
    if (harm !== undefined) failures.push({ index: next, name: share.file, kinds: [], why: harm });
    const rss = process.memoryUsage().rss;
    if (rss > MOST_MEMORY)
      failures.push({ index: next, name: file, kinds: [], why: `${rss >> 20} MiB in use` });
    tell({ next, done, outcomes: { ...outcomes }, slowest, rss, failures: [...failures] });
    for (const name of Object.keys(outcomes)) delete outcomes[name];
    failures.length = 0;
    [done, slowest, told] = [0, 0, performance.now()];
  };
  for (let index = from; index < to; index++) {
    const victim = victims[index % victims.length];
    const { bytes, kinds } = victim.mutate(new Random(seed * 1_000_003 + index));
    writeFileSync(file, bytes);
    writeFileSync(numberFile(file), `${index}`);
    const before = process.cpuUsage();
    const { outcome, why } = await tryFile(share.command, file);
    const { user, system } = process.cpuUsage(before);
    const took = (user + system) / 1000;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    slowest = Math.max(slowest, took);
    done++;
    const late = took > LATE_MS ? `took ${Math.round(took)} ms` : undefined;
    const harm = why ?? late;
    if (harm !== undefined) failures.push({ index, name: victim.name, kinds, why: harm });
    if (performance.now() - told > REPORT_EVERY_MS) await report(index + 1);
  }
  await report(to);
}

/** Whether what came before has changed the answers for an object that is whole. */
async function soundness({ command, victims }: Share): Promise<() => Promise<string | undefined>> {
  const path = victims[victims.length - 1];
  const answer = async (): Promise<string> => {
    const { ms, ...report } = { ms: 0, ...(await run(command, path)) };
    return JSON.stringify(report);
  };
  const first = await answer();
  return async () =>
    (await answer()) === first ? undefined : 'a whole object has other answers than at first';
}

async function run(command: Command, path: string, output?: string): Promise<OrcReport | CheckReport> {
  const job = { path, diff: true, dump: true, ...(output ? { output } : {}) };
  if (command === 'orc') return orcObject(job);
  return checkFile({ path, unwinder: command === 'check' ? 'orc' : command });
}

/** `why`: what must never be. */
async function tryFile(command: Command, path: string): Promise<{ outcome: string; why?: string }> {
  try {
    const { error } = await run(command, path, `${path}.out`);
    if (!error) return { outcome: 'reports' };
    return error.code === 'EINTERNAL' ? { outcome: 'crashes', why: error.message } : { outcome: error.code };
  } catch (error) {
    return { outcome: 'crashes', why: (error as Error).stack ?? `${error}` };
  }
}
