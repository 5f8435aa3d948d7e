// klpemu why: what a transition of the machine that is up waits for.

import { finish } from './exec.ts';
import { ask } from './session_client.ts';
import { toTerminal } from './terminal.ts';

export interface WhyOptions {
  readonly name: string;
  readonly json?: boolean;
}

export async function why(options: WhyOptions): Promise<void> {
  const reply = await ask(options.name, { words: options.json ? ['why', '--json'] : ['why'] });
  finish(options.json ? reply : { ...reply, stdout: toTerminal(reply.stdout.split('\n')).join('\n') });
}
