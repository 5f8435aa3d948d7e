// Commands on the tree of files: ls, stat, readlink, test, mkdir, rm. Nothing is opened: they look at the tree from outside,
// and no time passes.

import type { Target } from '../../fs/namei.ts';
import type { Command, ShellContext } from '../command.ts';
import { parseOptions } from '../options.ts';
import { failed, Output, ok } from '../result.ts';

type Stat = Omit<Target, 'open'>;

/** No file keeps a time: all are from the moment of boot. */
const BOOT_DATE = 'Jan  1 00:00';

function statOf(shell: ShellContext, path: string): Stat | undefined {
  return path === '' ? undefined : shell.guest.machine.inspect.fs.stat(shell.guest.path(path));
}

/** Of a symbolic link itself; with a slash behind it, of what it leads to. */
function lstatOf(shell: ShellContext, path: string): Stat | undefined {
  return path === '' ? undefined : shell.guest.machine.inspect.fs.lstat(shell.guest.path(path));
}

/** `drwxr-xr-x` */
function modeText({ kind, mode }: Stat): string {
  const bits = ['r', 'w', 'x'];
  let text = { file: '-', directory: 'd', device: 'c', link: 'l' }[kind];
  for (let i = 8; i >= 0; i--) text += mode & (1 << i) ? bits[(8 - i) % 3] : '-';
  return text;
}

function kindText({ kind, size }: Stat): string {
  if (kind === 'directory') return 'directory';
  if (kind === 'device') return 'character special file';
  if (kind === 'link') return 'symbolic link';
  return size === 0 ? 'regular empty file' : 'regular file';
}

/** As ramfs has it: from /, without a slash too many. */
const plain = (shell: ShellContext, path: string): string =>
  `/${shell.guest.path(path).split('/').filter(Boolean).join('/')}`;

const parentOf = (path: string): string =>
  path.replace(/\/+$/, '').replace(/[^/]*$/, '') || (path.startsWith('/') ? '/' : '.');

const ls: Command = {
  name: 'ls',
  usage: 'ls [-l] [-a] [-d] [-1] [PATH]...',
  summary: 'names in directories of the guest',
  completes: 'paths',
  run: ({ args, shell }) => {
    const { flags, operands, unknown } = parseOptions(args, ['l', 'a', 'A', 'd', '1']);
    if (unknown) return failed(`ls: invalid option -- '${unknown.slice(1)}'`, 2);
    const output = new Output();
    const paths = operands.length > 0 ? [...operands].sort() : ['.'];
    const files: Entry[] = [];
    const directories: string[] = [];
    for (const path of paths) {
      // A long listing is of a link itself; a short one, of the directory that it leads to.
      const stat = flags.has('l') || flags.has('d') ? lstatOf(shell, path) : statOf(shell, path);
      if (!stat) output.error(`ls: cannot access '${path}': No such file or directory`, 2);
      else if (stat.kind === 'directory' && !flags.has('d')) directories.push(path);
      else files.push(entry(shell, path, path, stat));
    }
    output.stdout += listing(files, flags.has('l'));
    directories.forEach((path, i) => {
      if (i > 0 || files.length > 0) output.line('');
      if (paths.length > 1) output.line(`${path}:`);
      if (flags.has('l')) output.line('total 0');
      output.stdout += listing(entriesOf(shell, path, flags.has('a')), flags.has('l'));
    });
    return output.result();
  },
};

interface Entry {
  readonly name: string;
  readonly stat: Stat;
  /** Of a symbolic link. */
  readonly to: string | undefined;
}

const entry = (shell: ShellContext, name: string, path: string, stat: Stat): Entry => ({
  name,
  stat,
  to: stat.kind === 'link' ? shell.guest.machine.inspect.fs.readlink(shell.guest.path(path)) : undefined,
});

