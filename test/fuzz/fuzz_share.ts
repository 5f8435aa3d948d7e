// Broken objects one after the other through a command of klpemu, as it takes files: what one process of the
// long run does, and the short run of the tests.

import { readFileSync, writeFileSync } from 'node:fs';
import { type CheckReport, checkFile } from '../../src/cli/check/file.ts';
import { type OrcReport, orcObject } from '../../src/cli/orc/object.ts';
import { ElfError } from '../../src/elf/error.ts';
import { KernelVictim, readWholeKernel } from './kernel_victim.ts';
import { Victim } from './mutations.ts';
import { Random } from './random.ts';

/** The tables of `check --unwinder sframe` and `dwarf` are commands of their own; `kernel` is all that is done with an image. */
export const COMMANDS = ['orc', 'check', 'sframe', 'dwarf', 'kernel'] as const;
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
  readonly kinds: readonly string[];
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
  const victims =
    share.command === 'kernel'
      ? KernelVictim.all()
      : share.victims.map((path) => new Victim(readFileSync(path), path));
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
async function soundness({ command, victims, file }: Share): Promise<() => Promise<string | undefined>> {
  const path = command === 'kernel' ? `${file}.whole` : victims[victims.length - 1];
  if (command === 'kernel') writeFileSync(path, KernelVictim.all()[0].whole());
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
  if (command === 'kernel') {
    readWholeKernel(path);
    const report = await orcObject({ path, diff: true, dump: false });
    return report.error ? report : checkFile({ path, unwinder: 'orc' });
  }
  return checkFile({ path, unwinder: command === 'check' ? 'orc' : command });
}

/** `why`: what must never be. */
async function tryFile(command: Command, path: string): Promise<{ outcome: string; why?: string }> {
  try {
    const { error } = await run(command, path, `${path}.out`);
    if (!error) return { outcome: 'reports' };
    return error.code === 'EINTERNAL' ? { outcome: 'crashes', why: error.message } : { outcome: error.code };
  } catch (error) {
    if (error instanceof ElfError) return { outcome: error.code };
    return { outcome: 'crashes', why: (error as Error).stack ?? `${error}` };
  }
}
