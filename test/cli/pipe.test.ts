// klpemu shell --pipe: a machine of one's own behind two pipes, for scripts.

import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli, ROOT } from './klpemu.ts';

let cli: Cli;
beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

describe('klpemu shell --pipe', () => {
  it('gives for each line its status, the sizes of what it printed, and that, byte for byte', () => {
    const input =
      'echo one\necho caf\u00e9\nfalse\n\nls /nowhere\nexit 5\ncat /proc/sys/kernel/ftrace_enabled';
    const { status, stdout, stderr } = cli.run(['shell', '--pipe'], { input });
    const missing = "ls: cannot access '/nowhere': No such file or directory\n";
    expect(stderr).toBe('');
    expect(stdout).toBe(
      `0 4 0\none\n0 6 0\ncaf\u00e9\n1 0 0\n1 0 0\n2 0 ${missing.length}\n${missing}5 0 0\n0 2 0\n1\n`,
    );
    expect(status).toBe(0);
  });

  it('is one process: a line stands where the one before has gone', () => {
    const { stdout } = cli.run(['shell', '--pipe'], { input: 'cd /sys/kernel\npwd\n' });
    expect(stdout).toBe('0 0 0\n0 12 0\n/sys/kernel\n');
  });

  it('goes on after a command that an oops has ended', () => {
    const input = 'modprobe klpdemo_target\nmodprobe klpdemo_bad_null\necho on\n';
    const { status, stdout } = cli.run(['shell', '--pipe'], { input });
    expect(stdout).toBe('0 0 0\n137 0 7\nKilled\n0 3 0\non\n');
    expect(status).toBe(0);
  });

  it('ends in silence when nobody reads its answers any more', () => {
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', `yes true | ${process.execPath} dist/cli/main.js shell --pipe | head -n 3`],
      { cwd: ROOT, encoding: 'utf8' },
    );
    expect({ stdout, stderr }).toEqual({ stdout: '0 0 0\n0 0 0\n0 0 0\n', stderr: '' });
  });

  it('takes no script beside', () => {
    expect(cli.run(['shell', '--pipe', '-c', 'true'])).toMatchObject({
      status: 2,
      stderr: 'klpemu: --pipe reads its commands from standard input\n',
    });
  });
});
