// klpemu up: a machine in the background that klpemu exec, why and down talk to.

import { spawn } from 'node:child_process';
import { UsageError } from './exit.ts';
import { connectTo, SessionServer } from './session.ts';
import { bootShell, type ShellMachineOptions } from './shell_options.ts';

export interface UpOptions extends ShellMachineOptions {
  readonly name: string;
  readonly foreground?: boolean;
}

/** What the process in the background tells the one that started it. */
type Told = { readonly warnings: readonly string[] } | { readonly error: string };

export async function up(options: UpOptions): Promise<void> {
  const running = await connectTo(options.name);
  if (running) {
    running.destroy();
    throw new UsageError(`a machine '${options.name}' is up already: klpemu down ends it`);
  }
  if (options.foreground) await serve(options);
  else await startInBackground(options.name);
}

async function serve(options: UpOptions): Promise<void> {
  const tell = (told: Told): void => {
    process.send?.(told);
    if (process.connected) process.disconnect();
  };
  try {
    const warnings: string[] = [];
    const shell = await bootShell(options, (line) => warnings.push(line));
    const server = new SessionServer(shell, options.name);
    await server.listen();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => server.close());
    if (process.connected) tell({ warnings });
    else announce(options.name, warnings);
    await server.done;
    shell.context.guest.machine.close();
    process.exit();
  } catch (error) {
    if (!process.connected) throw error;
    tell({ error: (error as Error).message });
    process.exit(1);
  }
}

function startInBackground(name: string): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1), '--foreground'], {
    detached: true,
    // Nothing of ours stays open there: whoever reads what we print would wait for its end.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.on('message', (told: Told) => {
      if ('error' in told) reject(new UsageError(told.error));
      else announce(name, told.warnings);
      child.disconnect?.();
      child.unref();
      resolve();
    });
    child.on('exit', (code) => reject(new UsageError(`the machine ended at once (exit code ${code})`)));
  });
}

function announce(name: string, warnings: readonly string[]): void {
  process.stderr.write(warnings.map((line) => `${line}\n`).join(''));
  process.stdout.write(`${name}\n`);
}
