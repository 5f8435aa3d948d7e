// Jobs over the cores: each worker thread has one at a time, the largest first.
//
// Invariant: every job ends with a result, also when its thread dies or takes too long: then with
// the one that `failed` makes.

import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

interface PoolOptions<Job, Result> {
  /** File below dist/cli of the thread's program, which answers each message with one. */
  readonly program: string;
  readonly threads: number;
  /** Jobs in the order in which they are to start. */
  readonly jobs: readonly Job[];
  /** In real time; a thread that takes longer for one job is ended. */
  readonly timeoutMs: number;
  failed(job: Job, why: string): Result;
  /** In the order in which they end. */
  done(job: Job, result: Result): void;
}

export async function runPool<Job, Result>(options: PoolOptions<Job, Result>): Promise<void> {
  const { jobs, threads } = options;
  let next = 0;
  const take = (): Job | undefined => jobs[next++];
  await Promise.all(Array.from({ length: Math.min(threads, jobs.length) }, () => runThread(options, take)));
}

/** One place in the pool: a thread, and another one when it has died. */
async function runThread<Job, Result>(
  options: PoolOptions<Job, Result>,
  take: () => Job | undefined,
): Promise<void> {
  let worker: Worker | undefined;
  for (let job = take(); job !== undefined; job = take()) {
    worker ??= new Worker(programUrl(options.program));
    const answer = await ask<Job, Result>(worker, job, options.timeoutMs);
    if ('result' in answer) options.done(job, answer.result);
    else {
      await worker.terminate();
      worker = undefined;
      options.done(job, options.failed(job, answer.why));
    }
  }
  await worker?.terminate();
}

type Reply<Result> = { readonly result: Result } | { readonly why: string };

function ask<Job, Result>(worker: Worker, job: Job, timeoutMs: number): Promise<Reply<Result>> {
  return new Promise((resolve) => {
    const settle = (reply: Reply<Result>): void => {
      clearTimeout(timer);
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
      resolve(reply);
    };
    const onMessage = (result: Result): void => settle({ result });
    const onError = (error: Error): void => settle({ why: `the thread ended: ${error.message}` });
    const onExit = (): void => settle({ why: 'the thread ended' });
    const timer = setTimeout(() => settle({ why: `took more than ${timeoutMs / 1000} s` }), timeoutMs);
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
    worker.postMessage(job);
  });
}

/** Of a file below dist/cli, or by its whole path. This code may be in dist/cli, in the folder of a command, or in a file of dist/chunks. */
export function programUrl(program: string): URL {
  const places = ['', '../', '../cli/'].map((up) => new URL(`${up}${program}`, import.meta.url));
  return places.find((place) => existsSync(place)) ?? places[0];
}
