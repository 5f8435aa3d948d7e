// klpemu shell: commands typed by a person, or read from a script.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { EXIT, systemReason, UsageError } from '../exit.ts';
import { MachineProcess } from '../session/machine_process.ts';
import { colorsFor, print, printError, visible } from '../terminal.ts';
import { bootShell, type KeptShell, type ShellMachineOptions } from './options.ts';
import { servePipe } from './pipe.ts';
import { fromBytes, toBytes, writeResult } from './text.ts';

interface ShellCommandOptions extends ShellMachineOptions {
  readonly errexit?: boolean;
  readonly command?: string;
  readonly pipe?: boolean;
}

const HISTORY_LINES = 1000;

export async function shell(script: string | undefined, options: ShellCommandOptions): Promise<void> {
  if (options.pipe) {
    if (script !== undefined || options.command !== undefined)
      throw new UsageError('--pipe reads its commands from standard input');
    await withSession(options, servePipe);
    return;
  }
  const text = scriptText(script, options.command);
  if (text === undefined) {
    await interact(options);
    return;
  }
  await withSession(options, (kept) => runScript(kept, text, options.errexit ?? false));
}

async function withSession(
  options: ShellCommandOptions,
  work: (kept: KeptShell) => Promise<void>,
): Promise<void> {
  const kept = await bootShell(options);
  try {
    await work(kept);
  } finally {
    kept.shell.context.guest.machine.close();
  }
}

/** undefined: a person types. */
function scriptText(script: string | undefined, command: string | undefined): string | undefined {
  if (command !== undefined) return toBytes(command);
  if (script !== undefined) {
    try {
      return readFileSync(script, 'latin1');
    } catch (error) {
      throw new UsageError(`${script}: ${systemReason(error)}`);
    }
  }
  return process.stdin.isTTY ? undefined : readFileSync(0, 'latin1');
}

async function runScript({ shell, past }: KeptShell, text: string, errexit: boolean): Promise<void> {
  const { status } = await past.perform(shell, (on) =>
    on.execute(text, { errexit, script: true, ...(on === shell ? { onResult: writeResult } : {}) }),
  );
  process.exitCode = shell.exited ?? status;
  const unmet = shell.context.guest.machine.unmetSchedule();
  for (const line of unmet) printError(`klpemu: schedule: ${line}\n`);
  if (unmet.length > 0) process.exitCode ||= EXIT.failed;
}

/** A person types: the machine is in a process of its own, so that keys are heard whatever it does. */
async function interact(options: ShellCommandOptions): Promise<void> {
  const { machine, warnings } = await MachineProcess.start(options);
  for (const line of warnings) printError(`${line}\n`);
  const { bold, dim } = colorsFor(process.stdout);
  print(dim("a livepatch machine; 'help' lists commands, time passes by 'sleep'\n"));
  const history = historyFile();
  const prompt = (): string => visible(`${dim(`[${(machine.now / 1e9).toFixed(3)}]`)} ${bold('#')} `);
  let busy = false;
  let exited: number | undefined;
  let failed = false;
  const readline = createInterface({
    input: process.stdin,
    output: process.stdout,
    completer: (line: string, done: (error: null, found: [string[], string]) => void) =>
      void completions(machine, line).then((found) => done(null, found)),
    history: readHistory(history),
    historySize: HISTORY_LINES,
    removeHistoryDuplicates: true,
    prompt: prompt(),
  });
  readline.on('history', (lines: string[]) => writeHistory(history, lines));
  readline.on('SIGINT', () => {
    print('^C\n');
    if (busy) {
      machine.interrupt();
      return;
    }
    Object.assign(readline, { line: '', cursor: 0 });
    readline.prompt();
  });
  readline.prompt();
  let typed = false;
  for await (const line of readline) {
    busy = true;
    const reply = await machine.ask({ line: toBytes(line) });
    busy = false;
    if (reply) writeResult(reply);
    if (reply?.failure !== undefined) {
      printError(`klpemu: ${reply.failure}\n`);
      failed = true;
    }
    // One that has failed can still be looked at; one that has died is not there.
    exited = machine.death === undefined ? reply?.exited : EXIT.machine;
    typed = exited !== undefined;
    if (typed) break;
    readline.setPrompt(prompt());
    readline.prompt();
  }
  readline.close();
  // Ctrl-D: what comes next begins a line.
  if (!typed) print('exit\n');
  machine.kill();
  process.exit(failed ? EXIT.machine : (exited ?? EXIT.ok));
}

async function completions(machine: MachineProcess, line: string): Promise<[string[], string]> {
  const reply = await machine.ask({ complete: toBytes(line) });
  const [found, word] = reply?.completions ?? [[], line];
  return [found.map((text) => visible(fromBytes(text))), fromBytes(word)];
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
