// A machine in the background beside guests that never end, clients that say anything, and processes that die.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { Cli, type Ended, ROOT } from './klpemu.ts';

let cli: Cli;
let modules: string;
const ENDLESS = 'klpdemo_bad_init';

beforeAll(() => {
  cli = new Cli();
  modules = join(cli.dir, 'modules');
  mkdirSync(modules);
  writeFileSync(join(modules, `${ENDLESS}.ko`), endlessModule());
});
afterEach(() => {
  cli.run(['down']);
});
afterAll(() => cli.remove());

/** Behind the call of __fentry__ its init jumps to where it is. */
function endlessModule(): Buffer {
  const bytes = readFileSync(join(ROOT, `fixtures/modules/${ENDLESS}.ko`));
  const text = parseElf(new Uint8Array(bytes), ENDLESS, X86_64.elf).sections.find(
    (section) => section.name === '.init.text',
  );
  bytes.set([0xeb, 0xfe], Number(text?.offset) + 5);
  return bytes;
}

const socket = (): string => join(cli.dir, 'klpemu-default.sock');

/** What is answered to some bytes, up to a whole line, the end of the connection or a moment without more. */
function say(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const client = connect(socket());
    client.on('error', reject);
    client.on('data', (chunk) => {
      heard += chunk;
      if (heard.endsWith('\n')) client.destroy();
    });
    client.on('close', () => resolve(heard));
    client.write(bytes);
    setTimeout(() => client.destroy(), SILENCE_MS);
  });
}
const SILENCE_MS = 5000;

/** Waits until the machine is at a command. */
async function untilBusy(): Promise<void> {
  while (!(await say('{"state":true}\n')).includes('"busy":true'))
    await new Promise((resolve) => setTimeout(resolve, 20));
}

const up = (...args: string[]): void => {
  expect(cli.run(['up', '--dir', modules, ...args])).toEqual({ status: 0, stdout: 'default\n', stderr: '' });
};
const pids = (): { server: number; machine: number } => {
  const server = Number(readFileSync(join(cli.dir, 'klpemu-default.pid'), 'latin1').split(' ')[0]);
  const children = readFileSync(`/proc/${server}/task/${server}/children`, 'latin1').trim().split(' ');
  return { server, machine: Number(children[0]) };
};
const alive = (pid: number): boolean =>
  existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));

