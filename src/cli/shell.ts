// klpemu shell: commands typed by a person, or read from a script.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { complete } from '../shell/complete.ts';
import type { Result } from '../shell/result.ts';
import type { Shell } from '../shell/shell.ts';
import { EXIT, UsageError } from './exit.ts';
import { bootShell, type ShellMachineOptions } from './shell_options.ts';
import { colorsFor } from './terminal.ts';

export interface ShellCommandOptions extends ShellMachineOptions {
  readonly errexit?: boolean;
  readonly command?: string;
}

const HISTORY_LINES = 1000;

export async function shell(script: string | undefined, options: ShellCommandOptions): Promise<void> {
  const text = scriptText(script, options.command);
  const session = await bootShell(options);
  try {
    if (text !== undefined) await runScript(session, text, options.errexit ?? false);
    else await interact(session);
  } finally {
    session.context.guest.machine.close();
  }
}

/** undefined: a person types. */
function scriptText(script: string | undefined, command: string | undefined): string | undefined {
  if (command !== undefined) return toBytes(command);
  if (script !== undefined) {
    try {
      return readFileSync(script, 'latin1');
    } catch (error) {
      throw new UsageError(`${script}: ${(error as Error).message}`);
    }
  }
  return process.stdin.isTTY ? undefined : readFileSync(0, 'latin1');
}

/** The shell's text is one character a byte. */
export function toBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

export function writeResult({ stdout, stderr }: Result): void {
  if (stdout !== '') process.stdout.write(Buffer.from(stdout, 'latin1'));
  if (stderr !== '') process.stderr.write(Buffer.from(stderr, 'latin1'));
}

async function runScript(session: Shell, text: string, errexit: boolean): Promise<void> {
  const { status } = await session.execute(text, { errexit, script: true, onResult: writeResult });
  process.exitCode = session.exited ?? status;
}

async function interact(session: Shell): Promise<void> {
  const { bold, dim } = colorsFor(process.stdout);
  const { machine } = session.context.guest;
  process.stdout.write(dim("a livepatch machine; 'help' lists commands, time passes by 'sleep'\n"));
  const history = historyFile();
  const prompt = (): string => `${dim(`[${(machine.now() / 1e9).toFixed(3)}]`)} ${bold('#')} `;
  let busy = false;
  const readline = createInterface({
    input: process.stdin,
    output: process.stdout,
    completer: (line: string) => complete(session.context, line),
    history: readHistory(history),
    historySize: HISTORY_LINES,
    removeHistoryDuplicates: true,
    prompt: prompt(),
  });
  readline.on('history', (lines: string[]) => writeHistory(history, lines));
  readline.on('SIGINT', () => {
    process.stdout.write('^C\n');
    if (busy) {
      session.context.interrupted = true;
      return;
    }
    Object.assign(readline, { line: '', cursor: 0 });
    readline.prompt();
  });
  readline.prompt();
  for await (const line of readline) {
    busy = true;
    writeResult(await session.execute(toBytes(line)));
    busy = false;
    if (session.exited !== undefined) break;
    readline.setPrompt(prompt());
    readline.prompt();
  }
  readline.close();
  process.exitCode = session.exited ?? EXIT.ok;
}

function historyFile(): string {
  const state = process.env.XDG_STATE_HOME || join(homedir(), '.local/state');
  return join(state, 'klpemu/history');
}

/** Newest first, as node:readline keeps it. */
function readHistory(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).reverse();
  } catch {
    return [];
  }
}

/** A history that cannot be kept is no reason to stop. */
function writeHistory(file: string, lines: readonly string[]): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${[...lines].reverse().join('\n')}\n`);
  } catch {}
}
