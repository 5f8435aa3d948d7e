// The table of commands.

import { didYouMean } from '../../kernel/nearest.ts';
import type { Command } from '../command.ts';
import { failed, ok } from '../result.ts';
import { bundle } from './bundle.ts';
import { DIRECTORY_COMMANDS } from './directory.ts';
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
      const about = name === EXIT.name ? EXIT : shell.commands.get(name);
      if (about) return ok(helpText(about));
      const near = didYouMean(name, shell.commands.keys());
      return failed(`${shell.self}help: no help topics match \`${name}'${near}`);
    }
    const rows = [...shell.commands.values(), EXIT].sort((a, b) => (a.name < b.name ? -1 : 1));
    const width = Math.max(...rows.map((row) => row.name.length));
    return ok(rows.map((row) => `${row.name.padEnd(width)}  ${row.summary}\n`).join(''));
  },
};

/** The shell's own. */
const EXIT = { name: 'exit', usage: 'exit [STATUS]', summary: 'leave the shell, with a status' };

export function helpText({ usage, summary }: Pick<Command, 'usage' | 'summary'>): string {
  return `${usage}\n    ${summary}\n`;
}

const clear: Command = {
  name: 'clear',
  usage: 'clear',
  summary: 'clear the screen',
  run: () => ({ ...ok(), clear: true }),
};

/** Commands by name. `exit` is the shell's own. */
export function commandTable(): ReadonlyMap<string, Command> {
  const all = [
    ...TEXT_COMMANDS,
    ...FILE_COMMANDS,
    ...DIRECTORY_COMMANDS,
    ...MODULE_COMMANDS,
    modinfo,
    bundle,
    ...SYSTEM_COMMANDS,
    ...LOOK_COMMANDS,
    clear,
    help,
  ];
  return new Map(all.map((command) => [command.name, command]));
}
