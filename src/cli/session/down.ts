// klpemu down: ends the machine that is up.

import { UsageError } from '../exit.ts';
import { printError } from '../terminal.ts';
import { endMachine } from './client.ts';

export async function down({ name }: { readonly name: string }): Promise<void> {
  const downed = await endMachine(name);
  if (!downed) throw new UsageError(`no machine '${name}' is up: klpemu up starts one`);
  if (downed.death !== undefined) printError(`klpemu: note: ${downed.death}\n`);
  if (downed.forced)
    printError(`klpemu: note: the machine '${name}' did not answer; its process was killed\n`);
  process.exit();
}
