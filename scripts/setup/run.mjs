// Runs a program for the setup scripts: its output is shown, its failure is an exception that names it.

import { spawnSync } from 'node:child_process';

export class CommandError extends Error {
  code = 'ECOMMAND';
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: Record<string, string | undefined>, quiet?: boolean}} [options]
 */
export function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    // Standard output belongs to the demo and its --json: what setup has to say goes to standard error.
    stdio: options.quiet ? 'ignore' : ['ignore', 2, 2],
  });
  if (status === 0) return;
  const why = error ? error.message : signal ? `ended by ${signal}` : `exit status ${status}`;
  throw new CommandError(`${[command, ...args].join(' ')}: ${why}`);
}