function entriesOf(shell: ShellContext, path: string, all: boolean): Entry[] {
  const { fs } = shell.guest.machine.inspect;
  const entries: Entry[] = [];
  const add = (name: string, at: string): void => {
    const stat = fs.lstat(shell.guest.path(at));
    if (stat) entries.push(entry(shell, name, at, stat));
  };
  if (all) {
    add('.', path);
    add('..', `${path}/..`);
  }
  for (const name of fs.list(shell.guest.path(path)) ?? [])
    if (all || !name.startsWith('.')) add(name, `${path}/${name}`);
  return entries;
}

function listing(entries: readonly Entry[], long: boolean): string {
  if (!long) return entries.map(({ name }) => `${name}\n`).join('');
  const links = Math.max(...entries.map(({ stat }) => String(stat.nlink).length));
  const sizes = Math.max(...entries.map(({ stat }) => String(stat.size).length));
  return entries
    .map(({ name, stat, to }) => {
      const columns = [String(stat.nlink).padStart(links), 'root root', String(stat.size).padStart(sizes)];
      return `${modeText(stat)} ${columns.join(' ')} ${BOOT_DATE} ${name}${to === undefined ? '' : ` -> ${to}`}\n`;
    })
    .join('');
}

/** Directives of `stat -c`. */
const STAT_DIRECTIVES: Readonly<Record<string, (path: string, stat: Stat) => string | number>> = {
  A: (_, stat) => modeText(stat),
  a: (_, stat) => stat.mode.toString(8),
  F: (_, stat) => kindText(stat),
  f: (_, stat) =>
    ({ file: 0o100000, directory: 0o40000, device: 0o20000, link: 0o120000 })[stat.kind].toString(16),
  G: () => 'root',
  g: () => 0,
  h: (_, stat) => stat.nlink,
  N: (path) => `'${path}'`,
  n: (path) => path,
  s: (_, stat) => stat.size,
  U: () => 'root',
  u: () => 0,
  '%': () => '%',
};

const stat: Command = {
  name: 'stat',
  usage: 'stat [-c FORMAT] PATH...',
  summary: 'mode, owner and size of files of the guest',
  completes: 'paths',
  run: ({ args, shell }) => {
    const { flags, values, operands, unknown } = parseOptions(args, ['L'], ['c', 'format', 'printf']);
    if (unknown) return failed(`stat: invalid option -- '${unknown.slice(1)}'`);
    if (operands.length === 0) return failed('stat: missing operand');
    const format = values.get('c') ?? values.get('format') ?? '%A %a %U:%G %F size=%s nlink=%h %n';
    const output = new Output();
    for (const path of operands) {
      const found = flags.has('L') ? statOf(shell, path) : lstatOf(shell, path);
      if (!found) output.error(`stat: cannot statx '${path}': No such file or directory`);
      else {
        const text = format.replace(/%(.)/g, (whole, c: string) =>
          String(STAT_DIRECTIVES[c]?.(path, found) ?? whole),
        );
        output.line(text);
      }
    }
    return output.result();
  },
};

const readlink: Command = {
  name: 'readlink',
  usage: 'readlink PATH...',
  summary: 'what symbolic links of the guest say',
  completes: 'paths',
  run: ({ args, shell }) => {
    const { operands, unknown } = parseOptions(args, []);
    if (unknown) return failed(`readlink: invalid option -- '${unknown.slice(1)}'`);
    if (operands.length === 0) return failed('readlink: missing operand');
    const output = new Output();
    for (const path of operands) {
      const text = shell.guest.machine.inspect.fs.readlink(shell.guest.path(path));
      if (text === undefined) output.status = 1;
      else output.line(text);
    }
    return output.result();
  },
};

