// klpemu explore: looks for an order of events in which a scenario goes wrong, on all processors.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { drawn, type Line, Story } from '../../explore/counterexample.ts';
import { type Execution, execute, learnPoints } from '../../explore/execution.ts';
import { courseOf, type Explored, executedOf, explore, type Place } from '../../explore/explore.ts';
import type { Problem, ProblemKind } from '../../explore/judges.ts';
import { States } from '../../explore/order.ts';
import { QUIET } from '../../explore/plan.ts';
import type { Points } from '../../explore/points.ts';
import type { Kind, Searcher } from '../../explore/searcher.ts';
import { SEARCHERS, type SearcherName } from '../../explore/searchers/index.ts';
import type { FileAccess } from '../../scenario/host_file.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import { EXIT, UsageError } from '../exit.ts';
import { counted, whole } from '../numbers.ts';
import { open } from '../scenario.ts';
import { columns, print, toTerminal } from '../terminal.ts';
import { workProgress } from '../work_progress.ts';
import type { FoundPage } from './page.ts';
import { ThreadPlace } from './places.ts';
import { RedisQueue, serveQueue } from './redis_queue.ts';
import { readState, stateKey, writeState } from './state.ts';

interface ExploreCommandOptions extends FileAccess {
  readonly searcher: SearcherName;
  readonly preemptions: number;
  readonly seed: number;
  /** ms */
  readonly time: number;
  readonly threads?: number;
  readonly known?: readonly ProblemKind[];
  readonly state?: string;
  readonly schedule?: string;
  readonly at?: string;
  readonly do?: readonly Kind[];
  readonly json?: boolean;
  readonly html?: string;
  /** Of a Redis server. */
  readonly queue?: string;
  readonly worker?: boolean;
}

/** Nothing was found, and not all was looked at. */
const NOT_ALL = 4;

export async function exploreFile(file: string, options: ExploreCommandOptions): Promise<void> {
  if ((options.searcher === 'replay') !== (options.schedule !== undefined))
    throw new UsageError('--schedule goes with --searcher replay, and replay needs one');
  if (options.worker && options.queue === undefined) throw new UsageError('--worker goes with --queue');
  const started = performance.now();
  const scenario = await open(file, options);
  const { html } = options;
  const page = html === undefined ? undefined : new (await import('./page.ts')).FoundPage(html);
  const { points } = await learnPoints(scenario);
  if (options.worker) return await work(file, scenario, points, options);
  const first = await execute(scenario, points, { base: QUIET, decisions: [] }, { at: options.at ?? '' });
  const fresh = first.problems.filter(({ kind }) => !options.known?.includes(kind));
  const key = stateKey(
    readFileSync(file, 'utf8'),
    options.searcher,
    options.preemptions,
    options.seed,
    options.at ?? '',
    options.do?.join() ?? '',
    VERSION,
  );
  const search = new Search(scenario, points, first, options, key);
  const explored: Explored =
    fresh.length > 0
      ? {
          schedules: 1,
          pointless: 0,
          joined: 0,
          visits: first.visits.length,
          depth: 0,
          complete: false,
          known: {},
          found: first,
        }
      : await search.run(file, started);
  const ms = performance.now() - started;
  const told = explored.found
    ? await counterexample(scenario, points, explored.found, options.at ?? '', page)
    : undefined;
  if (!told) page?.discard();
  const { leftOut } = search;
  if (options.json) printJson(explored, leftOut, points, told, ms);
  else printText(scenario, explored, leftOut, points, told, ms);
  process.exitCode = explored.found ? EXIT.failed : explored.complete ? EXIT.ok : NOT_ALL;
}

/** State files of other versions have other points. */
const VERSION = 5;

/** What is executed of the same file at the same points has the same name. */
const queueName = (file: string, { at = '' }: ExploreCommandOptions): string =>
  `klpemu-explore-${stateKey(readFileSync(file, 'utf8'), at, VERSION)}`;

/** Plans that wait in a queue for whoever takes them. */
const IN_QUEUE = 64;
/** How much longer than all may take one may. */
const GRACE_MS = 120_000;

async function work(
  file: string,
  scenario: Scenario,
  points: Points,
  options: ExploreCommandOptions,
): Promise<void> {
  const { at = '', queue = '' } = options;
  const states = new States();
  await serveQueue(
    queue,
    queueName(file, options),
    async ({ plan, hash, joins }) =>
      executedOf(await execute(scenario, points, plan, { at, hash, ...(joins ? { states } : {}) })),
    () => print(`executes schedules of '${toTerminal([scenario.name]).join('')}'\n`),
  );
}

class Search {
  readonly #scenario: Scenario;
  readonly #points: Points;
  readonly #options: ExploreCommandOptions;
  readonly #searcher: Searcher;
  readonly #key: string;
  readonly #before: { readonly schedules: number; readonly pointless: number };

