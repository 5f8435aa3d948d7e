// What to use instead of a command that other shells have and this one has not.

import { nearest } from '../kernel/nearest.ts';

/** One row an answer, for all the names on its left. */
const INSTEAD: readonly (readonly [string, string])[] = [
  [
    'less more most pg',
    'nothing is paged here: head, tail and grep; or on the host: klpemu exec COMMAND | less',
  ],
  [
    'vi vim nano emacs ed joe sed awk perl python python3',
    "programs are the host's; files of the guest are written with echo TEXT > FILE",
  ],
  ['man info apropos', 'help lists the commands, help COMMAND explains one'],
  ['sudo su doas', 'every command is run by root'],
  ['pushd popd', 'cd changes the working directory, cd - goes back'],
  [
    'export set unset env let local declare read printf',
    'there are no variables: use a shell of the host and klpemu exec',
  ],
  [
    'sh bash dash zsh source . eval xargs',
    'for programs use a shell of the host and klpemu exec, or klpemu shell SCRIPT',
  ],
  ['top htop pgrep pidof', 'ps lists the tasks'],
  ['watch', 'time passes with sleep: give the command again after it'],
  ['journalctl syslog', 'dmesg prints the kernel log'],
  [
    'reboot shutdown poweroff halt init systemctl',
    'exit leaves the shell; klpemu down ends a machine in the background',
  ],
  ['logout quit q', 'exit leaves the shell'],
  ['cp mv ln scp mount', 'modules come from the directories that --dir names; depmod reads them again'],
  ['find tree', 'ls lists a directory'],
  ['which type command whereis', 'help lists the commands'],
  ['gdb crash objdump', 'stack and disas look into the machine'],
  ['make gcc cc ld', 'build on the host, and name the directory with --dir; depmod reads it again'],
  ['jobs fg bg wait nohup', 'start runs a program in the background; ps lists the tasks'],
  ['history', 'the arrow keys go through what was typed'],
];

const BY_NAME = new Map(
  INSTEAD.flatMap(([names, text]) => names.split(' ').map((name) => [name, text] as const)),
);

/** What is added to `command not found`: what to use, or what was perhaps meant. */
export function instead(name: string, commands: Iterable<string>): string {
  const text = BY_NAME.get(name);
  if (text !== undefined) return `: ${text}`;
  if (/^\w+=/.test(name)) return `: ${BY_NAME.get('set')}`;
  const near = nearest(name, [...commands, 'exit']);
  return near === undefined ? '' : `; did you mean '${near}'?`;
}
