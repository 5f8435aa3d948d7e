// A thread of `klpemu explore`: keeps one scenario and its points, and executes plans of it.

import { parentPort, workerData } from 'node:worker_threads';
import { execute } from '../../explore/execution.ts';
import { executedOf } from '../../explore/explore.ts';
import type { Plan } from '../../explore/plan.ts';
import type { Points } from '../../explore/points.ts';
import { loadScenario } from '../../scenario/parse.ts';

export interface WorkerStart {
  readonly file: string;
  readonly allowFiles: boolean;
  readonly points: Points;
  readonly at: string;
}

export interface WorkerJob {
  readonly plan: Plan;
  readonly hash: boolean;
}

const { file, allowFiles, points, at } = workerData as WorkerStart;
const scenario = loadScenario(file, { allowFiles });

parentPort?.on('message', async ({ plan, hash }: WorkerJob) => {
  const execution = await execute(scenario, points, plan, { hash, at });
  parentPort?.postMessage(executedOf(execution));
});
