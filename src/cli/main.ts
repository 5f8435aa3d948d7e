#!/usr/bin/env node
// Starts the program, in a process or in one of its threads, with the code that V8 compiled of it when the same command
// or a thread of the same kind was first executed.
//
// The program is one file, whose name the build puts in here. It makes this one for the process, and once for each kind
// of thread, in CommonJS: Node's loader of other modules would take longer than all that is done here.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { compileLoopsAtOnce, keepBytecode, raiseBytecodeBudget } from '../guest/v8_budgets.ts';
import { CompiledCode } from './compiled_code.ts';
import type { main, startThread } from './program.ts';

/** File of the program, in dist/cli: its name has the hash of what is in it. */
declare const PROGRAM: string;
/** Which thread, such as check/worker; empty for the process. */
declare const THREAD: string;

interface Program {
  readonly main: typeof main;
  readonly startThread: typeof startThread;
}

/** dist/cli. */
const HERE = join(
  __dirname,
  ...THREAD.split('/')
    .slice(1)
    .map(() => '..'),
);

/** Under which name the code of a command is kept, undefined when it is none by its looks. */
function nameOf([command, ...args]: readonly string[]): string | undefined {
  // What is compiled to show it is little of the command, and nearly the same for all.
  if (args.includes('--help') || args.includes('-h')) return 'help_option';
  if (command === undefined || command.startsWith('-')) return 'no_command';
  return /^[a-z][a-z-]{0,30}$/.test(command) ? command : undefined;
}

function load(name: string | undefined): { program: Program; keepCode: () => void } {
  const filename = join(HERE, PROGRAM);
  const code =
    name === undefined ? undefined : new CompiledCode(join(HERE, '../../.cache/code'), PROGRAM, name);
  const cachedData = code?.read();
  // A function of (module, require, PROGRAM_URL), in ASCII.
  const script = new Script(readFileSync(filename, 'latin1'), {
    filename,
    ...(cachedData ? { cachedData } : {}),
  });
  const isKept = cachedData !== undefined && !script.cachedDataRejected;
  const module = { exports: {} };
  script.runInThisContext()(module, require, pathToFileURL(filename).href);
  return {
    program: module.exports as Program,
    keepCode: () => {
      if (!isKept) code?.keep(script.createCachedData());
    },
  };
}

/** Commands, and threads, that are mostly long loops over instructions. */
const OF_LOOPS: ReadonlySet<string | undefined> = new Set(['check', 'orc', 'check/worker', 'orc/worker']);
/** Those of many small ones. */
const OF_MANY: ReadonlySet<string | undefined> = new Set(['shell']);

raiseBytecodeBudget(OF_MANY.has(THREAD || process.argv[2]));
keepBytecode();
if (OF_LOOPS.has(THREAD || process.argv[2])) compileLoopsAtOnce();
if (THREAD) {
  const { program, keepCode } = load(THREAD.replaceAll('/', '_'));
  void program.startThread(THREAD, keepCode);
} else {
  const { program, keepCode } = load(nameOf(process.argv.slice(2)));
  // Bad usage may be that of a word that is no command, and is not what a command compiles.
  process.once('exit', (status) => {
    if (status !== 2) keepCode();
  });
  void program.main(process.argv);
}
