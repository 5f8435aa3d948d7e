// klpemu completion: the commands as they are, for a shell.

import type { Command } from 'commander';
import { UsageError } from '../exit.ts';
import { print } from '../terminal.ts';
import { bash } from './bash.ts';
import { type Completed, completed } from './commands.ts';
import { fish } from './fish.ts';
import { zsh } from './zsh.ts';

const SHELLS: Readonly<Record<string, (commands: readonly Completed[]) => string>> = { bash, zsh, fish };

export function completion(root: Command, shell: string): void {
  if (!Object.hasOwn(SHELLS, shell)) {
    throw new UsageError(`completion: '${shell}' is none of ${Object.keys(SHELLS).join(', ')}`);
  }
  print(SHELLS[shell](completed(root)));
}
