// klpemu bundle enable and disable: the command of the same name in the machine that is up.

import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { systemReason, UsageError } from '../exit.ts';
import { ask } from '../session/client.ts';
import { finish } from '../session/exec.ts';
import { toBytes } from '../shell/text.ts';

interface EnableOptions {
  /** Of the machine. */
  readonly name: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export async function enable(file: string, options: EnableOptions): Promise<void> {
  // The bytes are passed, not the path: what is read is what this user may read, now.
  const bytes = bytesOf(file).toString('base64');
  const to = `/tmp/${toBytes(basename(file))}`;
  const words = ['bundle', 'enable', ...shellOptions(options), '--', to];
  finish(await ask(options.name, { words, put: { bytes, to } }));
}

/** Longest file, bytes: in base64 it must fit into a request. */
const FILE_MAX = 32 << 20;

function bytesOf(file: string): Buffer {
  try {
    const { size } = statSync(file);
    if (size > FILE_MAX) throw new UsageError(`${file}: ${size} bytes are too many (at most ${FILE_MAX})`);
    return readFileSync(file);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file}: ${systemReason(error)}`);
  }
}

export async function disable(bundle: string, options: EnableOptions): Promise<void> {
  const words = ['bundle', 'disable', ...shellOptions(options), '--', toBytes(bundle)];
  finish(await ask(options.name, { words }));
}

function shellOptions({ wait, timeout, json }: EnableOptions): string[] {
  return [
    ...(wait ? ['--wait'] : []),
    ...(timeout === undefined ? [] : [`--timeout=${timeout}`]),
    ...(json ? ['--json'] : []),
  ];
}
