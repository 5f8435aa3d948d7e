// Real gdb, at a scenario: commands in, what it printed back.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** Why the tests with it are skipped; undefined where it is installed. */
export const noGdb: string | undefined =
  spawnSync('gdb', ['--version']).status === 0 ? undefined : 'gdb is not installed (apt-get install gdb)';

let isBuilt = false;
/** What is up to date is not built again. */
export function build(): void {
  if (!isBuilt)
    spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
  isBuilt = true;
}

/** Runs gdb in batch mode. @param at options of klpemu gdb @returns what each command printed */
export function gdb(
  scenario: string,
  at: string,
  commands: readonly string[],
  prepare: readonly string[] = [],
): string[] {
  return gdbAt(`fixtures/scenarios/${scenario}.yaml ${at}`, commands, prepare);
}

/** The program, in the place of which `klpemu` stands. */
export const KLPEMU = `${process.execPath} dist/cli/main.js`;

/** @param what scenario and options of klpemu gdb @param last what ends it: detached from, a scenario would go on to its end */
export function gdbAt(
  what: string,
  commands: readonly string[],
  prepare: readonly string[] = [],
  last = 'kill',
): string[] {
  build();
  const klpemu = `${KLPEMU} gdb --stdio ${what}`;
  const all = [
    ...['set pagination off', 'set confirm off', 'set width 0', 'set debuginfod enabled off'],
    // On a computer that is busy the machine comes up late.
    'set remotetimeout 300',
    ...prepare,
    `target remote | ${klpemu}`,
    ...commands.flatMap((command, i) => [`echo \\n<<${i}>>\\n`, command]),
    'echo \\n<<end>>\\n',
    last,
  ];
  const { stdout } = spawnSync(
    'sh',
    // What it prints of `monitor` goes to standard error.
    ['-c', 'exec gdb "$@" 2>&1', 'sh', '-q', '-nx', '-batch', ...all.flatMap((line) => ['-ex', line])],
    {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      maxBuffer: 1 << 28,
    },
  );
  const parts = stdout.split(/\n?<<(?:\d+|end)>>\n/);
  if (parts.length !== commands.length + 2) throw new Error(`gdb did not come to its end:\n${stdout}`);
  return parts.slice(1, -1);
}
