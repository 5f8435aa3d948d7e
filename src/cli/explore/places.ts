// Threads that execute plans, one plan at a time each.

import { Worker } from 'node:worker_threads';
import type { Executed, Place } from '../../explore/explore.ts';
import { programUrl } from '../worker_pool.ts';
import type { WorkerJob, WorkerStart } from './worker.ts';

export class ThreadPlace implements Place {
  readonly #worker: Worker;

  constructor(start: WorkerStart) {
    this.#worker = new Worker(programUrl('explore/worker.js'), { workerData: start });
  }

  run(plan: WorkerJob['plan'], hash: boolean): Promise<Executed> {
    return new Promise((resolve, reject) => {
      const worker = this.#worker;
      const settle = (): void => {
        worker.off('message', done);
        worker.off('error', failed);
      };
      const done = (executed: Executed): void => {
        settle();
        resolve(executed);
      };
      const failed = (error: Error): void => {
        settle();
        reject(error);
      };
      worker.on('message', done);
      worker.on('error', failed);
      worker.postMessage({ plan, hash } satisfies WorkerJob);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
