// npm run pairs [-- --preemptions N] [--model classic|bundle] [--state FILE] [--seconds N] [--most N] [PAIR...]: explores each pair of
// operations on livepatch, done at the same time, in the core as it is: all schedules of up to N things done. Prints what it looked
// at; ends with 1 and the schedule where something is found, with 4 where not all was looked at.
//
// It goes on from --state, a file of its own version, and leaves there what is not done.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { execute, learnPoints } from '../src/explore/execution.ts';
import { courseOf, executedOf } from '../src/explore/explore.ts';
import { States } from '../src/explore/order.ts';
import { type Plan, QUIET } from '../src/explore/plan.ts';
import type { SearcherState } from '../src/explore/searcher.ts';
import { BoundedSearcher } from '../src/explore/searchers/bounded.ts';
import { ScriptUsageError } from './errors.ts';
import { MODELS, PAIRS, type Pair, pairScenario, QUIET_NS } from './pair_scenarios.ts';

interface PairState {
  readonly schedules: number;
  readonly pointless: number;
  readonly points: number;
  readonly visits: number;
  /** Those that came to what another had come to, and were not run further. */
  readonly joined: number;
  /** Orders of points that runs have come to; of the longest session of several. */
  readonly states: number;
  /** Those that come to the same as one that was run. */
  readonly leftOut: number;
  /** Processor time, s. */
  readonly seconds: number;
  readonly known: Readonly<Record<string, number>>;
  readonly complete: boolean;
  readonly found?: string;
  readonly searcher: SearcherState;
}

/** What a state file is. */
interface Kept {
  readonly version: number;
  readonly pairs: Record<string, PairState>;
}
/** Another one where points or what a schedule says have changed. */
const VERSION = 7;

interface Options {
  preemptions: number;
  seconds: number;
  most: number;
  state: string | undefined;
  models: readonly (typeof MODELS)[number][];
  pairs: string[];
}

function options(args: readonly string[]): Options {
  const all: Options = {
    preemptions: 1,
    seconds: Number.POSITIVE_INFINITY,
    most: Number.POSITIVE_INFINITY,
    state: undefined,
    models: MODELS,
    pairs: [],
  };
  for (let i = 0; i < args.length; i++) {
    const [name, value = ''] = [args[i], args[i + 1]];
    if (!name.startsWith('--')) {
      if (!PAIRS.some((pair) => pair.join('+') === name))
        throw new ScriptUsageError(`pairs: ${name}: no such pair`);
      all.pairs.push(name);
      continue;
    }
    i++;
    if (name === '--state') all.state = value;
    else if (name === '--model' && MODELS.some((model) => model === value))
      all.models = [value as (typeof MODELS)[number]];
    else if (['--preemptions', '--seconds', '--most'].includes(name) && Number(value) > 0)
      all[name.slice(2) as 'preemptions' | 'seconds' | 'most'] = Number(value);
    else throw new ScriptUsageError(`pairs: ${name} ${value}: not known`);
  }
  return all;
}

export async function main(args: readonly string[]): Promise<void> {
  const { preemptions, seconds, most, state: file, models, pairs } = options(args);
  const saved = file === undefined ? {} : savedIn(file);
  const end = performance.now() + seconds * 1000;
  const notWhole: string[] = [];
  for (const model of models)
    for (const [a, b] of PAIRS) {
      const name = `${a}+${b}`;
      if (pairs.length > 0 && !pairs.includes(name)) continue;
      const key = `${model} ${name} ${preemptions}`;
      const before = saved[key];
      if (!before?.complete && performance.now() < end) {
        const state = await explorePair(pairScenario(a, b, model), preemptions, before, end, most);
        saved[key] = state;
        if (file !== undefined) writeWhole(file, { version: VERSION, pairs: saved });
        tell(key, state);
      }
      if (saved[key]?.complete !== true) notWhole.push(key);
      if (saved[key]?.found !== undefined) process.exitCode = 1;
    }
  total(saved);
  if (notWhole.length === 0) return;
  process.stdout.write(`${notWhole.length} not looked at whole: ${notWhole.join(', ')}\n`);
  process.exitCode ??= 4;
}

