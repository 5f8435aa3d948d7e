// The thread that a machine runs in: one command after the other. Whoever wants one to end says so in shared memory,
// which is looked at between slices.

import { parentPort, workerData } from 'node:worker_threads';
import { Interrupt } from '../../shell/interrupt.ts';
import type { Shell } from '../../shell/shell.ts';
import { UsageError } from '../exit.ts';
import { bootShell, type ShellMachineOptions } from '../shell/options.ts';
import type { FromMachine, Reply, ToMachine, Work } from './machine_work.ts';
import { messageOf, replyTo } from './reply.ts';

/** The number of the request that is to be ended. */
const wanted = new Int32Array(workerData as SharedArrayBuffer);
let serving = 0;
const interrupt = new Interrupt(() => serving !== 0 && Atomics.load(wanted, 0) === serving);
let shell: Shell;

const tell = (message: FromMachine): void => parentPort?.postMessage(message);

parentPort?.on('message', async (message: Exclude<ToMachine, { interrupt: number }>) => {
  if ('boot' in message) tell(await boot(message.boot));
  else tell({ id: message.id, reply: await serve(message.id, message.work) });
});

async function boot(options: ShellMachineOptions): Promise<FromMachine> {
  const warnings: string[] = [];
  try {
    shell = await bootShell(options, { warn: (line) => warnings.push(line), interrupt });
    return { booted: warnings, now: shell.context.guest.machine.now() };
  } catch (error) {
    return { notBooted: messageOf(error), usage: error instanceof UsageError };
  }
}

async function serve(id: number, work: Work): Promise<Reply> {
  serving = id;
  const reply = await replyTo(shell, work);
  serving = 0;
  return reply;
}
