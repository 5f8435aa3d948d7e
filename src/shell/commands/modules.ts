// Loading and unloading modules. Mirrors kmod's tools: insmod, modprobe, rmmod, lsmod, depmod, and their messages.

import { moduleName } from '../../elf/unpack.ts';
import { UAPI } from '../../kernel/uapi.ts';
import { MODULE_INIT_IGNORE_MODVERSIONS, MODULE_INIT_IGNORE_VERMAGIC } from '../../module/load_info.ts';
import type { Command, ShellContext } from '../command.ts';
import { errnoText } from '../errno_text.ts';
import type { Ended } from '../guest.ts';
import { loadPaused, membersToLoad, needsOfMembers } from '../modprobe_paused.ts';
import { parseOptions } from '../options.ts';
import { failed, Output, ok, type Result } from '../result.ts';
import { killedText, signalStatus } from '../signals.ts';

/** insmod.c's mod_strerror(): what some errors mean for a module. */
const INSMOD_ERRORS: Readonly<Record<number, string>> = {
  [UAPI.ENOEXEC]: 'Invalid module format',
  [UAPI.ENOENT]: 'Unknown symbol in module',
  [UAPI.ESRCH]: 'Module has wrong symbol version',
  [UAPI.EINVAL]: 'Invalid parameters',
};

/** @param flags of finit_module() */
async function loadFile(
  shell: ShellContext,
  comm: string,
  path: string,
  params: readonly string[],
  flags = 0,
): Promise<Ended> {
  const text = comm === 'insmod' ? params.join(' ') : paramText(params);
  const words = [shell.guest.path(path), text, ...(flags === 0 ? [] : [String(flags)])];
  const ended = await shell.guest.run('insmod', words, { comm });
  return shell.guest.machine.inspect.modules.unnoticed.has(ended.pid) ? { ...ended, code: 0 } : ended;
}

function paramText(params: readonly string[]): string {
  return params.map(quoteParam).join(' ');
}

/** modprobe gives the kernel a value with spaces in quotes; insmod does not. */
function quoteParam(param: string): string {
  const at = param.indexOf('=');
  if (at < 0 || !/\s/.test(param) || param.includes('"')) return param;
  return `${param.slice(0, at + 1)}"${param.slice(at + 1)}"`;
}

function loaded(shell: ShellContext, name: string): boolean {
  return shell.guest.exists(`/sys/module/${name}/initstate`);
}

const insmod: Command = {
  name: 'insmod',
  usage: 'insmod FILE [PARAM=VALUE]...',
  summary: 'load a module from a file',
  completes: 'paths',
  run: async ({ args, shell }) => {
    const { operands, unknown } = parseInsmod(args);
    if (unknown) return failed(`insmod: ${unknownOption(unknown)}`);
    const [path, ...params] = operands;
    if (path === undefined) return failed('insmod: ERROR: missing filename.');
    if (!shell.guest.exists(path))
      return failed(`insmod: ERROR: could not load module ${path}: ${errnoText(UAPI.ENOENT)}`);
    const unread = unreadable(shell, path);
    if (unread) return failed(`insmod: ERROR: could not insert module ${path}: ${unread}`);
    const ended = await loadFile(shell, 'insmod', path, params);
    if (ended.signal !== undefined) return failed(killedText(ended.signal), signalStatus(ended.signal));
    if (ended.code === 0) return ok();
    const errno = ended.code ?? 0;
    const text = INSMOD_ERRORS[errno] ?? errnoText(errno);
    return failed(`insmod: ERROR: could not insert module ${path}: ${text}`);
  },
};

/** Options end at the file: what follows are parameters, however they begin. */
function parseInsmod(args: readonly string[]): { operands: readonly string[]; unknown: string | undefined } {
  const at = args.findIndex((arg) => !/^-./.test(arg));
  const options = at < 0 ? args : args.slice(0, at);
  const { operands, unknown } = parseOptions(options, ['f', 'force', 's', 'syslog', 'v', 'verbose']);
  return { operands: [...operands, ...(at < 0 ? [] : args.slice(at))], unknown };
}

/** getopt_long()'s words. */
function unknownOption(option: string): string {
  return option.startsWith('--')
    ? `unrecognized option '${option}'`
    : `invalid option -- '${option.slice(1)}'`;
}

/** Bytes by which libkmod tells how a file is packed; it does not go on with one that has fewer. */
const KMOD_MAGIC = 6;

/** What libkmod says of a file before the kernel sees it. */
function unreadable(shell: ShellContext, path: string): string | undefined {
  if (shell.guest.isDirectory(path)) return errnoText(UAPI.EISDIR);
  const bytes = shell.guest.machine.inspect.fs.ramfs.lookup(shell.guest.path(path))?.bytes;
  return bytes && bytes.length < KMOD_MAGIC ? INSMOD_ERRORS[UAPI.EINVAL] : undefined;
}

interface ModprobeOptions {
  readonly dryRun: boolean;
  readonly verbose: boolean;
  readonly firstTime: boolean;
  readonly quiet: boolean;
  readonly all: boolean;
  /** MODULE_INIT_IGNORE_* of finit_module(). */
  readonly flags: number;
}

