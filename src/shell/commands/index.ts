// The table of commands.

import type { Command } from '../command.ts';
import { failed, ok } from '../result.ts';
import { bundle } from './bundle.ts';
import { FILE_COMMANDS } from './files.ts';
import { LOOK_COMMANDS } from './look.ts';
import { modinfo } from './modinfo.ts';
import { MODULE_COMMANDS } from './modules.ts';
import { SYSTEM_COMMANDS } from './system.ts';
import { TEXT_COMMANDS } from './text.ts';

const help: Command = {
  name: 'help',
  usage: 'help [COMMAND]',
  summary: 'what commands there are',
  completes: 'commands',
  run: ({ args, shell }) => {
    const [name] = args;
    if (name !== undefined) {
      const command = shell.commands.get(name);
      if (!command) return failed(`${shell.self}help: no help topics match \`${name}'`);
      return ok(`${command.usage}\n    ${command.summary}\n`);
    }
    const rows = [...shell.commands.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const width = Math.max(...rows.map((row) => row.name.length));
    const lines = rows.map((row) => `${row.name.padEnd(width)}  ${row.summary}\n`);
    return ok(`${lines.join('')}${'exit'.padEnd(width)}  leave the shell, with a status\n`);
  },
};

/** Commands by name. `exit` is the shell's own. */
export function commandTable(): ReadonlyMap<string, Command> {
  const all = [
    ...TEXT_COMMANDS,
    ...FILE_COMMANDS,
    ...MODULE_COMMANDS,
    modinfo,
    bundle,
    ...SYSTEM_COMMANDS,
    ...LOOK_COMMANDS,
    help,
  ];
  return new Map(all.map((command) => [command.name, command]));
}
