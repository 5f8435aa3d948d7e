// The command disas: its options and help.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { engineOption } from '../engine_option.ts';
import { allowFilesOption, atOption, seedOption } from '../scenario_options.ts';

function size(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 1 << 20) return value;
  throw new InvalidArgumentError('It must be a number of bytes.');
}

export function addDisas(root: Command): void {
  root
    .command('disas')
    .description('disassemble guest text at a moment of a scenario')
    .argument('<file>', 'scenario (YAML)')
    .argument('<place...>', 'SYMBOL, MODULE:SYMBOL, either with +OFFSET, or an address')
    .addOption(atOption())
    .addOption(
      new Option('--bytes <number>', 'how much; by default up to the end of the function').argParser(size),
    )
    .option('--intel', 'Intel syntax')
    .addOption(seedOption())
    .addOption(allowFilesOption())
    .addOption(engineOption())
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  klpemu disas fixtures/scenarios/demo.yaml --at 1.2s klpdemo_target:klpdemo_round --bytes 16',
    )
    .action(async (file: string, places: string[], options) =>
      (await import('./disas.ts')).disas(file, places, options),
    );
}
