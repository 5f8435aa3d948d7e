// The commands that drive a machine by hand or from a script, as a user starts them.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
let dir: string;
let env: NodeJS.ProcessEnv;

beforeAll(() => {
  spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
  dir = mkdtempSync(join(tmpdir(), 'klpemu-shell-'));
  env = { ...process.env, XDG_RUNTIME_DIR: dir };
});
afterAll(() => {
  klpemu(['down']);
  rmSync(dir, { recursive: true, force: true });
});

function klpemu(args: readonly string[], input?: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env,
    input: input ?? '',
  });
  return { status, stdout, stderr };
}

describe('klpemu shell', () => {
  it('runs a script from its standard input and ends with the status of its last command', () => {
    const script = 'modprobe klpdemo_patch_vmlinux\nsleep 2 # of the machine\ncat /proc/cmdline\nfalse\n';
    expect(klpemu(['shell'], script)).toEqual({
      status: 1,
      stdout: 'klpdemo: this command line was livepatched\n',
      stderr: '',
    });
  });

  it('runs a file of commands, ends where it is told to, and names lines in errors', () => {
    const file = join(dir, 'script');
    writeFileSync(file, 'echo one\nnothing-like-this\nexit 7\necho two\n');
    expect(klpemu(['shell', file])).toEqual({
      status: 7,
      stdout: 'one\n',
      stderr: 'klpemu: line 2: nothing-like-this: command not found\n',
    });
    expect(klpemu(['shell', '-e', file])).toMatchObject({ status: 127, stdout: 'one\n' });
    expect(klpemu(['shell', join(dir, 'none')]).status).toBe(2);
  });

  it('takes its modules from the directories it is given', () => {
    const empty = mkdtempSync(join(dir, 'empty-'));
    expect(klpemu(['shell', '--dir', empty, '-c', 'modprobe klpdemo_target']).stderr).toMatch(
      /not found in directory/,
    );
    expect(klpemu(['shell', '--dir', join(dir, 'none'), '-c', 'true'])).toMatchObject({
      status: 2,
      stderr: `klpemu: ${join(dir, 'none')}: no such directory\n`,
    });
    expect(klpemu(['shell', '--cpus', '65', '-c', 'true']).status).toBe(2);
  });

  it('gives text that is not ASCII through unharmed', () => {
    expect(klpemu(['shell', '-c', "echo 'gr\u00fc\u00df dich \u2713' > /tmp/f; cat /tmp/f"]).stdout).toBe(
      'gr\u00fc\u00df dich \u2713\n',
    );
  });

  it('stops with what the kernel said when it panics', () => {
    const { status, stderr } = klpemu(['shell', '-c', 'kill -9 1; sleep 1; echo never']);
    expect(status).toBe(3);
    expect(stderr).toMatch(/Attempted to kill init!/);
  });
});

describe('klpemu up', () => {
  it('keeps a machine between commands, under a name that only one can have', () => {
    expect(klpemu(['up'])).toEqual({ status: 0, stdout: 'default\n', stderr: '' });
    expect(klpemu(['up'])).toMatchObject({
      status: 2,
      stderr: "klpemu: a machine 'default' is up already: klpemu down ends it\n",
    });
    expect(klpemu(['exec', '--', 'modprobe', 'klpdemo_patch_vmlinux'])).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    });
    expect(klpemu(['exec', 'sleep 2; cat /proc/cmdline; cat /none'])).toEqual({
      status: 1,
      stdout: 'klpdemo: this command line was livepatched\n',
      stderr: 'cat: /none: No such file or directory\n',
    });
    expect(klpemu(['exec', '--', 'echo', '$?', '>', '/x'])).toMatchObject({ stdout: '$? > /x\n' });
    expect(klpemu(['exec', 'exit 9']).status).toBe(9);
    // Each is a process of its own.
    expect(klpemu(['exec', 'cd /sys/kernel; pwd']).stdout).toBe('/sys/kernel\n');
    expect(klpemu(['exec', 'pwd']).stdout).toBe('/\n');
    expect(klpemu(['exec', 'true']).status).toBe(0);
    expect(klpemu(['why']).stdout).toBe('no transition is under way\n');
    expect(klpemu(['why', '--json']).stdout).toBe('null\n');
    expect(klpemu(['exec']).status).toBe(2);
  });

  it('answers a script line by line through one connection', async () => {
    const child = spawn(process.execPath, ['dist/cli/main.js', 'exec', '--pipe'], { cwd: ROOT, env });
    let stdout = '';
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      stdout += text;
    });
    child.stdin.end("echo 'a b'\ncat /none\n(\nexit 3\nsysctl -n kernel.ostype\n");
    const status = await new Promise((resolve) => child.on('close', resolve));
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        '0 4 0\na b\n',
        '1 0 38\ncat: /none: No such file or directory\n',
        "2 0 41\nklpemu: `(': a subshell is not supported\n",
        '3 0 0\n',
        '0 6 0\nLinux\n',
      ].join(''),
    );
  });

  it('is gone after down, and says so', () => {
    expect(klpemu(['down'])).toEqual({ status: 0, stdout: '', stderr: '' });
    for (const args of [['down'], ['exec', 'true'], ['why'], ['exec', '--pipe']]) {
      expect(klpemu(args)).toMatchObject({
        status: 2,
        stderr: "klpemu: no machine 'default' is up: klpemu up starts one\n",
      });
    }
    expect(klpemu(['exec', '--name', '../x', 'true']).status).toBe(2);
  });
});
