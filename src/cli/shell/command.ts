// The commands that drive a machine by hand or from a script: shell, up, exec, down, why.

import { type Command, Option } from 'commander';
import { scheduleOption } from '../scenario_options.ts';
import { DEFAULT_NAME, machineOptions } from './options.ts';

const nameOption = () => new Option('--name <name>', 'which machine').default(DEFAULT_NAME);

export function addShellCommands(root: Command): void {
  machineOptions(
    root
      .command('shell')
      .description('a shell on a machine: typed by you, or read from a script or standard input')
      .argument('[script]', 'file of commands'),
  )
    .option('-c, --command <text>', 'run this text')
    .option('-e, --errexit', 'end at the first command that fails')
    .option(
      '--pipe',
      'command lines from standard input; for each `STATUS STDOUT-BYTES STDERR-BYTES` and those bytes',
    )
    .addHelpText(
      'after',
      `
The exit code is that of the last command, or of \`exit N\`; of a command that was given up at --limit it is 124, of
one that Ctrl-C ended 130. With --pipe each answer has the one of its line, and the exit code is 3 when the machine has
failed.

Examples:
  klpemu shell
  klpemu shell -c 'modprobe klpdemo_patch_vmlinux; sleep 2; cat /proc/cmdline'`,
    )
    .action(async (script: string | undefined, options) =>
      (await import('./shell.ts')).shell(script, options),
    );
  machineOptions(root.command('up').description('start a machine in the background'))
    .addOption(nameOption())
    .option('--foreground', 'stay in the foreground')
    .addHelpText('after', '\nExample:\n  klpemu up --dir ~/mypatch && klpemu exec -- modprobe mypatch')
    .action(async (options) => (await import('../session/up.ts')).up(options));
  root
    .command('exec')
    .description('run a command in the machine that is up')
    .argument('[command...]', 'a command and its arguments; a single word is a line of the shell')
    .addOption(nameOption())
    .addOption(scheduleOption())
    .option(
      '--pipe',
      'command lines from standard input; for each `STATUS STDOUT-BYTES STDERR-BYTES` and those bytes',
    )
    .addHelpText(
      'after',
      `
The exit code is the command's; 124 when it was given up at the limit of \`klpemu up --limit\`, 130 after Ctrl-C,
2 when no machine is up, 3 when the machine has failed or died.

Examples:
  klpemu exec -- modprobe klpdemo_patch_vmlinux
  klpemu exec 'echo 0 > /sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled && sleep 2'`,
    )
    .action(async (words: string[], options) => (await import('../session/exec.ts')).exec(words, options));
  root
    .command('down')
    .description('end the machine that is up')
    .addOption(nameOption())
    .addHelpText(
      'after',
      `
Exit codes:
  0  it is ended; by force when it does not answer for 5 s, and also when it had died: the reason is said then
  2  no machine of that name is up

Examples:
  klpemu down
  klpemu up --name second && klpemu down --name second`,
    )
    .action(async (options) => (await import('../session/down.ts')).down(options));
  root
    .command('why')
    .description('explain why a transition of the machine that is up is not over, or a load waits')
    .addOption(nameOption())
    .option('--json', 'as one JSON object')
    .addHelpText('after', '\nExample:\n  klpemu exec -- modprobe klpdemo_patch_target; klpemu why')
    .action(async (options) => (await import('../session/why.ts')).why(options));
}
