// klpemu why: what a transition of the machine that is up waits for.

import { toTerminal } from '../terminal.ts';
import { ask } from './client.ts';
import { finish } from './exec.ts';

interface WhyOptions {
  readonly name: string;
  readonly json?: boolean;
}

export async function why(options: WhyOptions): Promise<void> {
  const reply = await ask(options.name, { words: options.json ? ['why', '--json'] : ['why'] });
  finish(options.json ? reply : { ...reply, stdout: toTerminal(reply.stdout.split('\n')).join('\n') });
}
