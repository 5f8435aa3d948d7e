// klpemu serve: a live machine, and the page that shows it, until somebody ends it.

import { EXIT } from '../exit.ts';
import type { ShellMachineOptions } from '../shell/options.ts';
import { print, printError } from '../terminal.ts';
import { LiveMachine } from './live_machine.ts';
import { PageServer } from './server.ts';

interface ServeOptions extends ShellMachineOptions {
  readonly port: number;
}

export async function serve({ port, ...options }: ServeOptions): Promise<void> {
  const server = new PageServer();
  const live = new LiveMachine(options, (message) => server.tell(message));
  const address = await server.listen(port);
  try {
    const warnings = await live.boot();
    printError(warnings.map((line) => `${line}\n`).join(''));
    server.answerBy(live);
    print(`${address}\n`);
    await ended();
    await live.close();
    if (live.failure !== undefined) printError(`klpemu: ${live.failure}\n`);
    process.exitCode = live.failure === undefined ? EXIT.ok : EXIT.machine;
  } finally {
    await server.close();
  }
}

function ended(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}
