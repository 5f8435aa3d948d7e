// Commands on the running system: the log, tasks, sysctls, time. Messages are those of util-linux and procps.

import { taskState } from '../../fs/proc_pid.ts';
import { logPrefix } from '../../kernel/printk.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import { programNames, programProblem, programUsage } from '../../machine/user/programs.ts';
import type { Command, ShellContext } from '../command.ts';
import { errnoText } from '../errno_text.ts';
import { GuestExpired } from '../guest.ts';
import { parseOptions } from '../options.ts';
import { letPass, timeInterval } from '../passing.ts';
import { failed, Output, ok, type Result } from '../result.ts';
import { signalNames, signalNumber } from '../signals.ts';

const dmesg: Command = {
  name: 'dmesg',
  usage: 'dmesg [-C | -c] [-r | -t]',
  summary: 'the kernel log; -C clears it, -c prints and clears, -r has facility and level, -t no times',
  run: ({ args, shell }) => {
    const flagNames = [
      'C',
      'c',
      'r',
      't',
      'clear',
      'read-clear',
      'raw',
      'notime',
      'n',
      'w',
      'follow',
      'H',
      'T',
    ];
    const { flags, unknown } = parseOptions(args, flagNames, ['n', 'console-level', 'l', 'level']);
    if (unknown) return failed(`dmesg: invalid option -- '${unknown.slice(1)}'`);
    if (flags.has('w') || flags.has('follow'))
      return failed('dmesg: --follow is not supported: time stands still while nothing runs');
    const { printk } = shell.guest.machine.inspect.core;
    const from = shell.dmesgFrom;
    const clears = ['C', 'c', 'clear', 'read-clear'].some((flag) => flags.has(flag));
    if (clears) shell.dmesgFrom = printk.nextSeq;
    if (flags.has('C') || flags.has('clear') || flags.has('n')) return ok();
    const raw = flags.has('r') || flags.has('raw');
    const bare = !raw && (flags.has('t') || flags.has('notime'));
    let text = '';
    for (const { t, text: line, level, facility = 0 } of printk.since(from))
      text += `${raw ? rawPrefix(facility, level) : ''}${bare ? '' : logPrefix(t)}${printable(line)}\n`;
    return ok(text);
  },
};

/** Of util-linux 2.38 in Debian 12, which takes the facility's number for one in its place: a warning of users is `<5>`. */
const rawPrefix = (facility: number, level: number): string => `<${facility | level}>`;

