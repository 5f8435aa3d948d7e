// A thread of `klpemu orc`: one object after the other, as they are given to it.

import { parentPort } from 'node:worker_threads';
import { type OrcJob, orcObject } from './object.ts';

parentPort?.on('message', async (job: OrcJob) => {
  parentPort?.postMessage(await orcObject(job));
});
