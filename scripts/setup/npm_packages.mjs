// @ts-check
// Whether node_modules is what package-lock.json asks for, and `npm ci` when it is not. In JavaScript: run.mjs says why.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Compares contents, not times: a checkout touches package-lock.json without changing it.
 * @param {string} root
 * @returns {string | undefined} why packages have to be installed
 */
export function whyPackagesAreStale(root) {
  const installed = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) return 'node_modules is missing';
  const have = readPackages(installed);
  for (const [path, wanted] of Object.entries(readPackages(join(root, 'package-lock.json')))) {
    if (path === '' || wanted.optional) continue;
    const found = have[path];
    if (!found || !existsSync(join(root, path, 'package.json'))) return `${path} is missing`;
    if (found.version !== wanted.version) return `${path} is ${found.version}, not ${wanted.version}`;
  }
  return undefined;
}

/** @typedef {{cwd: string, env: Record<string, string | undefined>}} Surroundings */

/**
 * @param {string} root
 * @param {{
 *   run: (command: string, args: string[], surroundings: Surroundings) => void,
 *   log: (line: string) => void,
 * }} [port]
 */
export function ensurePackages(root, { run, log } = { run: runVisibly, log: tell }) {
  const why = whyPackagesAreStale(root);
  if (!why) return;
  log(`installing npm packages (${why})`);
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  // npm of one release runs on Node of another, and what Node then deprecates is nothing to be told here.
  const surroundings = { cwd: root, env: { NODE_NO_WARNINGS: '1' } };
  const npm = process.env.npm_execpath;
  if (npm?.endsWith('.js')) run(process.execPath, [npm, ...args], surroundings);
  else run('npm', args, surroundings);
}

/**
 * Standard output belongs to the script and its --json: what npm says goes to standard error.
 * @param {string} command
 * @param {string[]} args
 * @param {Surroundings} surroundings
 */
function runVisibly(command, args, { cwd, env }) {
  const { status, signal, error } = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 2, 2],
  });
  if (status === 0) return;
  const why = error ? error.message : signal ? `ended by ${signal}` : `exit status ${status}`;
  throw new Error(`${[command, ...args].join(' ')}: ${why}`);
}

/** @param {string} line */
function tell(line) {
  console.error(`klpemu: ${line}`);
}

/**
 * @param {string} path
 * @returns {Record<string, {version?: string, optional?: boolean}>}
 */
function readPackages(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages;
}
