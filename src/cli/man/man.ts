// klpemu man: which command's page, and where it goes.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { systemReason, UsageError } from '../exit.ts';
import { withShippedPaths } from '../shipped.ts';
import { print } from '../terminal.ts';
import { writeNamed } from '../write_whole.ts';
import { page } from './page.ts';

interface ManOptions {
  readonly all?: string;
}

export function man(root: Command, words: readonly string[], { all }: ManOptions): void {
  if (all !== undefined) {
    if (words.length > 0) throw new UsageError('man: --all is of all commands: no command with it');
    writeAll(root, all);
    return;
  }
  print(withShippedPaths(page(find(root, words))));
}

function find(root: Command, words: readonly string[]): Command {
  let command = root;
  for (const word of words) {
    const below = command.commands.find((each) => each.name() === word);
    if (!below) throw new UsageError(`man: '${words.join(' ')}' is no command (klpemu --help)`);
    command = below;
  }
  return command;
}

/** klpemu.1, klpemu-run.1, klpemu-bundle-split.1 */
function writeAll(root: Command, folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new UsageError(`${folder}: ${systemReason(error)}`);
  }
  const write = (command: Command, name: string): void => {
    writeNamed(join(folder, `${name}.1`), Buffer.from(page(command)));
    for (const below of command.commands) write(below, `${name}-${below.name()}`);
  };
  write(root, root.name());
}
