// The working directory of the shell: cd and pwd, as bash's have it where no symbolic link is followed (cd -L).
//
// Invariant: it is absolute, and was a directory when it was entered; one that goes away gives ENOENT from then on, as of a task
// whose directory was removed.

import { UAPI } from '../../kernel/uapi.ts';
import type { Command } from '../command.ts';
import { errnoText } from '../errno_text.ts';
import { failed, ok } from '../result.ts';

const cd: Command = {
  name: 'cd',
  usage: 'cd [DIRECTORY | -]',
  summary: 'change the working directory; without a name to /',
  completes: 'paths',
  run: ({ args, shell }) => {
    const { guest } = shell;
    const cannot = `${shell.self}cd:`;
    if (args.length > 1) return failed(`${cannot} too many arguments`);
    const [typed = '/'] = args;
    const back = typed === '-';
    const target = back ? guest.previousDirectory : typed;
    if (target === undefined) return failed(`${cannot} OLDPWD not set`);
    if (!guest.exists(target) && target !== '')
      return failed(`${cannot} ${target}: ${errnoText(UAPI.ENOENT)}`);
    if (!guest.isDirectory(target) && target !== '')
      return failed(`${cannot} ${target}: ${errnoText(UAPI.ENOTDIR)}`);
    guest.changeDirectory(target);
    return ok(back ? `${guest.workingDirectory}\n` : '');
  },
};

const pwd: Command = {
  name: 'pwd',
  usage: 'pwd',
  summary: 'the working directory',
  run: ({ shell }) => ok(`${shell.guest.workingDirectory}\n`),
};

export const DIRECTORY_COMMANDS: readonly Command[] = [cd, pwd];
