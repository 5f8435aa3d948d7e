// A thread of `klpemu explore`: keeps one scenario and its points, and executes plans of it.

import { parentPort, workerData } from 'node:worker_threads';
import { execute } from '../../explore/execution.ts';
import { executedOf } from '../../explore/explore.ts';
import { States } from '../../explore/order.ts';
import type { Plan } from '../../explore/plan.ts';
import type { Points } from '../../explore/points.ts';
import { loadScenario } from '../../scenario/parse.ts';

export interface WorkerStart {
  readonly file: string;
  readonly allowFiles: boolean;
  readonly points: Points;
  readonly at: string;
  /** A run that comes to what another has come to goes no further. */
  readonly joins: boolean;
}

export interface WorkerJob {
  readonly plan: Plan;
  readonly hash: boolean;
}

const { file, allowFiles, points, at, joins } = workerData as WorkerStart;
const scenario = loadScenario(file, { allowFiles });
const states = joins ? { states: new States() } : {};

parentPort?.on('message', async ({ plan, hash }: WorkerJob) => {
  const execution = await execute(scenario, points, plan, { hash, at, ...states });
  parentPort?.postMessage(executedOf(execution));
});
