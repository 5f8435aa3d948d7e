// The command stack: its options and help.

import type { Command } from 'commander';
import { engineOption } from '../engine_option.ts';
import { allowFilesOption, atOption, seedOption } from '../scenario_options.ts';

export function addStack(root: Command): void {
  root
    .command('stack')
    .description('print the stacks of tasks at a moment of a scenario')
    .argument('<file>', 'scenario (YAML)')
    .addOption(atOption())
    .option('--task <name|pid>', 'only this task: its name in the scenario, its comm or its pid')
    .addOption(seedOption())
    .addOption(allowFilesOption())
    .addOption(engineOption())
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  klpemu stack fixtures/scenarios/demo.yaml --at 1.2s --task klpdemo_worker',
    )
    .action(async (file: string, options) => (await import('./stack.ts')).stack(file, options));
}