/** @throws ScriptUsageError for a file of another version, whose points and decisions are not those of now */
function savedIn(file: string): Record<string, PairState> {
  if (!existsSync(file)) return {};
  const kept = JSON.parse(readFileSync(file, 'utf8')) as Partial<Kept>;
  if (kept.version !== VERSION || kept.pairs === undefined)
    throw new ScriptUsageError(`pairs: ${file} is of another version: begin with a new file`);
  return kept.pairs;
}

async function explorePair(
  { scenario, fromStep }: Pair,
  preemptions: number,
  before: PairState | undefined,
  end: number,
  most: number,
): Promise<PairState> {
  const cpu = process.cpuUsage();
  const { points } = await learnPoints(scenario, { quietNs: QUIET_NS });
  const states = new States();
  const options = { fromStep, states, quietNs: QUIET_NS };
  const first = await execute(scenario, points, { base: QUIET, decisions: [] }, options);
  const searcher = new BoundedSearcher({
    preemptions,
    seed: 1,
    first: courseOf(first),
    ...(before ? { state: before.searcher } : {}),
  });
  let { schedules, pointless, joined } = before ?? { schedules: 0, pointless: 0, joined: 0 };
  const known: Record<string, number> = { ...before?.known };
  let found: string | undefined = wrong(first) && `${first.schedule}: ${wrong(first)}`;
  let plan: Plan | undefined;
  let left = most;
  while (found === undefined && left-- > 0 && performance.now() < end) {
    plan = searcher.next();
    if (!plan) break;
    const execution = await execute(scenario, points, plan, options);
    schedules++;
    if (execution.isKnown) joined++;
    if (execution.pointless) pointless++;
    for (const kind of new Set(execution.problems.map((one) => one.kind)))
      known[kind] = (known[kind] ?? 0) + 1;
    searcher.done({ plan, ...executedOf(execution), found: execution.problems.length > 0 });
    const problem = wrong(execution);
    if (problem !== undefined) found = `${execution.schedule}: ${problem}`;
  }
  const { user, system } = process.cpuUsage(cpu);
  return {
    schedules,
    pointless,
    joined,
    states: Math.max(states.size, before?.states ?? 0),
    leftOut: searcher.leftOut,
    points: points.text.size + points.trampoline.size + points.host.size,
    visits: first.visits.length,
    seconds: (before?.seconds ?? 0) + (user + system) / 1e6,
    known,
    complete: found === undefined && plan === undefined && left >= 0 && schedules > 0,
    ...(found === undefined ? {} : { found }),
    searcher: searcher.state,
  };
}

/** What the kernel is known to do (docs/findings.md) is counted, and gone on from. */
const KNOWN: ReadonlySet<string> = new Set(['gap', 'hole']);

function wrong({ problems }: Awaited<ReturnType<typeof execute>>): string | undefined {
  const all = problems.filter(({ kind }) => !KNOWN.has(kind));
  return all.length > 0 ? all.map(({ text }) => text).join(' | ') : undefined;
}

function tell(
  key: string,
  {
    schedules,
    pointless,
    joined,
    states,
    leftOut,
    points,
    visits,
    seconds,
    known,
    complete,
    found,
  }: PairState,
): void {
  const counts = Object.entries(known).map(([kind, count]) => `, ${kind} ${count}`);
  process.stdout.write(
    `${key}: ${schedules} schedules (${pointless} changed nothing, ${joined} joined others), ${leftOut} left out, ${states} states, ${points} points, ${visits} times come to, ${seconds.toFixed(0)} s${counts.join('')}, ${found ?? (complete ? 'all' : 'not all')}\n`,
  );
}

function total(saved: Readonly<Record<string, PairState>>): void {
  const all = Object.values(saved);
  const sum = (of: (state: PairState) => number): number => all.reduce((one, state) => one + of(state), 0);
  process.stdout.write(
    `${all.filter(({ complete }) => complete).length} of ${all.length} begun are whole: ${sum((one) => one.schedules)} schedules (${sum((one) => one.pointless)} changed nothing), ${sum((one) => one.leftOut)} left out, ${sum((one) => one.seconds).toFixed(0)} s of processor time\n`,
  );
}

function writeWhole(file: string, kept: Kept): void {
  writeFileSync(`${file}.new`, JSON.stringify(kept));
  renameSync(`${file}.new`, file);
}
