// klpemu completion, in the shells themselves; one that is not installed is skipped.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

const isThere = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;
let cli: Cli;

beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

/** What the shell prints of a script, in which $COMPLETION is the file that the program printed for it. */
function inShell(shell: string, script: string): string[] {
  const { status, stdout } = cli.run(['completion', shell]);
  expect(status).toBe(0);
  const file = join(cli.dir, `completion.${shell}`);
  writeFileSync(file, stdout);
  const ended = spawnSync(shell, ['-c', script], {
    encoding: 'utf8',
    env: { ...process.env, COMPLETION: file, HOME: cli.dir },
  });
  expect({ status: ended.status, stderr: ended.stderr }).toEqual({ status: 0, stderr: '' });
  return ended.stdout.split('\n').filter(Boolean);
}

describe('bash', () => {
  const complete = (...words: string[]): string[] =>
    inShell(
      'bash',
      `source "$COMPLETION"; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); ` +
        `COMP_CWORD=${words.length - 1}; _klpemu; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );

  it('completes commands, and those below them', () => {
    expect(complete('klpemu', 'bu')).toEqual(['bundle']);
    expect(complete('klpemu', 'bundle', 's')).toEqual(['split', 'submodules']);
    expect(complete('klpemu', 'help', 'comp')).toEqual(['compare', 'completion']);
  });

  it('completes options of the command that is typed, and values where they are few', () => {
    expect(complete('klpemu', 'run', 'x.yaml', '--see')).toEqual(['--seed']);
    expect(complete('klpemu', 'symbols', '--see')).toEqual([]);
    expect(complete('klpemu', 'run', '--engine', '')).toEqual(['core', 'unicorn']);
    expect(complete('klpemu', 'completion', 'z')).toEqual(['zsh']);
  });

  it('leaves the rest to names of files', () => {
    expect(complete('klpemu', 'run', '')).toEqual([]);
  });
});

describe.skipIf(!isThere('fish'))('fish', () => {
  const complete = (line: string): string[] =>
    inShell('fish', `source "$COMPLETION"; complete -C '${line}'`).map((row) => row.split('\t')[0]);

  it('completes commands, options and values', () => {
    expect(complete('klpemu bundle spl')).toEqual(['split']);
    expect(complete('klpemu run x.yaml --see')).toEqual(['--seed']);
    expect(complete('klpemu run --engine ')).toEqual(['core', 'unicorn']);
  });
});

describe.skipIf(!isThere('zsh'))('zsh', () => {
  it('takes it as the completion of klpemu', () => {
    const script =
      'autoload -Uz compinit; compinit -u -D; source "$COMPLETION"; print $_comps[klpemu]; whence -w _klpemu_bundle_split';
    expect(inShell('zsh', script)).toEqual(['_klpemu', '_klpemu_bundle_split: function']);
  });
});

it('refuses a shell that it does not know', () => {
  expect(cli.run(['completion', 'csh'])).toEqual({
    status: 2,
    stdout: '',
    stderr: "klpemu: completion: 'csh' is none of bash, zsh, fish\n",
  });
});
