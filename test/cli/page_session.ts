// Shell sessions that a page of the documentation shows: commands, each with what it prints.

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ShownCommand {
  /** As the shell takes it, a here-document with it. */
  readonly command: string;
  readonly shown: readonly string[];
}

/** Of indented lines: what begins with `$ ` is a command, what stands below it is what it prints. */
export function sessionOf(page: string): ShownCommand[] {
  const commands: { command: string; shown: string[] }[] = [];
  let heredoc = false;
  for (const line of page.split('\n')) {
    const last = commands.at(-1);
    const text = line.startsWith('    ') ? line.slice(4) : undefined;
    if (heredoc && last) {
      last.command += `\n${text ?? ''}`;
      heredoc = text !== 'EOF';
    } else if (text?.startsWith('$ ')) {
      commands.push({ command: text.slice(2), shown: [] });
      heredoc = text.endsWith("<<'EOF'");
    } else if (text !== undefined) last?.shown.push(text);
  }
  return commands;
}

/** Holds lines against a pattern in which `...` is any number of lines. */
export function isShown(lines: readonly string[], pattern: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return lines.length === 0;
  if (first.trim() === '...') return rest.length === 0 || lines.some((_, i) => isShown(lines.slice(i), rest));
  return lines[0] === first && isShown(lines.slice(1), rest);
}

/** Without what any change of the guest's code changes: times, addresses, counts of instructions. */
const masked = (line: string): string =>
  line
    .trimEnd()
    .replace(/^\[ *[\d.]+\]/, '[time]')
    .replace(/\b(0x)?ffffffff[0-9a-f]{8}\b/g, 'address')
    .replace(/[\d.]+s of virtual time/, 'virtual time')
    .replace(/--at-instruction \d+/, '--at-instruction N');

export const maskedLines = (lines: readonly string[]): string[] =>
  lines.map(masked).filter((line) => line !== '');

/** A folder in which commands are found before those of the system. */
export function commandsIn(folder: string, commands: Readonly<Record<string, string>>): string {
  mkdirSync(folder, { recursive: true });
  for (const [name, script] of Object.entries(commands)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

/** Runs a command as it stands. @param bin folder of commands of ours */
export function runShown(
  command: string,
  cwd: string,
  bin: string,
): { lines: string[]; status: number | null } {
  const { stdout, status } = spawnSync('bash', ['-c', `{ ${command}\n} 2>&1`], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, COLUMNS: '120' },
  });
  return { lines: stdout.trimEnd().split('\n'), status };
}
