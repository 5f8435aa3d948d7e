// The thread that a machine runs in: one command after the other. Whoever wants one to end says so in shared memory,
// which is looked at between slices.

import { parentPort, workerData } from 'node:worker_threads';
import { parseSchedule } from '../../machine/schedule.ts';
import { complete } from '../../shell/complete.ts';
import { Interrupt } from '../../shell/interrupt.ts';
import type { Result } from '../../shell/result.ts';
import type { Shell } from '../../shell/shell.ts';
import { EXIT, UsageError } from '../exit.ts';
import { bootShell, type ShellMachineOptions } from '../shell/options.ts';
import type { FromMachine, Reply, ToMachine, Work } from './machine_work.ts';

type WordsWork = Extract<Work, { readonly words: readonly string[] }>;

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
  const { guest } = shell.context;
  const parts: Result[] = [];
  let reply: Reply;
  try {
    reply = await scheduled(work, () => answer(work, parts));
  } catch (error) {
    // What was there before it failed is not lost.
    const stdout = parts.map((part) => part.stdout).join('');
    const stderr = parts.map((part) => part.stderr).join('');
    reply = { status: 1, stdout, stderr, failure: messageOf(error) };
  }
  serving = 0;
  const { exited } = shell;
  // `exit` ends the line that it is in, not the machine.
  shell.exited = undefined;
  return {
    ...reply,
    ...(guest.failure ? { failure: messageOf(guest.failure) } : {}),
    ...(exited === undefined ? {} : { exited }),
    ...(parts.some((part) => part.clear) ? { clear: true } : {}),
    now: guest.machine.now(),
  };
}

/** Follows the schedule of the request, and tells what of it did not come to pass. */
async function scheduled(work: Work, serve: () => Promise<Reply>): Promise<Reply> {
  if ('complete' in work || work.schedule === undefined) return serve();
  const { steering } = shell.context.guest.machine.inspect;
  steering.follow(parseSchedule(work.schedule));
  try {
    const reply = await serve();
    const unmet = steering.unmet().map((line) => `klpemu: schedule: ${line}\n`);
    if (unmet.length === 0) return reply;
    return { ...reply, status: reply.status || EXIT.failed, stderr: reply.stderr + unmet.join('') };
  } finally {
    steering.end();
  }
}

async function answer(work: Work, parts: Result[]): Promise<Reply> {
  if ('complete' in work) {
    return { status: 0, stdout: '', stderr: '', completions: complete(shell.context, work.complete) };
  }
  if ('line' in work) return shell.execute(work.line, { onResult: (result) => parts.push(result) });
  return runWith(work);
}

async function runWith({ words, put }: WordsWork): Promise<Result> {
  if (!put) return shell.run(words);
  const { fs } = shell.context.guest.machine.inspect;
  fs.addFile(put.to, new Uint8Array(Buffer.from(put.bytes, 'base64')));
  try {
    return await shell.run(words);
  } finally {
    fs.ramfs.remove(put.to);
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const coded = typeof (error as { code?: unknown }).code === 'string';
  return coded ? error.message : `internal error: ${error.message}`;
}
