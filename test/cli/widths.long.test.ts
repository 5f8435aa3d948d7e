// What the commands print fits the terminal, however narrow: all but the kernel's own lines, which are as dmesg has them.

import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli, ROOT } from './klpemu.ts';

let cli: Cli;

beforeAll(() => {
  cli = new Cli();
});

afterAll(() => cli.remove());

const COMMANDS = [
  'run fixtures/scenarios/vmlinux.yaml',
  'run -v fixtures/scenarios/bad_missing.yaml',
  'bundle inspect fixtures/bundles/v1.klpb',
  'check --unwinder fp fixtures/modules/klpdemo_target.ko',
  'disas fixtures/scenarios/vmlinux.yaml cmdline_proc_show',
];

describe.skipIf(spawnSync('script', ['--version']).status !== 0)('on a terminal', () => {
  it.each(COMMANDS)('%s fits 60 columns', (command) => {
    const line = `stty cols 60; ${process.execPath} dist/cli/main.js ${command} 2> /dev/null`;
    const { stdout } = spawnSync('script', ['-qefc', line, '/dev/null'], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...cli.env, TERM: 'xterm', NO_COLOR: '1' },
    });
    const lines = stdout.split('\r\n').filter((text) => !text.startsWith('['));
    expect(lines.length).toBeGreaterThan(2);
    expect(lines.filter((text) => text.length > 60)).toEqual([]);
  });
});