const FLAGS = ['r', 'n', 'v', 'q', 'a', 'f', 'i', 'D', 's'];
const LONG_FLAGS = [
  'remove',
  'dry-run',
  'show',
  'verbose',
  'quiet',
  'all',
  'first-time',
  'show-depends',
  'force',
  'force-modversion',
  'force-vermagic',
];

const modprobe: Command = {
  name: 'modprobe',
  usage:
    'modprobe [-n] [-v] [-q] [-f] [--first-time] MODULE [PARAM=VALUE]... | modprobe -r MODULE... | modprobe -D MODULE',
  summary: 'load a module and those it needs, or unload them with -r',
  completes: 'modules',
  run: async ({ args, shell }) => {
    const { flags, operands, unknown } = parseOptions(args, [...FLAGS, ...LONG_FLAGS]);
    if (unknown) return failed(`modprobe: ${unknownOption(unknown)}`);
    if (operands.length === 0) return failed('modprobe: ERROR: missing parameters. See -h.');
    const has = (...names: string[]): boolean => names.some((name) => flags.has(name));
    const options: ModprobeOptions = {
      dryRun: has('n', 'dry-run', 'show', 'D', 'show-depends'),
      verbose: has('v', 'verbose', 'D', 'show-depends'),
      firstTime: has('first-time'),
      quiet: has('q', 'quiet'),
      all: has('a', 'all'),
      flags:
        (has('f', 'force', 'force-modversion') ? MODULE_INIT_IGNORE_MODVERSIONS : 0) |
        (has('f', 'force', 'force-vermagic') ? MODULE_INIT_IGNORE_VERMAGIC : 0),
    };
    const isRemoval = has('r', 'remove');
    if (!isRemoval && !options.all) return insert(shell, operands[0], operands.slice(1), options);
    const output = new Output();
    for (const name of operands) {
      output.add(await (isRemoval ? unload(shell, name, options) : insert(shell, name, [], options)));
      if (output.ended) break;
    }
    return output.result();
  },
};

/** modprobe.c's LOG(): fatal, and then it exits; a warning with -a; with -q nothing is said, and it goes on. */
function complaint(text: string, { quiet, all }: ModprobeOptions): Result {
  if (quiet) return { status: 1, stdout: '', stderr: '' };
  if (all) return failed(`modprobe: WARNING: ${text}`);
  return { ...failed(`modprobe: FATAL: ${text}`), ended: true };
}

/** Its process is gone. */
const killed = (signal: number): Result => ({
  ...failed(killedText(signal), signalStatus(signal)),
  ended: true,
});

async function insert(
  shell: ShellContext,
  wanted: string,
  params: readonly string[],
  options: ModprobeOptions,
): Promise<Result> {
  const paths = shell.modules.resolve(wanted);
  if (!paths) return complaint(`Module ${wanted} not found in directory ${shell.modules.dir}`, options);
  const name = moduleName(paths[paths.length - 1]);
  if (loaded(shell, name) && !(options.dryRun && options.verbose && !options.firstTime)) {
    const text = `modprobe: ERROR: could not insert '${name}': Module already in kernel`;
    return options.firstTime ? failed(text) : ok();
  }
  const output = new Output();
  for (const [i, path] of paths.entries()) {
    const own = i === paths.length - 1;
    if (!own && loaded(shell, moduleName(path))) continue;
    output.add(await insertOne(shell, path, own ? params : [], options));
    if (output.status !== 0) break;
  }
  return output.result();
}

async function insertOne(
  shell: ShellContext,
  path: string,
  params: readonly string[],
  options: ModprobeOptions,
): Promise<Result> {
  const members = await membersToLoad(shell, moduleName(path));
  const output = new Output();
  for (const need of needsOfMembers(shell, path, members ?? [])) {
    if (!loaded(shell, moduleName(need))) output.add(await insertOne(shell, need, [], options));
    if (output.status !== 0) return output.result();
  }
  if (options.verbose) {
    output.line(`insmod ${path} ${params.join(' ')}`);
    for (const member of members ?? []) output.line(`insmod ${member} `);
  }
  if (options.dryRun) return output.result();
  const ended = members
    ? await loadPaused(shell, path, paramText(params), members)
    : await loadFile(shell, 'modprobe', path, params, options.flags);
  const refused = members && ended.stdout !== '' ? ended.stdout : path;
  output.add(insertResult(moduleName(refused), ended, options));
  return output.result();
}

function insertResult(name: string, { code, signal }: Ended, options: ModprobeOptions): Result {
  if (signal !== undefined) return killed(signal);
  if (code === undefined || code === 0) return ok();
  const head = `modprobe: ERROR: could not insert '${name}'`;
  if (code === UAPI.EEXIST) return options.firstTime ? failed(`${head}: Module already in kernel`) : ok();
  if (code === UAPI.ENOENT)
    return failed(`${head}: Unknown symbol in module, or unknown parameter (see dmesg)`);
  return failed(`${head}: ${errnoText(code)}`);
}

