// Text of others on a terminal: shown, never obeyed.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { colorsFor, visible } from '../../src/cli/terminal.ts';
import { Cli, ROOT } from './klpemu.ts';

let cli: Cli;
beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

/** Control characters but for newlines and tabs; those of Unicode that turn the direction of writing are the same. */
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/** A scenario whose every word is hostile: its name, a path, a file, a key, a task, what is expected. */
const RED = '\\e[31m';
const SCENARIO = `name: "esc ${RED}name"
about: "\\e]0;title\\a and \\x9b31m and \\u202e"
machine: { cpus: 1 }
files: { "/tmp/${RED}file": { text: "\\e[2J\\x9b2J" } }
tasks: [{ name: "t${RED}", comm: "c${RED}", program: sleep, args: [100] }]
steps:
  - { write: "\\e[31mprintk\\a", to: /dev/kmsg }
  - { read: "/tmp/${RED}file" }
  - { read: "/proc/cmdl${RED}ine", exit: 1 }
expect: { dmesg: "zzz${RED}", alive: "nobody${RED}" }
`;

describe('what is printed', () => {
  it('shows control characters by their numbers, and colours that are ours as colours', () => {
    expect(visible('a\x1b[31mb\x07\r\n\tc\x7f\x9b\u202e')).toBe(
      'a\\x1b[31mb\\x07\\x0d\n\tc\\u007f\\u009b\\u202e',
    );
    const before = process.env.TERM;
    process.env.TERM = 'xterm';
    const { red, bold } = colorsFor({ isTTY: true });
    process.env.TERM = before;
    expect(visible(bold(`x${red('\x1b[0my')}z`))).toBe('\x1b[1mx\x1b[31m\\x1b[0my\x1b[39mz\x1b[22m');
    expect(visible(colorsFor({}).red('x'))).toBe('x');
  });

  it('holds no control character, whatever the text is', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !CONTROL.test(visible(text))));
  });

  it('keeps the JSON that it was', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        (text) => JSON.parse(visible(JSON.stringify([text])))[0] === text,
      ),
    );
  });

  it.each([
    ['run', []],
    ['run', ['--json']],
    ['run', ['--trace', '-']],
    ['stack', []],
    ['compare', []],
    ['check', []],
    ['orc', []],
    ['bundle', ['inspect']],
    ['frob\x1b[31m', []],
  ] as const)('by klpemu %s %j of a scenario full of them is plain', (command, options) => {
    const file = join(cli.dir, 'esc\x1b[31m.yaml');
    writeFileSync(file, SCENARIO);
    const args = command === 'bundle' ? [command, ...options, file] : [command, file, ...options];
    const { stdout, stderr } = cli.run(args);
    expect(stdout + stderr).toMatch(/\\x1b\[31m|\\u001b\[31m/);
    expect(CONTROL.exec(stdout + stderr)).toBeNull();
  });

  it.each([
    '\x1b[31mkey: 1\n',
    '"\\e[31mkey": 1\n',
    'steps: [{ "lo\\e[31mad": x }]\n',
    'steps: [{ load: "\\e[31m" }]\n',
  ])('of errors in a scenario is plain: %j', (text) => {
    const file = join(cli.dir, 'bad.yaml');
    writeFileSync(file, text);
    for (const options of [[], ['--json']]) {
      const { status, stdout, stderr } = cli.run(['run', file, ...options]);
      expect(status).toBe(2);
      expect(CONTROL.exec(stdout + stderr)).toBeNull();
    }
  });

  it('is byte for byte what a command of the guest gave where a program reads it, and the log is as dmesg prints it', () => {
    const script = `echo $'<3>\\e[31mlog' > /dev/kmsg; dmesg -t | tail -1; echo $'\\e[31mraw'`;
    expect(cli.run(['shell', '-c', script]).stdout).toBe('\\x1b[31mlog\n\x1b[31mraw\n');
  });

  it.skipIf(spawnSync('script', ['--version']).status !== 0)(
    'is plain on a terminal, also of a command of the guest',
    () => {
      const command = `${process.execPath} dist/cli/main.js shell -c "echo \\$'a\\\\e[31mb\\\\x9bc'; cat \\$'/\\\\e[2J'; clear"`;
      const { stdout } = spawnSync('script', ['-qefc', command, '/dev/null'], {
        cwd: ROOT,
        encoding: 'latin1',
        env: { ...cli.env, TERM: 'xterm' },
      });
      const [text] = stdout.split('\x1b[H\x1b[2J\x1b[3J');
      expect(text).toContain('a\\x1b[31mb');
      expect(text).toContain('cat: /\\x1b[2J: No such file or directory');
      expect(text).not.toContain('\x1b');
      expect(stdout).toContain('\x1b[H\x1b[2J\x1b[3J');
    },
  );

  it('goes through one place: no other file of the command line writes to a stream', () => {
    const folder = join(ROOT, 'src/cli');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    const writers = files.filter((file) =>
      /\bprocess\.std(?:out|err)\.write\(|\bconsole\./.test(readFileSync(join(folder, file), 'utf8')),
    );
    // exec --pipe passes answers on to a script.
    expect(writers.sort()).toEqual(['session/exec.ts', 'terminal.ts']);
  });
});

describe('a full disk', () => {
  it.each([[['--help']], [['run', 'fixtures/scenarios/smallest.yaml']], [['shell', '-c', 'echo text']]])(
    'as the output of %j is one line and exit code 2',
    (args) => {
      const { status, stderr } = spawnSync(
        '/bin/sh',
        ['-c', `"$0" dist/cli/main.js "$@" > /dev/full`, process.execPath, ...args],
        {
          cwd: ROOT,
          encoding: 'utf8',
        },
      );
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: 'klpemu: standard output: no space left on device\n',
      });
    },
  );

  it('under a file that is to be written is the same, and names the file', () => {
    const patch = 'fixtures/modules/klpdemo_patch_local.ko';
    expect(cli.run(['klp-convert', patch, '/dev/full'])).toMatchObject({
      status: 2,
      stderr: 'klpemu: /dev/full: no space left on device\n',
    });
    expect(cli.run(['run', 'fixtures/scenarios/smallest.yaml', '-q', '--trace', '/dev/full'])).toMatchObject({
      status: 2,
      stderr: 'klpemu: /dev/full: no space left on device\n',
    });
  });
});
