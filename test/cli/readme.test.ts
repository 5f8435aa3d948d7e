// What README.md shows is what the commands print: the shell session, line by line (`...` stands for lines left out),
// and the excerpt of the demo.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { bootShell } from '../../src/cli/shell/options.ts';
import { buildProgram } from '../built_program.ts';

const ROOT = join(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

beforeAll(() => {
  buildProgram();
});

/** Indented blocks, without their indentation. */
const blocks = README.split(/\n(?! {4}|\n)[^\n]*/)
  .map((block) => block.replace(/^ {4}/gm, '').trim())
  .filter((block) => block !== '');

function blockWith(text: string): string[] {
  const found = blocks.find((block) => block.includes(text));
  if (found === undefined) throw new Error(`README.md has no block with ${text}`);
  return found.split('\n').map((line) => line.trimEnd());
}

/** Holds lines against a pattern in which `...` is any number of lines. */
function matches(lines: readonly string[], pattern: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return lines.length === 0;
  if (first.trim() === '...') return rest.length === 0 || lines.some((_, i) => matches(lines.slice(i), rest));
  return lines[0] === first && matches(lines.slice(1), rest);
}

/** Without what any change of the guest's code changes: times, pids, addresses, and who left the kernel first. */
function masked(line: string): string {
  return line
    .trim()
    .replace(/^\[ *[\d.]+\]/, '[time]')
    .replace(/ (0x)?ffffffff[0-9a-f]{8}\b/g, ' address')
    .replace(/after {2}e8 .. .. .. ../, 'after bytes')
    .replace(/(?<=\w):\d+\b/g, '')
    .replace(/ \+[\d.]+(s|ms|us)\b/g, '')
    .replace(/(switched by kernel exit).*/, '$1');
}

describe('README.md', () => {
  it('shows a shell session as it is', async () => {
    const [command, ...lines] = blockWith('$ klpemu shell');
    expect(command).toBe('$ klpemu shell');
    const { shell } = await bootShell({});
    const steps = lines.join('\n').split(/^# /m).slice(1);
    expect(steps.length).toBeGreaterThan(5);
    for (const step of steps) {
      const [line, ...shown] = step.trimEnd().split('\n');
      const { stdout, stderr } = await shell.execute(line);
      const real = (stdout + stderr).trimEnd().split('\n').filter(Boolean);
      if (!matches(real, shown.filter(Boolean))) expect([line, ...real]).toEqual([line, ...shown]);
    }
    shell.context.guest.machine.close();
  });

  it('shows what the demo prints', () => {
    const shown = blockWith('cannot switch klpdemo_worker').map(masked);
    const args = ['dist/cli/main.js', 'run', 'fixtures/scenarios/demo.yaml'];
    const { stdout } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
    const real = stdout.split('\n').map(masked);
    const from = real.indexOf(shown[0]);
    // Whatever comes behind the last line.
    if (!matches(real.slice(from), [...shown, '...']))
      expect(real.slice(from).join('\n')).toBe(shown.join('\n'));
  });

  it('names every command that there is', () => {
    const { stdout } = spawnSync(process.execPath, ['dist/cli/main.js', '--help'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const [, list = ''] = /^Commands:\n([\s\S]*?)\n\n/m.exec(stdout) ?? [];
    const commands = [...list.matchAll(/^ {2}([a-z][a-z-]+) /gm)].map((m) => m[1]);
    expect(commands.length).toBeGreaterThan(8);
    const table = blockWith('klpemu run FILE.yaml').join('\n');
    for (const name of commands.filter((each) => each !== 'help'))
      expect(table).toMatch(new RegExp(`\\b${name}\\b`));
  });
});
