// klpemu man: pages that man(1) takes without a warning, of every command.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

const NO_MAN = spawnSync('man', ['--version']).status !== 0;
let cli: Cli;

beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

const shown = (file: string): string => {
  const { status, stdout, stderr } = spawnSync('man', ['--warnings', '-l', file], {
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '80', LC_ALL: 'C.UTF-8' },
  });
  expect({ status, stderr }, file).toEqual({ status: 0, stderr: '' });
  return stdout;
};

describe('klpemu man', () => {
  it.skipIf(NO_MAN)('makes a page of every command that man takes without a warning', () => {
    const folder = join(cli.dir, 'man');
    expect(cli.run(['man', '--all', folder])).toEqual({ status: 0, stdout: '', stderr: '' });
    const pages = readdirSync(folder);
    expect(pages).toContain('klpemu.1');
    expect(pages).toContain('klpemu-bundle-split.1');
    for (const name of ['klpemu.1', 'klpemu-run.1', 'klpemu-bundle-split.1', 'klpemu-man.1'])
      expect(shown(join(folder, name))).toMatch(/^NAME$[\s\S]*^SYNOPSIS$[\s\S]*^OPTIONS$/m);
    const run = shown(join(folder, 'klpemu-run.1'));
    expect(run).toMatch(/^ {7}klpemu-run - run a scenario/m);
    expect(run).toMatch(/^EXIT CODES$\n^ +0 {2}everything that the scenario expects was seen$/m);
    expect(run).toMatch(/^EXAMPLE$\n^ +klpemu run fixtures\/scenarios\/demo\.yaml --seed 7/m);
  });

  it('prints the page of the command that its words name', () => {
    const { status, stdout } = cli.run(['man', 'bundle', 'split']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\.TH "KLPEMU\\-BUNDLE\\-SPLIT" 1 /);
    expect(stdout).toContain('\n\\fB\\-\\-dry\\-run\\fR\n');
  });

  it('refuses what is no command', () => {
    expect(cli.run(['man', 'bundle', 'spilt'])).toEqual({
      status: 2,
      stdout: '',
      stderr: "klpemu: man: 'bundle spilt' is no command (klpemu --help)\n",
    });
  });
});
