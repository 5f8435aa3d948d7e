// The options of klpemu man; the work is loaded when it is called.

import type { Command } from 'commander';

export function addMan(root: Command): void {
  root
    .command('man')
    .description('print the manual page of a command, or of the program')
    .argument('[command...]', 'such as: run, or: bundle split')
    .option('--all <folder>', 'write the pages of all commands to a folder instead')
    .addHelpText(
      'after',
      `
The page is made of what --help says. The installed package has all of them in dist/man.

Exit codes:
  0  done
  2  bad usage

Example:
  klpemu man run | man -l -`,
    )
    .action(async (words: string[], options) => (await import('./man.ts')).man(root, words, options));
}
