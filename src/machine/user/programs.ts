// What programs of user tasks there are (asm/x86_64/user), and what arguments each takes: who starts one that would read what
// is not there is told so before. A test holds the table to the image.

import { nearest } from '../../kernel/nearest.ts';

/** As the head of each program says: names in brackets may be left out, `..` may be many. */
const USAGES: Readonly<Record<string, string>> = {
  cat: 'PATH',
  clone_vm: '',
  copy: 'PATH TO',
  crash: 'N',
  echo: 'TEXT PATH',
  fork_pointer: '',
  fork_reader: 'PATH MS [ROUNDS]',
  forker: 'MS [ROUNDS]',
  head: 'PATH LINES',
  hold_paused: 'PATH [PARAMETERS [MEMBER..]]',
  insmod: 'PATH [PARAMETERS [FLAGS]]',
  insmod_nonblock: 'PATH',
  kill: 'PID SIGNAL',
  load_paused: 'PATH',
  modprobe: 'NAME [FILE..]',
  modprobe_paused: 'PATH [PARAMETERS [MEMBER..]]',
  pause: '',
  reader: 'PATH MS [ROUNDS]',
  rmmod: 'NAME [FORCE]',
  rmmod_wait: 'NAME',
  sleep: 'MS [ROUNDS]',
  spin: '',
  syscalls: '',
  write: 'PATH FLAGS',
  yield: '',
};

/** Those that are decimal numbers. */
const NUMBERS = ['MS', 'ROUNDS', 'LINES', 'N', 'PID', 'SIGNAL', 'FLAGS'];

export function programNames(): string[] {
  return Object.keys(USAGES);
}

/** `reader PATH MS [ROUNDS]` */
export function programUsage(name: string): string {
  return `${name} ${USAGES[name] ?? ''}`.trimEnd();
}

/** What is wrong with a program and its arguments; undefined when nothing is. */
export function programProblem(name: string, args: readonly string[]): string | undefined {
  if (!Object.hasOwn(USAGES, name)) return noProgram(name, programNames());
  const words = USAGES[name].split(' ').filter(Boolean);
  const needed = words.filter((word) => !word.startsWith('[')).length;
  const most = words.at(-1)?.includes('..') ? Number.POSITIVE_INFINITY : words.length;
  const usage = `usage: ${programUsage(name)}`;
  if (args.length < needed) return `program ${name}: ${words[args.length]} is missing; ${usage}`;
  if (args.length > most) return `program ${name}: '${args[most]}' is one argument too many; ${usage}`;
  for (const [i, arg] of args.entries()) {
    const word = words[i]?.replace(/[[\].]/g, '') ?? '';
    if (NUMBERS.includes(word) && !/^\d{1,15}$/.test(arg))
      return `program ${name}: ${word} must be a whole number, not '${arg}'; ${usage}`;
  }
  return undefined;
}

/** PARAMETERS that are left out are an empty string, as tools pass it: the kernel reads it in any case. */
export function argumentsOf(name: string, args: readonly string[]): readonly string[] {
  const at = USAGES[name]?.split(' ').findIndex((word) => word.startsWith('[PARAMETERS')) ?? -1;
  return at === args.length ? [...args, ''] : args;
}

export function noProgram(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  const hint = near === undefined ? `there are: ${known.join(' ')}` : `did you mean '${near}'?`;
  return `no program '${name}'; ${hint}`;
}
