// klpemu up: a machine in the background that klpemu exec, why and down talk to.
//
// It is two processes: one that serves the socket and can always be spoken to, and the machine's, which may die.

import { spawn } from 'node:child_process';
import { UsageError } from '../exit.ts';
import type { ShellMachineOptions } from '../shell/options.ts';
import { print, printError } from '../terminal.ts';
import { ask, endMachine } from './client.ts';
import { MachineDied, MachineProcess } from './machine_process.ts';
import { SessionServer } from './server.ts';
import { claimName, releaseName, type SessionPaths, sessionPaths } from './socket.ts';

interface UpOptions extends ShellMachineOptions {
  readonly name: string;
  readonly foreground?: boolean;
}

/** What the process in the background tells the one that started it. */
type Told =
  | { readonly warnings: readonly string[] }
  /** @param usage it is the user's mistake */
  | { readonly error: string; readonly usage: boolean };

export async function up(options: UpOptions): Promise<void> {
  const paths = sessionPaths(options.name);
  if (options.foreground) await serve(options, paths);
  else await startInBackground(options.name);
}

async function serve(options: UpOptions, paths: SessionPaths): Promise<void> {
  try {
    await takeName(options.name, paths);
    process.on('exit', () => releaseName(paths));
    const started = MachineProcess.start(options);
    const server = new SessionServer(
      started.then(({ machine }) => machine),
      paths,
    );
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => server.close());
    await server.listen();
    const { warnings } = await started;
    if (process.connected) await tell({ warnings });
    else announce(options.name, warnings);
    await server.done;
    process.exit();
  } catch (error) {
    if (!process.connected) throw error;
    await tell({ error: (error as Error).message, usage: !(error instanceof MachineDied) });
    process.exit(1);
  }
}

/** One that has died makes place. @throws UsageError for one that is up */
async function takeName(name: string, paths: SessionPaths): Promise<void> {
  if (claimName(paths)) return;
  const dead = await isDead(name);
  if (dead) await endMachine(name);
  if (!dead || !claimName(paths))
    throw new UsageError(`a machine '${name}' is up already: klpemu down ends it`);
}

async function isDead(name: string): Promise<boolean> {
  try {
    return (await ask(name, { state: true })).failure !== undefined;
  } catch {
    return false;
  }
}

function tell(told: Told): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(told, () => {
      if (process.connected) process.disconnect();
      resolve();
    });
  });
}

function startInBackground(name: string): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1), '--foreground'], {
    detached: true,
    // Nothing of ours stays open there: whoever reads what we print would wait for its end.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.on('message', (told: Told) => {
      if ('error' in told) reject(told.usage ? new UsageError(told.error) : new MachineDied(told.error));
      else announce(name, told.warnings);
      child.disconnect?.();
      child.unref();
      resolve();
    });
    child.on('error', (error) => reject(new MachineDied(`the machine cannot be started: ${error.message}`)));
    child.on('exit', (code) => reject(new MachineDied(`the machine ended at once (exit code ${code})`)));
  });
}

function announce(name: string, warnings: readonly string[]): void {
  printError(warnings.map((line) => `${line}\n`).join(''));
  print(`${name}\n`);
}
