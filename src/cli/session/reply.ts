// What a machine is asked, carried out with its shell: every request has a reply, also one that fails.

import { parseSchedule } from '../../machine/schedule.ts';
import { complete } from '../../shell/complete.ts';
import type { Result } from '../../shell/result.ts';
import type { Shell } from '../../shell/shell.ts';
import { EXIT } from '../exit.ts';
import type { Reply, Work } from './machine_work.ts';

type WordsWork = Extract<Work, { readonly words: readonly string[] }>;

export async function replyTo(shell: Shell, work: Work): Promise<Reply> {
  const { guest } = shell.context;
  const parts: Result[] = [];
  let reply: Reply;
  try {
    reply = await scheduled(shell, work, () => answer(shell, work, parts));
  } catch (error) {
    // What was there before it failed is not lost.
    const stdout = parts.map((part) => part.stdout).join('');
    const stderr = parts.map((part) => part.stderr).join('');
    reply = { status: 1, stdout, stderr, failure: messageOf(error) };
  }
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
async function scheduled(shell: Shell, work: Work, serve: () => Promise<Reply>): Promise<Reply> {
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

async function answer(shell: Shell, work: Work, parts: Result[]): Promise<Reply> {
  if ('complete' in work) {
    return { status: 0, stdout: '', stderr: '', completions: complete(shell.context, work.complete) };
  }
  if ('line' in work) {
    const execute = (): Promise<Result> =>
      shell.execute(work.line, { onResult: (result) => parts.push(result) });
    return work.alone ? shell.context.guest.fromRoot(execute) : execute();
  }
  return runWith(shell, work);
}

async function runWith(shell: Shell, { words, put }: WordsWork): Promise<Result> {
  if (!put) return shell.run(words);
  const { fs } = shell.context.guest.machine.inspect;
  fs.addFile(put.to, new Uint8Array(Buffer.from(put.bytes, 'base64')));
  try {
    return await shell.run(words);
  } finally {
    fs.ramfs.remove(put.to);
  }
}

/** Of an error that has no code it is said that it is one of klpemu itself. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const coded = typeof (error as { code?: unknown }).code === 'string';
  return coded ? error.message : `internal error: ${error.message}`;
}
