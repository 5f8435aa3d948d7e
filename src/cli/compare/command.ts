// The options of klpemu compare.

import type { Command } from 'commander';
import { engineOption } from '../engine_option.ts';
import { allowFilesOption } from '../scenario_options.ts';

const EXIT_CODES = `
Exit codes:
  0  the scenario was run under each of its models; what failed there is in the table
  1  under one of them every step failed: there is nothing to compare
  2  bad usage, or a scenario or module that cannot be used
  3  guest panic, or the machine failed`;

export function addCompare(root: Command): void {
  root
    .command('compare')
    .description('run one scenario under several models (classic, bundle, per-object modules) and compare')
    .argument('<file>', "scenario (YAML) with 'models'")
    .addOption(allowFilesOption())
    .addOption(engineOption())
    .option('--json', 'as one JSON object')
    .option('--html <file>', 'a page with the run under each model, and the table, for a browser')
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\nExample:\n  klpemu compare fixtures/bundles/middle.yaml --html middle.html`,
    )
    .action(async (file: string, options) => (await import('./compare.ts')).compare(file, options));
}
