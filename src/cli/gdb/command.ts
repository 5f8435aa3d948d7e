// The options of klpemu gdb.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { allowFilesOption, atOption, kernelOption, scheduleOption, seedOption } from '../scenario_options.ts';

const EXIT_CODES = `
Exit codes:
  0  the debugger ended it, or has left a machine that is up, or has detached and the rest of the scenario went as expected
  1  it has detached, and an expectation failed then
  2  bad usage, or a scenario that cannot be used
  3  it has detached, and the guest panicked or the machine failed then`;

export function addGdb(root: Command): void {
  root
    .command('gdb')
    .description('have gdb debug a scenario or a machine that is up, forwards and backwards (docs/gdb.md)')
    .argument('[file]', 'scenario (YAML)')
    .option('--attach <name>', 'a machine that klpemu up has started, instead of a scenario')
    .addOption(atOption())
    .addOption(
      new Option('--at-instruction <number>', 'instructions since boot, of all CPUs, instead').argParser(
        whole(Number.MAX_SAFE_INTEGER),
      ),
    )
    .option('--at-dmesg <text>', 'behind the first line of the log that has it, instead')
    .addOption(
      new Option('--port <number>', 'a TCP port of this computer alone; 0 takes any that is free')
        .argParser(whole(0xffff))
        .default(1234),
    )
    .option('--socket <path>', 'a unix socket instead of a port')
    .option('--stdio', 'standard input and output instead: gdb starts it itself')
    .addOption(
      new Option(
        '--checkpoints <number>',
        'machines that may wait at earlier moments for the way back, some 3 MiB each (default: 4)',
      ).argParser(whole(64)),
    )
    .addOption(seedOption())
    .addOption(scheduleOption())
    .addOption(kernelOption())
    .addOption(allowFilesOption())
    .addHelpText(
      'after',
      `${EXIT_CODES}

Examples:
  klpemu gdb fixtures/scenarios/demo.yaml --at 1s
  klpemu gdb fixtures/scenarios/demo.yaml --at-dmesg 'patching complete'
  gdb -ex 'target remote localhost:1234'
  gdb -ex 'target remote | klpemu gdb --stdio fixtures/scenarios/demo.yaml'
  klpemu up && gdb -ex 'target remote | klpemu gdb --stdio --attach default'`,
    )
    .action(async (file: string | undefined, options) => (await import('./gdb.ts')).gdb(file, options));
}

function whole(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from 0 to ${max}.`);
  };
}
