// The commands run and demo: their options and help.

import type { Command } from 'commander';
import { engineOption } from '../engine_option.ts';
import {
  allowFilesOption,
  EXIT_CODES,
  kernelOption,
  scheduleOption,
  seedOption,
} from '../scenario_options.ts';
import { shipped } from '../shipped.ts';

export function addDemo(root: Command): void {
  runOptions(root.command('demo').description('show a livepatch from start to end: run the demo scenario'))
    .addHelpText('after', `${EXIT_CODES}\n\nExample:\n  klpemu demo --quiet`)
    .action(async (options) =>
      (await import('./run.ts')).run(shipped('fixtures/scenarios/demo.yaml'), options),
    );
}

export function addRun(root: Command): void {
  runOptions(
    root
      .command('run')
      .description('run a scenario and report how its livepatches took effect')
      .argument('<file>', 'scenario (YAML)'),
  )
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\nExample:\n  klpemu run fixtures/scenarios/demo.yaml --seed 7 --trace demo.jsonl`,
    )
    .action(async (file: string, options) => (await import('./run.ts')).run(file, options));
}

function runOptions(command: Command): Command {
  return command
    .addOption(seedOption())
    .addOption(allowFilesOption())
    .addOption(engineOption())
    .addOption(kernelOption())
    .addOption(scheduleOption())
    .option('--json', 'the report as one JSON object')
    .option('--trace <file>', "every event of the machine, as JSON lines; '-' for standard output")
    .option(
      '--html <file>',
      'a page with a picture of the run, stacks and dmesg at each moment, for a browser',
    )
    .option(
      '--perfetto <file>',
      'CPUs, tasks, patch_state and transitions as trace events, for ui.perfetto.dev',
    )
    .option(
      '--coverage [function]',
      'which functions and blocks of guest text were executed; with text, the blocks of functions with it in their name',
    )
    .option('-q, --quiet', 'the closing tables only')
    .option('-v, --verbose', 'also each step of text poking, and who starts and ends');
}