const mkdir: Command = {
  name: 'mkdir',
  usage: 'mkdir [-p] DIRECTORY...',
  summary: 'make directories of the guest',
  completes: 'paths',
  run: ({ args, shell }) => {
    const { flags, operands } = parseOptions(args, ['p']);
    const { fs } = shell.guest.machine.inspect;
    const output = new Output();
    for (const path of operands) {
      const cannot = `mkdir: cannot create directory '${path}'`;
      const found = statOf(shell, path);
      if (found && !(flags.has('p') && found.kind === 'directory')) output.error(`${cannot}: File exists`);
      else if (/^\/(proc|sys)\//.test(plain(shell, path))) output.error(`${cannot}: Operation not permitted`);
      else if (!flags.has('p') && statOf(shell, parentOf(path))?.kind !== 'directory')
        output.error(`${cannot}: No such file or directory`);
      else if (!found) fs.ramfs.mkdir(plain(shell, path));
    }
    return output.result();
  },
};

const rm: Command = {
  name: 'rm',
  usage: 'rm [-f] FILE...',
  summary: 'remove files of the guest',
  completes: 'paths',
  run: ({ args, shell }) => {
    const { flags, operands } = parseOptions(args, ['f']);
    const output = new Output();
    for (const path of operands) {
      const cannot = `rm: cannot remove '${path}'`;
      const kind = statOf(shell, path)?.kind;
      if (kind === undefined) {
        if (!flags.has('f')) output.error(`${cannot}: No such file or directory`);
      } else if (kind === 'directory') output.error(`${cannot}: Is a directory`);
      else if (!shell.guest.machine.inspect.fs.ramfs.remove(plain(shell, path)))
        output.error(`${cannot}: Operation not permitted`);
    }
    return output.result();
  },
};

/** Conditions on a path. */
const UNARY: Readonly<Record<string, (shell: ShellContext, operand: string) => boolean>> = {
  '-e': (shell, path) => statOf(shell, path) !== undefined,
  '-f': (shell, path) => statOf(shell, path)?.kind === 'file',
  '-d': (shell, path) => statOf(shell, path)?.kind === 'directory',
  '-h': (shell, path) => lstatOf(shell, path)?.kind === 'link',
  '-L': (shell, path) => lstatOf(shell, path)?.kind === 'link',
  '-c': (shell, path) => statOf(shell, path)?.kind === 'device',
  '-r': (shell, path) => statOf(shell, path) !== undefined,
  '-w': (shell, path) => statOf(shell, path) !== undefined,
  '-s': (shell, path) => (statOf(shell, path)?.size ?? 0) > 0,
  '-n': (_, text) => text !== '',
  '-z': (_, text) => text === '',
};

const BINARY: Readonly<Record<string, (a: string, b: string) => boolean>> = {
  '=': (a, b) => a === b,
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '-eq': (a, b) => Number(a) === Number(b),
  '-ne': (a, b) => Number(a) !== Number(b),
  '-lt': (a, b) => Number(a) < Number(b),
  '-le': (a, b) => Number(a) <= Number(b),
  '-gt': (a, b) => Number(a) > Number(b),
  '-ge': (a, b) => Number(a) >= Number(b),
};

function evaluate(shell: ShellContext, words: readonly string[]): boolean | undefined {
  if (words.length === 0) return false;
  if (words[0] === '!') {
    const rest = evaluate(shell, words.slice(1));
    return rest === undefined ? undefined : !rest;
  }
  if (words.length === 1) return words[0] !== '';
  if (words.length === 2) return UNARY[words[0]]?.(shell, words[1]);
  return words.length === 3 ? BINARY[words[1]]?.(words[0], words[2]) : undefined;
}

function testCommand(name: 'test' | '['): Command {
  return {
    name,
    usage: name === 'test' ? 'test [!] -e PATH | test A = B | test N -eq M' : '[ CONDITION ]',
    summary: 'a condition: status 0 when it holds, 1 when not',
    completes: 'paths',
    run: ({ args, shell }) => {
      if (name === '[' && args.at(-1) !== ']') return failed(`${shell.self}[: missing \`]'`, 2);
      const words = name === '[' ? args.slice(0, -1) : args;
      const holds = evaluate(shell, words);
      if (holds === undefined) return failed(`${shell.self}${name}: ${words.join(' ')}: not supported`, 2);
      return { ...ok(), status: holds ? 0 : 1 };
    },
  };
}

export const FILE_COMMANDS: readonly Command[] = [
  ls,
  stat,
  readlink,
  mkdir,
  rm,
  testCommand('test'),
  testCommand('['),
];
