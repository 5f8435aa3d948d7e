// `npm run sequences -- COUNT [--seed N]`: runs random sequences in as many processes as there are processors, and
// prints the seed and the smallest form of one that fails.

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import fc from 'fast-check';
import { runSequence, type Sequence, sequence, type Tally } from './sequences.ts';

/** Sequences a process runs before it tells how far it is. */
const BATCH = 25;

interface Failure {
  readonly seed: number;
  readonly path: string;
  readonly shrinks: number;
  readonly sequence: Sequence;
  readonly error: string;
}
type Message = { done: number; tally: Tally } | { failure: Failure };

/** A worker: batches from `seed` on, each with a seed of its own. */
async function work(seed: number, count: number): Promise<void> {
  for (let done = 0; done < count; done += BATCH) {
    const numRuns = Math.min(BATCH, count - done);
    const own = (seed + done) | 0;
    const tally: Tally = {};
    const property = fc.asyncProperty(sequence, async (one) => add(tally, await runSequence(one)));
    const result = await fc.check(property, { seed: own, numRuns, unbiased: true });
    if (result.failed) {
      const { counterexamplePath, numShrinks, counterexample, errorInstance } = result;
      const error =
        errorInstance instanceof Error ? (errorInstance.stack ?? errorInstance.message) : `${errorInstance}`;
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

/** @returns the failures. */
function runAll(seed: number, count: number): Promise<Failure[]> {
  const workers = Math.min(availableParallelism(), Math.ceil(count / BATCH));
  const failures: Failure[] = [];
  const startedAt = performance.now();
  const tally: Tally = {};
  let done = 0;
  const share = Math.ceil(count / workers / BATCH) * BATCH;
  const starts = Array.from({ length: workers }, (_, i) => i * share).filter((from) => from < count);
  const ended = starts.map((from) => {
    const child = fork(process.argv[1], [
      '--worker',
      String(seed + from),
      String(Math.min(share, count - from)),
    ]);
    child.on('message', (message: Message) => {
      if ('failure' in message) {
        failures.push(message.failure);
        report(message.failure);
      } else {
        done += message.done;
        add(tally, message.tally);
        const seconds = (performance.now() - startedAt) / 1000;
        if (process.stderr.isTTY)
          process.stderr.write(`\r${done}/${count} sequences, ${seconds.toFixed(0)} s `);
      }
    });
    return new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? 1)));
  });
  return Promise.all(ended).then((codes) => {
    if (process.stderr.isTTY) process.stderr.write('\n');
    if (codes.some((code) => code !== 0)) throw new Error('a worker did not come to its end');
    const seconds = (performance.now() - startedAt) / 1000;
    console.log(
      `${done} sequences in ${seconds.toFixed(1)} s, seed ${seed}: ${failures.length || 'no'} failures`,
    );
    for (const [name, times] of Object.entries(tally).sort())
      console.log(`${String(times).padStart(9)}  ${name}`);
    return failures;
  });
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
  if (args[0] === '--worker') return work(Number(args[1]), Number(args[2]));
  const replay = option('--replay');
  if (replay !== undefined) {
    await runSequence(JSON.parse(replay) as Sequence);
    return;
  }
  const count = Number(args.find((arg, i) => /^\d+$/.test(arg) && args[i - 1] !== '--seed') ?? 1000);
  const failures = await runAll(Number(option('--seed') ?? 1), count);
  if (failures.length > 0) process.exitCode = 1;
}

await main(process.argv.slice(2));
