// What README.md shows is what the commands print: the shell session, line by line (`...` stands for lines left out),
// and the excerpt of the demo.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { bootShell } from '../../src/cli/shell/options.ts';
import { buildProgram } from '../built_program.ts';
import { blockWith, matches, stepsOf } from './readme_blocks.ts';

const ROOT = join(import.meta.dirname, '../..');

beforeAll(() => {
  buildProgram();
});

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
    const steps = stepsOf(lines);
    expect(steps.length).toBeGreaterThan(5);
    for (const [line, ...shown] of steps) {
      const { stdout, stderr } = await shell.execute(line);
      const real = (stdout + stderr).trimEnd().split('\n').filter(Boolean);
      if (!matches(real, shown)) expect([line, ...real]).toEqual([line, ...shown]);
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
