// klpemu down: ends the machine that is up.

import { ask } from './session.ts';

export async function down(options: { readonly name: string }): Promise<void> {
  await ask(options.name, { down: true });
}