/** The machine's process ends by itself once the one that serves it is gone: soon, not at the same moment. */
async function gone(...processes: readonly number[]): Promise<void> {
  while (processes.some(alive)) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('a guest that never ends', () => {
  it('is given up by Ctrl-C of its client, which says where it is; the machine can be looked at and used', async () => {
    up();
    let told: Ended;
    do {
      const { child, ended } = cli.start(['exec', '--', 'modprobe', ENDLESS]);
      await untilBusy();
      await new Promise((resolve) => setTimeout(resolve, 300));
      child.kill('SIGINT');
      told = await ended;
      // Empty when it was still on its way to its init.
    } while (told.stderr === '');
    const { status, stderr } = told;
    expect(status).toBe(130);
    expect(stderr).toMatch(
      /^modprobe: interrupted, but pid \d+ goes on in the kernel, where no signal reaches it; /,
    );
    expect(stderr).toContain(`${ENDLESS}_init+0x5/`);
    expect(cli.run(['exec', 'stack modprobe']).stdout).toContain(`${ENDLESS}_init+0x5/`);
    expect(cli.run(['exec', 'echo on; uname']).stdout).toBe('on\nLinux\n');
  });

  it('is interrupted when its client dies, and what waits behind it gets its turn', async () => {
    up();
    const { child } = cli.start(['exec', '--', 'modprobe', ENDLESS]);
    await untilBusy();
    const second = cli.start(['exec', 'echo', 'second']);
    child.kill('SIGKILL');
    expect(await second.ended).toEqual({ status: 0, stdout: 'second\n', stderr: '' });
  });

  it('does not keep `down` from ending the machine, and whoever waits is told', async () => {
    up();
    const { machine, server } = pids();
    const { ended } = cli.start(['exec', '--', 'modprobe', ENDLESS]);
    await untilBusy();
    expect(cli.run(['down'])).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(await ended).toMatchObject({ status: 3 });
    await gone(machine, server);
  });

  it('is given up at the limit of instructions, and that is said', () => {
    up('--limit', '300000');
    const { status, stderr } = cli.run(['exec', '--', 'modprobe', ENDLESS]);
    expect(status).toBe(124);
    expect(stderr).toMatch(
      /^modprobe: has not ended after 300,000 instructions \(--limit sets how many\); pid \d+ goes on/,
    );
    expect(cli.run(['exec', 'start spin; sleep 100']).stderr).toBe(
      'sleep: given up after 300,000 instructions (--limit sets how many)\n',
    );
    expect(cli.run(['exec', 'uname']).stdout).toBe('Linux\n');
    expect(
      cli.run(['shell', '--dir', modules, '--limit', '300000', '-c', `modprobe ${ENDLESS}; uname`]),
    ).toMatchObject({
      status: 0,
      stdout: 'Linux\n',
    });
  });
});

describe('a machine that dies', () => {
  it('says why to who waits, to those that come, and until another one takes its place', async () => {
    up();
    const { ended } = cli.start(['exec', '--', 'modprobe', ENDLESS]);
    await untilBusy();
    process.kill(pids().machine, 'SIGSEGV');
    const stderr =
      'klpemu: the machine is gone: its process was ended by SIGSEGV (the engine went where it must not)\n';
    expect(await ended).toEqual({ status: 3, stdout: '', stderr });
    expect(cli.run(['exec', 'true'])).toEqual({ status: 3, stdout: '', stderr });
    expect(cli.run(['why'])).toEqual({ status: 3, stdout: '', stderr });
    up();
    expect(cli.run(['exec', 'true']).status).toBe(0);
  });

  it('says so too when the process that served it was killed', () => {
    up();
    const { server, machine } = pids();
    process.kill(server, 'SIGKILL');
    const gone =
      /^klpemu: the machine 'default' is gone: its process \(\d+\) was killed by somebody, or because/;
    for (let i = 0; i < 2; i++) {
      const { status, stderr } = cli.run(['exec', 'true']);
      expect([status, gone.test(stderr)]).toEqual([3, true]);
    }
    expect(alive(machine)).toBe(false);
    expect(cli.run(['down'])).toMatchObject({ status: 0, stderr: expect.stringMatching(/^klpemu: note: /) });
    expect(cli.run(['down']).status).toBe(2);
  });

  it('by a panic of its kernel keeps saying so, and its log can be read', () => {
    up();
    const { status, stderr } = cli.run(['exec', 'echo before; kill -9 1; sleep 1; echo never']);
    expect([status, stderr]).toEqual([3, expect.stringContaining('Attempted to kill init!')]);
    const log = cli.run(['exec', 'dmesg']);
    expect([log.status, log.stdout]).toEqual([3, expect.stringContaining('Kernel panic - not syncing')]);
    expect(cli.run(['exec', 'uname; cat /proc/cmdline'])).toMatchObject({ status: 3, stdout: 'Linux\n' });
  });

  it('that does not answer is ended by force after five seconds', async () => {
    up();
    const { server, machine } = pids();
    process.kill(server, 'SIGSTOP');
    expect(cli.run(['down'])).toEqual({
      status: 0,
      stdout: '',
      stderr: "klpemu: note: the machine 'default' did not answer; its process was killed\n",
    });
    await gone(server, machine);
  });
});

describe('the socket', () => {
  it('takes any line, answers what is none of its requests with a reason, and the machine goes on', async () => {
    up();
    cli.run(['exec', 'echo kept > /tmp/kept']);
    const lines = [
      '5',
      'null',
      '[]',
      '"x"',
      '{}',
      'x',
      '',
      '{"line":5}',
      '{"words":"x"}',
      '{"words":[1]}',
      '{"pipe":1}',
    ];
    lines.push('{"words":["true"],"put":5}', '{"words":["true"],"put":{"from":"/etc/passwd","to":"/x"}}');
    for (const line of lines)
      expect([line, await say(`${line}\n`)]).toEqual([line, expect.stringMatching(/^\{"error":".+"\}\n$/)]);
    expect(await say('{"line":"echo one"}\n{"line":')).toMatch(/"stdout":"one\\n"/);
    expect(await say(`{"words":["cat","/tmp/put"],"put":{"bytes":"aGk=","to":"/tmp/put"}}\n`)).toMatch(
      /"stdout":"hi"/,
    );
    const word = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom('{"words":["true"],"put":null}', '{"interrupt":true}', '\x03'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 5 }), async (said) => {
        // Each ends with something that is answered.
        await say(`${said.join('\n')}\n5\n{"pipe":true}\ntrue\n`);
      }),
      { numRuns: 25 },
    );
    expect(cli.run(['exec', 'cat /tmp/kept'])).toEqual({ status: 0, stdout: 'kept\n', stderr: '' });
  });

  it('is for its owner alone, whatever the umask is', () => {
    const before = process.umask(0);
    try {
      up();
    } finally {
      process.umask(before);
    }
    expect((statSync(socket()).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(join(cli.dir, 'klpemu-default.pid')).mode & 0o777).toString(8)).toBe('600');
  });

  it('is not put into a folder that others can reach, that is none, or whose path is too long', () => {
    const at = (XDG_RUNTIME_DIR: string) => cli.run(['up'], { env: { XDG_RUNTIME_DIR } });
    const open = join(cli.dir, 'open');
    mkdirSync(open, { mode: 0o755 });
    chmodSync(open, 0o755);
    expect(at(open)).toMatchObject({
      status: 2,
      stderr: `klpemu: XDG_RUNTIME_DIR cannot be used: ${open} is open to others (mode 755; it must be 700)\n`,
    });
    writeFileSync(join(cli.dir, 'file'), '');
    expect(at(join(cli.dir, 'file'))).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^klpemu: .* is no directory\n$/),
    });
    expect(at('/proc/none/x')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^klpemu: XDG_RUNTIME_DIR cannot be used: .*\n$/),
    });
    const long = join(cli.dir, 'd'.repeat(80));
    mkdirSync(long, { mode: 0o700 });
    expect(at(long)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/bytes are too long for a socket \(at most 107\)/),
    });
    const temporary = join(cli.dir, 'tmp');
    mkdirSync(temporary);
    symlinkSync(long, join(temporary, `klpemu-${process.getuid?.()}`));
    const linked = cli.run(['up'], { env: { XDG_RUNTIME_DIR: '', TMPDIR: temporary } });
    expect(linked).toMatchObject({ status: 2, stderr: expect.stringMatching(/is no directory\n$/) });
  });

  it('is one for a name: of two that are started at once, one is refused', async () => {
    const both = await Promise.all([cli.start(['up']).ended, cli.start(['up']).ended]);
    expect(both.map(({ status }) => status).sort()).toEqual([0, 2]);
    expect(both.map(({ stderr }) => stderr).sort()).toEqual([
      '',
      "klpemu: a machine 'default' is up already: klpemu down ends it\n",
    ]);
  });
});