/**
 * modprobe -r: the module, and then of those it needed, in the order in which they were loaded, each that nobody uses: one
 * that only another of them used stays.
 */
async function unload(shell: ShellContext, wanted: string, options: ModprobeOptions): Promise<Result> {
  const paths = shell.modules.resolve(wanted) ?? [wanted];
  const name = moduleName(wanted);
  if (!loaded(shell, name)) {
    if (!shell.modules.resolve(wanted)) return complaint(`Module ${wanted} not found.`, options);
    return options.firstTime ? complaint(`Module ${name} is not in kernel.`, options) : ok();
  }
  if (useOf(shell, name).refcnt > 0) return complaint(`Module ${name} is in use.`, options);
  const output = new Output();
  for (const path of [paths[paths.length - 1], ...paths.slice(0, -1)]) {
    const each = moduleName(path);
    if (!loaded(shell, each) || useOf(shell, each).refcnt > 0) continue;
    if (options.verbose) output.line(`rmmod ${each}`);
    if (options.dryRun) continue;
    const { code, signal } = await shell.guest.run('rmmod', [each], { comm: 'modprobe' });
    if (signal !== undefined) output.add(killed(signal));
    else if (code !== 0)
      output.add(complaint(`could not remove '${each}': ${errnoText(code ?? 0)}`, options));
    if (output.ended) break;
  }
  return output.result();
}

/** What libkmod reads of a loaded module: refcnt and holders of /sys/module. */
function useOf(shell: ShellContext, name: string): { refcnt: number; holders: readonly string[] } {
  const { machine } = shell.guest;
  const mod = machine.inspect.modules.find(name);
  return { refcnt: mod?.refcount ?? 0, holders: [...(mod?.users ?? [])].map((user) => user.name) };
}

/** Where libkmod of kmod 30 logs a failed delete_module(). */
const LIBKMOD_REMOVE = '../libkmod/libkmod-module.c:856 kmod_module_remove_module()';

const rmmod: Command = {
  name: 'rmmod',
  usage: 'rmmod [-f] MODULE...',
  summary: 'unload modules',
  completes: 'loaded modules',
  run: async ({ args, shell }) => {
    const { operands, flags, unknown } = parseOptions(args, ['f', 'force', 's', 'syslog', 'v', 'verbose']);
    if (unknown) return failed(`rmmod: ${unknownOption(unknown)}`);
    if (operands.length === 0) return failed('rmmod: ERROR: missing module name.');
    const output = new Output();
    const force = flags.has('f') || flags.has('force');
    for (const operand of operands) output.add(await removeOne(shell, moduleName(operand), force));
    return output.result();
  },
};

/** With -f rmmod asks nothing, and libkmod and it both say what the kernel answered. */
async function removeOne(shell: ShellContext, name: string, force: boolean): Promise<Result> {
  if (!force) {
    if (!loaded(shell, name)) return failed(`rmmod: ERROR: Module ${name} is not currently loaded`);
    const { refcnt, holders } = useOf(shell, name);
    if (holders.length > 0) return failed(`rmmod: ERROR: Module ${name} is in use by: ${holders.join(' ')}`);
    if (refcnt > 0) return failed(`rmmod: ERROR: Module ${name} is in use`);
  }
  const { code, signal } = await shell.guest.run('rmmod', force ? [name, 'force'] : [name]);
  if (signal !== undefined) return failed(killedText(signal), signalStatus(signal));
  if (code === 0) return ok();
  const why = errnoText(code ?? 0);
  const output = new Output();
  output.error(`rmmod: ERROR: ${LIBKMOD_REMOVE} could not remove '${name}': ${why}`);
  output.error(`rmmod: ERROR: could not remove module ${name}: ${why}`);
  return output.result();
}

const lsmod: Command = {
  name: 'lsmod',
  usage: 'lsmod',
  summary: 'modules that are loaded, from /proc/modules',
  run: async ({ shell }) => {
    const text = await shell.guest.read('/proc/modules', 'lsmod');
    if (typeof text === 'number') return failed(`Error: could not get list of modules: ${errnoText(text)}`);
    const output = new Output();
    output.line('Module                  Size  Used by');
    for (const line of text.split('\n').filter(Boolean)) {
      const [name, size, count, users] = line.split(' ');
      const by = users === '-' ? '' : ` ${users.replace(/,$/, '')}`;
      output.line(`${name.padEnd(19)} ${size.padStart(8)}  ${count}${by}`);
    }
    return output.result();
  },
};

const depmod: Command = {
  name: 'depmod',
  usage: 'depmod [-a]',
  summary: 'find out what the modules of /lib/modules need of each other',
  run: ({ args, shell }) => {
    const { unknown } = parseOptions(args, ['a', 'all', 'q', 'A', 'quick']);
    if (unknown) return failed(`depmod: unrecognized option '${unknown}'`);
    const { warnings } = shell.modules.depmod();
    return { status: 0, stdout: '', stderr: warnings.map((line) => `${line}\n`).join('') };
  },
};

export const MODULE_COMMANDS: readonly Command[] = [insmod, modprobe, rmmod, lsmod, depmod];
