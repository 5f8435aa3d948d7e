// klpemu why: what a transition of the machine that is up waits for.

import { finish } from './exec.ts';
import { ask } from './session_client.ts';

export interface WhyOptions {
  readonly name: string;
  readonly json?: boolean;
}

export async function why(options: WhyOptions): Promise<void> {
  finish(await ask(options.name, { words: options.json ? ['why', '--json'] : ['why'] }));
}