/** Control characters of a record by their numbers, as util-linux prints what /dev/kmsg has. */
function printable(text: string): string {
  return text.replace(
    /[\x00-\x08\x0b-\x1f\x7f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

const nproc: Command = {
  name: 'nproc',
  usage: 'nproc',
  summary: 'how many CPUs there are',
  run: ({ shell }) => ok(`${shell.guest.machine.options.cpus}\n`),
};

const ps: Command = {
  name: 'ps',
  usage: 'ps',
  summary: 'tasks: pid, state, patch_state, command',
  run: ({ shell }) => {
    const { core } = shell.guest.machine.inspect;
    const output = new Output();
    output.line('    PID STAT PATCH_STATE COMMAND');
    for (const task of core.tasks.processes()) {
      const name = task.isKthread ? `[${task.comm}]` : task.comm;
      const columns = [
        String(task.pid).padStart(7),
        stateLetter(shell, task).padEnd(4),
        String(task.patchState).padStart(11),
      ];
      output.line(`${columns.join(' ')} ${name}`);
    }
    return output.result();
  },
};

/** As in /proc/PID/stat. */
function stateLetter(shell: ShellContext, task: TaskStruct): string {
  const { mem, kernel } = shell.guest.machine.inspect.core;
  const exitState = mem.readS32(task.addr + BigInt(kernel.structs.task_struct.fields.exit_state));
  return taskState(kernel, task.state, exitState)[0];
}

const SYSCTL_FLAGS = ['n', 'values', 'q', 'quiet', 'w', 'write', 'a', 'all', 'e', 'ignore', 'N', 'names'];

const sysctl: Command = {
  name: 'sysctl',
  usage: 'sysctl [-n] [-q] NAME[=VALUE]... | sysctl -a',
  summary: 'read and write the values of /proc/sys',
  completes: 'sysctls',
  run: async ({ args, shell }) => {
    const { flags, operands, unknown } = parseOptions(args, SYSCTL_FLAGS);
    if (unknown) return failed(`sysctl: unrecognized option '${unknown}'`);
    const bare = flags.has('n') || flags.has('values');
    const quiet = flags.has('q') || flags.has('quiet');
    const output = new Output();
    const names = flags.has('a') || flags.has('all') ? sysctlNames(shell) : operands;
    if (names.length === 0) return failed('sysctl: no variables specified');
    for (const operand of names) output.add(await sysctlOne(shell, operand, bare, quiet));
    return output.result();
  },
};

/** Every value below /proc/sys, with dots. */
export function sysctlNames(shell: ShellContext): string[] {
  const { fs } = shell.guest.machine.inspect;
  const names: string[] = [];
  const walk = (path: string): void => {
    for (const name of fs.list(`/proc/sys${path}`) ?? []) {
      const at = `${path}/${name}`;
      if (fs.stat(`/proc/sys${at}`)?.kind === 'directory') walk(at);
      else names.push(at.slice(1).replaceAll('/', '.'));
    }
  };
  walk('');
  return names;
}

async function sysctlOne(
  shell: ShellContext,
  operand: string,
  bare: boolean,
  quiet: boolean,
): Promise<Result> {
  const at = operand.indexOf('=');
  const name = (at < 0 ? operand : operand.slice(0, at)).trim().replaceAll('/', '.');
  const path = `/proc/sys/${name.replaceAll('.', '/')}`;
  if (!shell.guest.exists(path)) return failed(`sysctl: cannot stat ${path}: No such file or directory`);
  if (at < 0) {
    const text = await shell.guest.read(path, 'sysctl');
    if (typeof text === 'number') return failed(`sysctl: reading key "${name}": ${errnoText(text)}`);
    return ok(bare ? text : `${name} = ${text}`);
  }
  const value = operand.slice(at + 1).trim();
  const error = await shell.guest.write(path, `${value}\n`, false, 'sysctl');
  if (error) return failed(`sysctl: setting key "${name}": ${errnoText(error.errno)}`);
  if (quiet) return ok();
  return ok(bare ? `${value}\n` : `${name} = ${value}\n`);
}

const sleep: Command = {
  name: 'sleep',
  usage: 'sleep SECONDS[ms|s|m|h]...',
  summary: 'let virtual time pass',
  run: async ({ args, shell }) => {
    if (args.length === 0) return failed('sleep: missing operand');
    let ns = 0;
    for (const arg of args) {
      const more = timeInterval(arg);
      if (more === undefined) return failed(`sleep: invalid time interval '${arg}'`);
      ns += more;
    }
    await letPass(shell, Math.round(ns));
    return ok();
  },
};

const TRY_HELP = "Try 'timeout --help' for more information.";
/** Exit statuses of timeout. */
const TIMEOUT = { expired: 124, failed: 125, notFound: 127 };

const timeout: Command = {
  name: 'timeout',
  usage: 'timeout SECONDS[ms|s|m|h] COMMAND [ARGUMENT]...',
  summary: 'run a command, and end what it has started when virtual time has passed; status 124 then',
  completes: 'commands',
  run: async ({ args: [time, name, ...args], stdin, shell }) => {
    if (time === undefined || name === undefined)
      return failed(`timeout: missing operand\n${TRY_HELP}`, TIMEOUT.failed);
    const ns = timeInterval(time);
    if (ns === undefined)
      return failed(`timeout: invalid time interval '${time}'\n${TRY_HELP}`, TIMEOUT.failed);
    const command = shell.commands.get(name);
    if (!command)
      return failed(`timeout: failed to run command '${name}': No such file or directory`, TIMEOUT.notFound);
    try {
      const limit = ns === 0 ? Number.POSITIVE_INFINITY : ns;
      return await shell.guest.within(limit, async () => command.run({ args, stdin, shell }));
    } catch (error) {
      if (!(error instanceof GuestExpired)) throw error;
      return {
        status: TIMEOUT.expired,
        stdout: error.stdout,
        stderr: error.message === '' ? '' : `timeout: ${error.message}\n`,
      };
    }
  },
};

const kill: Command = {
  name: 'kill',
  usage: 'kill [-SIGNAL] PID... | kill -l',
  summary: 'send a signal to a user task',
  completes: 'tasks',
  run: async ({ args, shell }) => {
    const [first = '', ...rest] = args;
    if (first === '-l')
      return ok(
        signalNames()
          .map((name, i) => `${i + 1}) SIG${name}\n`)
          .join(''),
      );
    const named = first === '-s' ? rest[0] : first.startsWith('-') ? first.slice(1) : undefined;
    const pids = first === '-s' ? rest.slice(1) : named === undefined ? args : rest;
    const signal = named === undefined ? 15 : signalNumber(named);
    if (signal === undefined) return failed(`${shell.self}kill: ${named}: invalid signal specification`);
    if (pids.length === 0) return failed('kill: usage: kill [-SIGNAL] PID...', 2);
    const output = new Output();
    for (const pid of pids) {
      if (!/^\d+$/.test(pid)) {
        output.error(`${shell.self}kill: ${pid}: arguments must be process or job IDs`);
        continue;
      }
      const { code } = await shell.guest.run('kill', [pid, String(signal)]);
      if (code !== 0) output.error(`${shell.self}kill: (${pid}) - ${errnoText(code ?? 0)}`);
    }
    return output.result();
  },
};

const START_NS = 1e6;

const start: Command = {
  name: 'start',
  usage: 'start PROGRAM [ARGUMENT]...',
  summary: 'start a program of the guest in the background, and print its pid',
  run: async ({ args, shell }) => {
    const [program, ...rest] = args;
    const { machine } = shell.guest;
    if (program === undefined)
      return failed(
        `start: programs are:\n${programNames()
          .map((name) => `  ${programUsage(name)}`)
          .join('\n')}`,
        2,
      );
    const wrong = programProblem(program, rest);
    if (wrong !== undefined) return failed(`start: ${wrong}`, 2);
    const task = machine.spawn(program, rest);
    const { pid } = task;
    // Long enough to come to its first sleep.
    await shell.guest.runUntil(() => false, START_NS);
    return ok(`${pid}\n`);
  },
};

const UNAME = (release: string): readonly (readonly [string, string])[] => [
  ['s', 'Linux'],
  ['n', '(none)'],
  ['r', release],
  ['v', '#1 SMP PREEMPT_DYNAMIC'],
  ['m', 'x86_64'],
  ['o', 'GNU/Linux'],
];

const uname: Command = {
  name: 'uname',
  usage: 'uname [-a] [-s] [-n] [-r] [-v] [-m] [-o]',
  summary: 'name and release of the kernel',
  run: ({ args, shell }) => {
    const names = UNAME(shell.guest.machine.inspect.core.kernel.release);
    const { flags, unknown } = parseOptions(args, ['a', ...names.map(([flag]) => flag)]);
    if (unknown) return failed(`uname: invalid option -- '${unknown.slice(1)}'`);
    const wanted = flags.size === 0 ? new Set(['s']) : flags;
    const parts = names.filter(([flag]) => wanted.has('a') || wanted.has(flag));
    return ok(`${parts.map(([, text]) => text).join(' ')}\n`);
  },
};

const constant = (name: string, status: number): Command => ({
  name,
  usage: name,
  summary: `status ${status}`,
  run: () => ({ ...ok(), status }),
});

export const SYSTEM_COMMANDS: readonly Command[] = [
  dmesg,
  ps,
  nproc,
  sysctl,
  sleep,
  timeout,
  kill,
  start,
  uname,
  constant('true', 0),
  constant('false', 1),
  constant(':', 0),
];
