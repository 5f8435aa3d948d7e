// The options of klpemu new; the work is loaded when it is called.

import type { Command } from 'commander';

export function addNew(root: Command): void {
  root
    .command('new')
    .description('write a first scenario for a livepatch and the modules that it patches')
    .argument('<module...>', 'modules in the order in which they are loaded; one of them is the livepatch')
    .option(
      '-o, --output <file>',
      "where it is written, which must not be there yet; '-' for standard output",
      '-',
    )
    .addHelpText(
      'after',
      `
It loads them, enables the livepatch, waits until its transition is complete, takes it back and unloads all, with
comments that say what to change. Paths of modules in it are relative to where it is written. A livepatch for
another kernel than the built-in one gets that kernel, by the release it was built for.

Exit codes:
  0  written
  2  bad usage, or a module that cannot be used

Example:
  klpemu new fixtures/modules/klpdemo_target.ko fixtures/modules/klpdemo_patch_both.ko -o first.yaml
  klpemu run first.yaml --allow-files`,
    )
    .action(async (modules: string[], options) => (await import('./new.ts')).newScenario(modules, options));
}