  constructor(
    scenario: Scenario,
    points: Points,
    first: Execution,
    options: ExploreCommandOptions,
    key: string,
  ) {
    this.#scenario = scenario;
    this.#points = points;
    this.#options = options;
    this.#key = key;
    const saved = options.state === undefined ? undefined : readState(options.state, key);
    this.#before = saved ?? { schedules: 0, pointless: 0 };
    this.#searcher = SEARCHERS[options.searcher]({
      preemptions: options.preemptions,
      seed: options.seed,
      first: courseOf(first),
      ...(options.do ? { kinds: options.do } : {}),
      ...(saved ? { state: saved.searcher } : {}),
      ...(options.schedule === undefined ? {} : { schedule: options.schedule }),
    });
  }

  async run(file: string, started: number): Promise<Explored> {
    const { time, known, json, at = '' } = this.#options;
    const { places, close } = await this.#places(file);
    const bar = await workProgress(FORMAT, time, json ? { json } : {});
    let interrupted = false;
    const onInterrupt = (): void => {
      interrupted = true;
    };
    process.once('SIGINT', onInterrupt);
    try {
      const explored = await explore({
        searcher: this.#searcher,
        places,
        here: (plan) => execute(this.#scenario, this.#points, plan, { at }),
        ...(known ? { known } : {}),
        isOver: () => interrupted || performance.now() - started >= time,
        progress: ({ schedules, visits, depth }) =>
          bar?.update(Math.min(time, performance.now() - started), {
            now: `${whole(schedules)} schedules, ${whole(visits)} points, depth ${depth}`,
          }),
      });
      return this.#saved(explored);
    } finally {
      process.off('SIGINT', onInterrupt);
      bar?.stop();
      await close();
    }
  }

  /** Threads of this process; or, with a queue, whoever takes from it. */
  async #places(file: string): Promise<{ places: readonly Place[]; close: () => Promise<unknown> }> {
    const { queue, time, threads, searcher, at = '', allowFiles = false } = this.#options;
    const joins = searcher === 'bounded';
    const most = searcher === 'replay' ? 1 : threads;
    if (queue !== undefined) {
      const redis = await RedisQueue.open(queue, queueName(file, this.#options), joins, time + GRACE_MS);
      return { places: redis.places(most ?? IN_QUEUE), close: () => redis.close() };
    }
    const start = { file, allowFiles, points: this.#points, at, joins };
    const places = Array.from({ length: most ?? availableParallelism() }, () => new ThreadPlace(start));
    return { places, close: () => Promise.all(places.map((place) => place.close())) };
  }

  get leftOut(): number {
    return this.#searcher.leftOut ?? 0;
  }

  #saved(explored: Explored): Explored {
    const schedules = this.#before.schedules + explored.schedules;
    const pointless = this.#before.pointless + explored.pointless;
    const { state } = this.#options;
    if (state !== undefined)
      writeState(state, { of: this.#key, schedules, pointless, searcher: this.#searcher.state });
    return { ...explored, schedules, pointless };
  }
}

const FORMAT = '  [{bar}] {now}';

interface Told {
  readonly lines: readonly Line[];
  readonly problems: readonly Problem[];
  readonly schedule: string;
}

/** Runs it once more, and listens. */
async function counterexample(
  scenario: Scenario,
  points: Points,
  found: Execution,
  at: string,
  page: FoundPage | undefined,
): Promise<Told> {
  const story = new Story();
  const observers = page ? [page] : [];
  const again = await execute(scenario, points, found.plan, { tell: story, at, observers });
  const problems = again.problems.length > 0 ? again.problems : found.problems;
  const { schedule } = found;
  const lines = story.about(problems);
  page?.write(again.report, scenario, { problems, lines, command: runAgain(scenario, schedule) });
  return { lines, problems, schedule };
}

const runAgain = ({ file }: Scenario, schedule: string): string =>
  `klpemu run ${shellWord(file)} --schedule ${schedule}`;

function printText(
  scenario: Scenario,
  explored: Explored,
  leftOut: number,
  points: Points,
  told: Told | undefined,
  ms: number,
): void {
  const { schedules, pointless, joined, visits, known, complete } = explored;
  const lines: string[] = [];
  if (told) {
    lines.push(`found in '${scenario.name}':`, '', drawn(told.lines, told.problems, columns()), '');
    lines.push(runAgain(scenario, told.schedule), '');
  }
  for (const [kind, count] of Object.entries(known))
    lines.push(`known, and gone on: ${kind} in ${counted(count, 'schedule')}`);
  lines.push(
    `${counted(schedules, 'schedule')} (${whole(pointless)} changed nothing, ${whole(joined)} joined others; ${whole(leftOut)} left out) over ${whole(pointCount(points))} points, ` +
      `${whole(visits)} times come to, in ${(ms / 1000).toFixed(1)} s`,
  );
  if (!told)
    lines.push(
      complete ? 'nothing was found: all was looked at' : 'nothing was found; not all was looked at',
    );
  print(
    `${lines
      .flatMap((line) => line.split('\n'))
      .flatMap((line) => (line.startsWith('klpemu run ') ? [line] : toTerminal([line])))
      .join('\n')}\n`,
  );
}

function printJson(
  explored: Explored,
  leftOut: number,
  points: Points,
  told: Told | undefined,
  ms: number,
): void {
  const { schedules, pointless, joined, visits, depth, known, complete } = explored;
  const base = {
    schedules,
    pointless,
    joined,
    leftOut,
    points: pointCount(points),
    visits,
    depth,
    known,
    complete,
    ms: Math.round(ms),
  };
  print(`${JSON.stringify({ ...base, ...(told ? { found: told } : {}) })}\n`);
}

const pointCount = ({ text, trampoline, host }: Points): number => text.size + trampoline.size + host.size;

const shellWord = (word: string): string =>
  /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
