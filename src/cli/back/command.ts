// The options of klpemu back.

import type { Command } from 'commander';
import { allowFilesOption, kernelOption, scheduleOption, seedOption } from '../scenario_options.ts';

const EXIT_CODES = `
Exit codes:
  0  found
  1  it never was so before that moment
  2  bad usage, a scenario that cannot be used, or a moment that never comes`;

export function addBack(root: Command): void {
  root
    .command('back')
    .description('go back to the last moment at which something of a scenario was so')
    .argument('<file>', 'scenario (YAML)')
    .requiredOption('--from <moment>', "from where: a time (1.2s), 'instruction N', or a text of the log")
    .requiredOption(
      '--to <what>',
      "to what: 'write ADDRESS[/BYTES]' (a number, SYMBOL or SYMBOL+0x10), 'change TASK.patch_state', 'change FUNCTION->transition', 'call FUNCTION', 'dmesg TEXT'",
    )
    .addOption(seedOption())
    .addOption(scheduleOption())
    .addOption(kernelOption())
    .addOption(allowFilesOption())
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
What it prints is the moment before the instruction that did it: who, the stack, the code, and what happened before.
${EXIT_CODES}

Examples:
  klpemu back fixtures/scenarios/demo.yaml --from 'patching complete' --to 'write meminfo_proc_show'
  klpemu back fixtures/scenarios/demo.yaml --from 3s --to 'change init.patch_state'`,
    )
    .action(async (file: string, options) => (await import('./back.ts')).back(file, options));
}
