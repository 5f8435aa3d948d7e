// The options of klpemu serve.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { machineOptions } from '../shell/options.ts';

export function addServe(root: Command): void {
  machineOptions(
    root
      .command('serve')
      .description(
        'a live machine with its page in a browser: CPUs, tasks and patch_state as they change, and a prompt',
      ),
  )
    .addOption(
      new Option('--port <number>', 'of 127.0.0.1; 0 takes one that is free').argParser(portOf).default(0),
    )
    .addHelpText(
      'after',
      `
It prints the address of the page, which holds a token: whoever has it can do to the machine what you can, nobody else
can do anything. The prompt takes the commands of klpemu shell, and play, pause, step, next, back and speed; it ends
with Ctrl-C here.

Exit codes:
  0  it was ended by a signal
  2  bad usage, a port that cannot be used, or a kernel or folder of modules that cannot
  3  it was ended by a signal after the guest had panicked or the machine had failed

Examples:
  klpemu serve
  klpemu serve --dir ~/mypatch --cpus 4 --port 8080`,
    )
    .action(async (options) => (await import('./serve.ts')).serve(options));
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError('It must be a whole number from 0 to 65535.');
}
