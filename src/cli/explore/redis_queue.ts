// Schedules that other processes execute, on other computers too: a queue in Redis, by BullMQ, which --queue alone loads.
//
// Invariant: what a process had taken that died is taken by another, and comes to the same: nothing is lost.

import type { Job, Queue, QueueEvents } from 'bullmq';
import type { Executed, Place } from '../../explore/explore.ts';
import type { Plan } from '../../explore/plan.ts';
import { systemReason, UsageError } from '../exit.ts';

interface QueuedPlan {
  readonly plan: Plan;
  readonly hash: boolean;
  /** A run that comes to what another has come to goes no further. */
  readonly joins: boolean;
}

/** After so long without a word of who took it a plan is given to another: many times what a run takes. */
const LOCK_MS = 15_000;
const LOOK_MS = 3_000;
/** Results that were read, s. */
const KEEP_S = 60;

const connectionTo = (url: string) => ({ url, maxRetriesPerRequest: null });

/** @throws UsageError where there is no such server, or no package for it */
async function bullmq(url: string): Promise<typeof import('bullmq')> {
  const [found, redisOf] = await Promise.all([
    import('bullmq'),
    import('ioredis').then(({ Redis }) => (): InstanceType<typeof Redis> => {
      return new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    }),
  ]).catch(() => {
    throw new UsageError('--queue needs the packages bullmq and ioredis: npm install bullmq ioredis');
  });
  const redis = redisOf();
  let reason = '';
  redis.on('error', (error: Error) => {
    reason ||= systemReason(error) || (error as NodeJS.ErrnoException).code || error.name;
  });
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    throw new UsageError(`${url}: ${reason || (error as Error).message}`);
  } finally {
    redis.disconnect();
  }
  return found;
}

/** Places of a queue: each has one plan in it at a time. */
export class RedisQueue {
  readonly #queue: Queue<QueuedPlan, Executed>;
  readonly #events: QueueEvents;
  readonly #joins: boolean;
  readonly #withinMs: number;

  private constructor(
    queue: Queue<QueuedPlan, Executed>,
    events: QueueEvents,
    joins: boolean,
    withinMs: number,
  ) {
    this.#queue = queue;
    this.#events = events;
    this.#joins = joins;
    this.#withinMs = withinMs;
  }

  /** @param withinMs how long a plan may take, with the time that it waits for somebody to take it @throws UsageError */
  static async open(url: string, name: string, joins: boolean, withinMs: number): Promise<RedisQueue> {
    const { Queue, QueueEvents } = await bullmq(url);
    const connection = connectionTo(url);
    const events = new QueueEvents(name, { connection });
    await events.waitUntilReady();
    return new RedisQueue(new Queue(name, { connection }), events, joins, withinMs);
  }

  places(count: number): Place[] {
    return Array.from({ length: count }, () => ({ run: (plan, hash) => this.#run(plan, hash) }));
  }

  async #run(plan: Plan, hash: boolean): Promise<Executed> {
    const data: QueuedPlan = { plan, hash, joins: this.#joins };
    const job: Job<QueuedPlan, Executed> = await this.#queue.add('plan', data, {
      removeOnComplete: { age: KEEP_S },
      removeOnFail: true,
    });
    return await job.waitUntilFinished(this.#events, this.#withinMs);
  }

  async close(): Promise<void> {
    await this.#events.close();
    await this.#queue.close();
  }
}

/** Takes plans of a queue, one after the other, until the process is told to end. @throws UsageError */
export async function serveQueue(
  url: string,
  name: string,
  execute: (plan: QueuedPlan) => Promise<Executed>,
  ready: () => void,
): Promise<void> {
  const { Worker } = await bullmq(url);
  const worker = new Worker<QueuedPlan, Executed>(name, ({ data }) => execute(data), {
    connection: connectionTo(url),
    lockDuration: LOCK_MS,
    stalledInterval: LOOK_MS,
    maxStalledCount: Number.MAX_SAFE_INTEGER,
  });
  // A server that is away comes again, and a plan that took too long is somebody else's.
  worker.on('error', () => {});
  await worker.waitUntilReady();
  ready();
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  await worker.close();
}
