// klpemu bundle enable and disable: the command of the same name in the machine that is up.

import { accessSync, constants } from 'node:fs';
import { basename, resolve } from 'node:path';
import { finish } from './exec.ts';
import { UsageError } from './exit.ts';
import { ask } from './session.ts';
import { toBytes } from './shell.ts';

export interface EnableOptions {
  /** Of the machine. */
  readonly name: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export async function enable(file: string, options: EnableOptions): Promise<void> {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw new UsageError(`${file}: it cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const to = `/tmp/${toBytes(basename(file))}`;
  const words = ['bundle', 'enable', ...shellOptions(options), '--', to];
  finish(await ask(options.name, { words, put: { from: resolve(file), to } }));
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
