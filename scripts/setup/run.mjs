// Runs a program for the setup scripts: its failure is an exception that names it.

import { spawnSync } from 'node:child_process';

export class CommandError extends Error {
  code = 'ECOMMAND';
}

/**
 * Shows what it prints.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: Record<string, string | undefined>, quiet?: boolean}} [options]
 */
export function run(command, args, options = {}) {
  // Standard output belongs to the demo and its --json: what setup has to say goes to standard error.
  start(command, args, options, options.quiet ? 'ignore' : ['ignore', 2, 2]);
}

/**
 * Returns what it prints. What it complains of is seen only in the exception: a step that is tried in two ways, and
 * works in the second, has nothing to complain of.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: Record<string, string | undefined>}} [options]
 * @returns {string}
 */
export function capture(command, args, options = {}) {
  return start(command, args, options, ['ignore', 'pipe', 'pipe']);
}

function start(command, args, options, stdio) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
    stdio,
  });
  if (status === 0) return stdout ?? '';
  const why = error ? error.message : signal ? `ended by ${signal}` : `exit status ${status}`;
  const said = (stderr ?? '').trim().split('\n').slice(-5).join('\n');
  throw new CommandError(`${[command, ...args].join(' ')}: ${why}${said ? `\n${said}` : ''}`);
}
