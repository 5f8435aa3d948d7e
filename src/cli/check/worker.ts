// A thread of `klpemu check`: one object after the other, in one machine of its own.

import { parentPort } from 'node:worker_threads';
import { type CheckJob, checkFile } from './file.ts';

parentPort?.on('message', (job: CheckJob) => {
  parentPort?.postMessage(checkFile(job));
});
