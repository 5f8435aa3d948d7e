// `npm run sequences -- COUNT [--seed N]`: runs random sequences in as many processes as there are processors, and
// prints the seed and the smallest form of one that fails. With --first one that fails ends it, and is printed as it is: for who asks
// only whether one does.

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import fc from 'fast-check';
import { runSequence, type Sequence, sequence, type Tally } from './sequences.ts';

/** Sequences that one seed stands for, and after which a process tells how far it is. */
const BATCH = 25;
/** Sequences that a process runs in its life, at most: of the first ones half is for V8, which compiles what they run. */
const SHARE = 5000;

/**
 * What a thousand sequences must have done, at least, or they have looked at less than they say: about half of what they do.
 * Asked of a run of as many as are enough for that.
 */
const FLOOR: Tally = {
  'transition complete': 600,
  'transition reversing': 70,
  'transition forcing': 15,
  'transition canceling': 10,
  blocked: 400,
  fault: 60,
  klp_relocs: 5,
  gate: 8,
  'older version': 15,
  crowd: 8,
  'outcomes foreseen': 300,
  plain: 350,
  ibt: 50,
  packed: 50,
  'frame pointer': 40,
  bundle: 60,
};
const ENOUGH = 400;
const FIRST = '--first';

interface Failure {
  readonly seed: number;
  readonly path: string;
  readonly shrinks: number;
  readonly sequence: Sequence;
  readonly error: string;
}
type Message = { done: number; tally: Tally } | { failure: Failure };

/** A worker: batches from `seed` on, each with a seed of its own. */
async function work(seed: number, count: number, first: boolean): Promise<void> {
  // Whom it works for is gone.
  process.on('disconnect', () => process.exit());
  process.channel?.unref();
  for (let done = 0; done < count; done += BATCH) {
    const numRuns = Math.min(BATCH, count - done);
    const own = (seed + done) | 0;
    const tally: Tally = {};
    const property = fc.asyncProperty(sequence, async (one) => add(tally, await runSequence(one)));
    const result = await fc.check(property, {
      ...{ seed: own, numRuns, unbiased: true, endOnFailure: first },
    });
    if (result.failed) {
      const { counterexamplePath, numShrinks, counterexample, errorInstance: thrown } = result;
      const error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : `${thrown}`;
      const [smallest] = counterexample as [Sequence];
      const path = counterexamplePath ?? '';
      tell({ failure: { seed: own, path, shrinks: numShrinks, sequence: smallest, error } });
    }
    tell({ done: numRuns, tally });
  }
}

function add(to: Tally, more: Tally): void {
  for (const [name, count] of Object.entries(more)) to[name] = (to[name] ?? 0) + count;
}

const tell = (message: Message): void => void process.send?.(message);

class Run {
  readonly #seed: number;
  readonly #count: number;
  readonly #first: boolean;
  readonly #startedAt = performance.now();
  readonly #tally: Tally = {};
  failures = 0;
  #started = 0;
  #done = 0;

  constructor(seed: number, count: number, first: boolean) {
    this.#seed = seed;
    this.#count = count;
    this.#first = first;
  }

  async all(): Promise<void> {
    const lanes = Math.min(availableParallelism(), Math.ceil(this.#count / BATCH));
    const each = BATCH * Math.ceil(this.#count / lanes / BATCH);
    await Promise.all(Array.from({ length: lanes }, () => this.#lane(Math.min(SHARE, each))));
    if (process.stderr.isTTY) process.stderr.write('\n');
    const failed = this.failures || 'no';
    console.log(`${this.#done} sequences in ${this.#seconds()} s, seed ${this.#seed}: ${failed} failures`);
    for (const [name, times] of Object.entries(this.#tally).sort()) {
      console.log(`${String(times).padStart(9)}  ${name}`);
    }
  }

  /** What happened less often than it must. */
  missing(): string[] {
    if (this.#done < ENOUGH) return [];
    return Object.entries(FLOOR)
      .map(
        ([name, often]) => [name, this.#tally[name] ?? 0, Math.floor((often * this.#done) / 1000)] as const,
      )
      .filter(([, times, least]) => times < least)
      .map(([name, times, least]) => `${name}: ${times}, not ${least} or more`);
  }

  /** One process after the other, until there is nothing left to start. */
  async #lane(most: number): Promise<void> {
    while (this.#started < this.#count) {
      const from = this.#started;
      const share = Math.min(most, this.#count - from);
      this.#started += share;
      await this.#process(this.#seed + from, share);
    }
  }

  #process(seed: number, count: number): Promise<void> {
    const args = ['--worker', String(seed), String(count), ...(this.#first ? [FIRST] : [])];
    const child = fork(process.argv[1], args);
    child.on('message', (message: Message) => this.#message(message));
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        if (code === 0) resolve();
        else
          reject(new Error(`the process of seeds ${seed} to ${seed + count} ended with ${signal ?? code}`));
      });
    });
  }

  #message(message: Message): void {
    if ('failure' in message) {
      this.failures++;
      report(message.failure);
      // The others end with the channel to this one.
      if (this.#first) process.exit(1);
      return;
    }
    this.#done += message.done;
    add(this.#tally, message.tally);
    const line = `${this.#done}/${this.#count} sequences, ${this.#seconds()} s`;
    if (process.stderr.isTTY) process.stderr.write(`\r${line} `);
    else if (this.#done % 1000 === 0) console.log(line);
  }

  #seconds(): string {
    return ((performance.now() - this.#startedAt) / 1000).toFixed(1);
  }
}

function report({ seed, path, shrinks, sequence: smallest, error }: Failure): void {
  const { steps, ...machine } = smallest;
  console.log(
    `\nFAILED, seed ${seed}, path ${path}, made smaller ${shrinks} times: ${JSON.stringify(machine)}`,
  );
  for (const one of steps) console.log(`  ${JSON.stringify(one)}`);
  console.log(error.replace(/^/gm, '    '));
  console.log(`again: npm run sequences -- --replay '${JSON.stringify(smallest)}'`);
}

async function main(args: readonly string[]): Promise<void> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  if (args[0] === '--worker') return work(Number(args[1]), Number(args[2]), args.includes(FIRST));
  const replay = option('--replay');
  if (replay !== undefined) {
    await runSequence(JSON.parse(replay) as Sequence);
    return;
  }
  const count = Number(args.find((arg, i) => /^\d+$/.test(arg) && args[i - 1] !== '--seed') ?? 1000);
  const run = new Run(Number(option('--seed') ?? 1), count, args.includes(FIRST));
  await run.all();
  const missing = run.missing();
  for (const one of missing) console.log(`TOO LITTLE happened of ${one}`);
  if (run.failures > 0 || missing.length > 0) process.exitCode = 1;
}

await main(process.argv.slice(2));
