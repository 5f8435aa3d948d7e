// What a word that is being typed may become: commands, modules, paths of the guest, tasks, symbols.

import type { Command, ShellContext } from './command.ts';
import { sysctlNames } from './commands/system.ts';

/** Symbols are many: none are offered for less than this. */
const SYMBOL_PREFIX_MIN = 3;

/** Continuations of the last word of a line, and that word: what node:readline asks of a completer. */
export function complete(shell: ShellContext, line: string): [string[], string] {
  const segment = line.slice(lastOperator(line));
  const words = segment.split(/\s+/).filter((word, i) => word !== '' || i > 0);
  const word = /\s$/.test(segment) || segment === '' ? '' : (words.at(-1) ?? '');
  const afterRedirect = /[>]\s*\S*$/.test(line);
  const candidates = afterRedirect
    ? paths(shell, word)
    : words.length <= 1
      ? [...shell.commands.keys(), 'exit'].map((name) => `${name} `)
      : argumentCandidates(shell, shell.commands.get(words[0]), word);
  return [candidates.filter((candidate) => candidate.startsWith(word)).sort(), word];
}

/** Where the command that is being typed begins. */
function lastOperator(line: string): number {
  return (
    Math.max(line.lastIndexOf(';'), line.lastIndexOf('|'), line.lastIndexOf('&'), line.lastIndexOf('>')) + 1
  );
}

function argumentCandidates(shell: ShellContext, command: Command | undefined, word: string): string[] {
  const { machine } = shell.guest;
  switch (command?.completes) {
    case 'modules':
      return shell.modules.names().map((name) => `${name} `);
    case 'loaded modules':
      return machine.inspect.modules.loader.modules.visible.map((mod) => `${mod.name} `);
    case 'bundles':
      return bundleWords(shell).map((text) => `${text} `);
    case 'paths':
      return paths(shell, word);
    case 'tasks':
      return [...machine.inspect.core.tasks.processes()].flatMap((task) => [`${task.pid} `, `${task.comm} `]);
    case 'sysctls':
      return sysctlNames(shell);
    case 'commands':
      return [...shell.commands.keys()].map((name) => `${name} `);
    case 'symbols':
      return word.length < SYMBOL_PREFIX_MIN ? [] : symbols(shell, word);
    default:
      return [];
  }
}

/** Verbs of `bundle`, and names of bundles that are enabled or could be. */
function bundleWords(shell: ShellContext): string[] {
  const enabled = shell.guest.machine.inspect.bundles?.list() ?? [];
  const names = new Set([...enabled.map(({ name }) => name), ...shell.modules.bundleNames()]);
  return ['enable', 'disable', 'list', ...names];
}

function symbols(shell: ShellContext, prefix: string): string[] {
  const names = new Set<string>();
  for (const { name } of shell.guest.machine.inspect.core.symbols.all())
    if (name.startsWith(prefix)) names.add(name);
  return [...names];
}

/** Directories end in a slash, so that typing goes on. */
function paths(shell: ShellContext, word: string): string[] {
  const { fs } = shell.guest.machine.inspect;
  const at = word.lastIndexOf('/') + 1;
  const dir = word.slice(0, at);
  return (fs.list(shell.guest.path(dir || '.')) ?? []).map((name) => {
    const path = `${dir}${name}`;
    return fs.stat(shell.guest.path(path))?.kind === 'directory' ? `${path}/` : `${path} `;
  });
}
