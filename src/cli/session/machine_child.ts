// The process that a machine runs in. Its main thread passes messages between whoever started it and the machine's
// thread, so that it can always be told that a command is to end.
//
// Invariant: it does not outlive who started it.

import { Worker } from 'node:worker_threads';
import { programUrl } from '../worker_pool.ts';
import type { FromMachine, ToMachine } from './machine_work.ts';

const word = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
const worker = new Worker(programUrl('session/machine_worker.js'), { workerData: word });

const tell = (message: FromMachine, then: () => void = () => {}): void => void process.send?.(message, then);

process.on('message', (message: ToMachine) => {
  if ('interrupt' in message) Atomics.store(new Int32Array(word), 0, message.interrupt);
  else worker.postMessage(message);
});
worker.on('message', (message: FromMachine) => tell(message));
worker.on('error', (error) => tell({ died: error.message }, () => process.exit(1)));
// Its thread may be anywhere, and cannot be waited for.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// A terminal sends it to everybody; what it means is for the one in front to say.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
