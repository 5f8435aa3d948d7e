// The command line: a folder a command, whose code is executed when it is the one that is called.

import { Command, CommanderError } from 'commander';
import { addBack } from './back/command.ts';
import { addBundle } from './bundle/command.ts';
import { addCheck } from './check/command.ts';
import { addCompare } from './compare/command.ts';
import { addCompletion } from './completion/command.ts';
import { addDisas } from './disas/command.ts';
import { heedEngineOption } from './engine_option.ts';
import { EXIT, fail, watchOutput } from './exit.ts';
import { addExplore } from './explore/command.ts';
import { addGdb } from './gdb/command.ts';
import { addHelp, MODULES_SHORTLY } from './help/command.ts';
import { addKlpConvert } from './klp_convert/command.ts';
import { addLayout } from './layout/command.ts';
import { addMan } from './man/command.ts';
import { addNew } from './new/command.ts';
import { addOrc } from './orc/command.ts';
import { addDemo, addRun } from './run/command.ts';
import { EXIT_CODES } from './scenario_options.ts';
import { addSchema } from './schema/command.ts';
import { addServe } from './serve/command.ts';
import { addShellCommands } from './shell/command.ts';
import { withShippedPaths } from './shipped.ts';
import { addStack } from './stack/command.ts';
import { addSymbols } from './symbols/command.ts';
import { print, printError } from './terminal.ts';
import { addVet } from './vet/command.ts';

function program(): Command {
  const root = new Command('klpemu')
    .description('x86_64 machine-code patching emulator for kernel livepatch')
    .version(VERSION)
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\n${MODULES_SHORTLY}\n\nExamples:\n  klpemu demo\n  klpemu run fixtures/scenarios/demo.yaml`,
    );
  root.showHelpAfterError('(klpemu --help tells how)');
  addDemo(root);
  addRun(root);
  addStack(root);
  addDisas(root);
  addOrc(root);
  addBundle(root);
  addCompare(root);
  addExplore(root);
  addGdb(root);
  addBack(root);
  addShellCommands(root);
  addServe(root);
  addCheck(root);
  addVet(root);
  addSymbols(root);
  addLayout(root);
  addKlpConvert(root);
  addNew(root);
  addSchema(root);
  addCompletion(root);
  addMan(root);
  addHelp(root);
  heedEngineOption(root);
  for (const command of withSubcommands(root)) {
    command.exitOverride();
    command.configureOutput({
      writeOut: (text) => print(withShippedPaths(text)),
      writeErr: (text) => printError(withShippedPaths(text)),
      outputError: (text, write) => write(text.replace(/^error: /, 'klpemu: ')),
    });
  }
  return root;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** From package.json; a test holds it against that. */
const VERSION = '0.1.0';

export async function main(argv: readonly string[]): Promise<void> {
  watchOutput();
  try {
    await program().parseAsync(argv);
  } catch (error) {
    // Commander has printed its own.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    else fail(error, argv.includes('--json'));
  }
}

/** Programs of threads, which answer messages. */
const THREADS: Readonly<Record<string, () => Promise<unknown>>> = {
  'check/worker': () => import('./check/worker.ts'),
  'explore/worker': () => import('./explore/worker.ts'),
  'orc/worker': () => import('./orc/worker.ts'),
  'session/machine_worker': () => import('./session/machine_worker.ts'),
};
/** By which message most of what a thread executes has been compiled. */
const SETTLED = 8;

/** @param settled called once, if the thread lives so long */
export async function startThread(name: string, settled: () => void): Promise<void> {
  const { parentPort } = await import('node:worker_threads');
  let messages = 0;
  parentPort?.on('message', () => {
    if (++messages === SETTLED) settled();
  });
  await THREADS[name]?.();
}
