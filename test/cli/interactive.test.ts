// The shell on a terminal: what keys do. The terminal is that of script(1), from util-linux.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildProgram } from '../built_program.ts';

const ROOT = join(import.meta.dirname, '../..');
const hasTerminal = spawnSync('script', ['--version']).status === 0;
let dir: string;
let child: ChildProcess;
let seen: string;
let ended: Promise<number | null>;

/** Waits until a text has come, and forgets all up to its end. Long: other tests may keep the CPUs busy. */
async function until(text: string, ms = 240_000): Promise<string> {
  const end = Date.now() + ms;
  for (;;) {
    const at = seen.indexOf(text);
    if (at >= 0) {
      const before = seen.slice(0, at);
      seen = seen.slice(at + text.length);
      return before;
    }
    if (Date.now() > end)
      throw new Error(`${JSON.stringify(text)} has not come, but ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Types a text, and sees it appear: keys that come together are taken for a paste, in which Tab is a character. */
async function type(text: string): Promise<void> {
  child.stdin?.write(text);
  await until(text);
}
const press = (key: string): void => void child.stdin?.write(key);
const TAB = '\t';
const ENTER = '\r';
const UP = '\x1b[A';
const CONTROL_C = '\x03';
const PROMPT = '#';

describe.skipIf(!hasTerminal)('klpemu shell on a terminal', () => {
  beforeEach(async () => {
    buildProgram();
    dir = mkdtempSync(join(tmpdir(), 'klpemu-terminal-'));
    seen = '';
    const command = `${process.execPath} dist/cli/main.js shell`;
    const env = { ...process.env, XDG_STATE_HOME: dir, NO_COLOR: '1', TERM: 'xterm' };
    child = spawn('script', ['-qefc', command, '/dev/null'], { cwd: ROOT, env });
    child.stdout?.setEncoding('latin1').on('data', (text: string) => {
      seen += text;
    });
    ended = new Promise((resolve) => child.on('close', resolve));
    await until(PROMPT);
  });
  afterEach(() => {
    child.kill();
    rmSync(dir, { recursive: true, force: true });
  });

  it('completes commands, modules and paths of the guest', async () => {
    await type('modpr');
    press(TAB);
    await until('obe ');
    await type('klpdemo_tar');
    press(TAB);
    await until('get ');
    press(ENTER);
    await until(PROMPT);
    await type('cat /sys/module/klpdemo_t');
    press(TAB);
    await until('arget/');
    await type('parameters/ho');
    press(TAB);
    await until('ld_ms ');
    press(ENTER);
    await until('\n60\r\n');
    await until(PROMPT);
    await type('exit 3');
    press(ENTER);
    expect(await ended).toBe(3);
  });

  it('keeps what was typed for this and the next time', async () => {
    await type('echo first');
    press(ENTER);
    await until('\nfirst\r\n');
    await until(PROMPT);
    press(UP);
    await until('echo first');
    press(ENTER);
    await until('\nfirst\r\n');
    await until(PROMPT);
    await type('exit');
    press(ENTER);
    expect(await ended).toBe(0);
    expect(readFileSync(join(dir, 'klpemu/history'), 'utf8').split('\n').filter(Boolean)).toEqual(
      expect.arrayContaining(['echo first']),
    );
  });

  it('comes back to its prompt when a command is interrupted', async () => {
    await type('sleep 1000000000');
    press(ENTER);
    await until('\n');
    press(CONTROL_C);
    await until('^C');
    await until(PROMPT);
    await type('echo alive');
    press(ENTER);
    await until('\nalive\r\n');
    press('\x04');
    expect(await ended).toBe(0);
  });
});
