#!/usr/bin/env node
// The command line: one file a command, loaded when it is the one that is called.

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../scenario/units.ts';
import { addBundle } from './bundle_command.ts';
import { addCheck } from './check_command.ts';
import { EXIT, fail, watchOutput } from './exit.ts';
import { addHelp, MODULES_SHORTLY } from './help_command.ts';
import { addKlpConvert } from './klp_convert_command.ts';
import { addOrc } from './orc_command.ts';
import { addShellCommands } from './shell_commands.ts';
import { shipped, withShippedPaths } from './shipped.ts';
import { print, printError } from './terminal.ts';

const EXIT_CODES = `
Exit codes:
  0  everything that the scenario expects was seen
  1  an expectation failed
  2  bad usage, or a scenario or file that cannot be used
  3  guest panic or unexpected oops, or the machine failed`;

function seed(text: string): number {
  const value = Number(text);
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text) && value <= 0xffffffff) return value;
  throw new InvalidArgumentError('It must be a whole number below 2^32.');
}

function time(text: string): number {
  const ns = parseDuration(text);
  if (ns === undefined) throw new InvalidArgumentError('It must be a duration: 250ms, 1.5s, 10us.');
  return ns;
}

function size(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 1 << 20) return value;
  throw new InvalidArgumentError('It must be a number of bytes.');
}

const allowFilesOption = () =>
  new Option(
    '--allow-files',
    "the scenario may name files outside of its folder, and of 'modules' and 'bundles' beside it",
  );
const seedOption = () =>
  new Option('--seed <number>', "seed of the machine's choices, instead of the scenario's").argParser(seed);
const atOption = () => new Option('--at <time>', 'virtual time since boot (1.2s, 800ms)').argParser(time);

function program(): Command {
  const root = new Command('klpemu')
    .description('x86_64 machine-code patching emulator for kernel livepatch')
    .version(VERSION)
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\n${MODULES_SHORTLY}\n\nExamples:\n  klpemu demo\n  klpemu run fixtures/scenarios/demo.yaml`,
    );
  root.showHelpAfterError('(klpemu --help tells how)');
  addDemo(root);
  addRun(root);
  addStack(root);
  addDisas(root);
  addOrc(root);
  addBundle(root);
  addShellCommands(root);
  addCheck(root);
  addKlpConvert(root);
  addHelp(root);
  for (const command of withSubcommands(root)) {
    command.exitOverride();
    command.configureOutput({
      writeOut: (text) => print(withShippedPaths(text)),
      writeErr: (text) => printError(withShippedPaths(text)),
      outputError: (text, write) => write(text.replace(/^error: /, 'klpemu: ')),
    });
  }
  return root;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

function addDemo(root: Command): void {
  runOptions(root.command('demo').description('show a livepatch from start to end: run the demo scenario'))
    .addHelpText('after', `${EXIT_CODES}\n\nExample:\n  klpemu demo --quiet`)
    .action(async (options) =>
      (await import('./run.ts')).run(shipped('fixtures/scenarios/demo.yaml'), options),
    );
}

function addRun(root: Command): void {
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
    .option('--json', 'the report as one JSON object')
    .option('--trace <file>', "every event of the machine, as JSON lines; '-' for standard output")
    .option('-q, --quiet', 'the closing tables only')
    .option('-v, --verbose', 'also each step of text poking, and who starts and ends');
}

function addStack(root: Command): void {
  root
    .command('stack')
    .description('print the stacks of tasks at a moment of a scenario')
    .argument('<file>', 'scenario (YAML)')
    .addOption(atOption())
    .option('--task <name|pid>', 'only this task: its name in the scenario, its comm or its pid')
    .addOption(seedOption())
    .addOption(allowFilesOption())
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  klpemu stack fixtures/scenarios/demo.yaml --at 1.2s --task klpdemo_worker',
    )
    .action(async (file: string, options) => (await import('./stack.ts')).stack(file, options));
}

function addDisas(root: Command): void {
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
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  klpemu disas fixtures/scenarios/demo.yaml --at 1.2s klpdemo_target:klpdemo_round --bytes 16',
    )
    .action(async (file: string, places: string[], options) =>
      (await import('./disas.ts')).disas(file, places, options),
    );
}

/** From package.json; a test holds it against that. */
const VERSION = '0.1.0';

async function main(argv: readonly string[]): Promise<void> {
  watchOutput();
  try {
    await program().parseAsync(argv);
  } catch (error) {
    // Commander has printed its own.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    else fail(error, argv.includes('--json'));
  }
}

await main(process.argv);
