// klpemu bundle split, inspect and submodules as commands: what they write, print and exit with.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

let cli: Cli;
const at = (name: string): string => join(cli.dir, name);

beforeAll(() => {
  cli = new Cli();
  const args = ['bundle', 'split', 'fixtures/split/klpsplit_state.ko', '--name', 'fix', '-o', at('fix.klpb')];
  expect(cli.run(args).status).toBe(0);
});
afterAll(() => cli.remove());

describe('klpemu bundle inspect', () => {
  it('shows of each member what it has, shares, exports, takes and has relocated', () => {
    const { status, stdout } = cli.run(['bundle', 'inspect', at('fix.klpb')]);
    expect(status).toBe(0);
    const lines = stdout.replaceAll(/\b[0-9a-f]{16}\b/g, 'HASH').split('\n');
    expect(lines[0]).toBe('fix 1');
    expect(lines[1]).toMatch(/^object +member +bytes +target +sha256$/);
    expect(lines[2]).toMatch(/^klpsplit_t1 +fix_klpsplit_t1 +\d+ +6\.1\.0-56-amd64 SMP/);
    const of = (object: string): string[] => {
      const from = lines.indexOf(`${object}:`);
      const rest = lines.slice(from + 1);
      return rest.slice(
        0,
        rest.findIndex((line) => !line.startsWith('  ')),
      );
    };
    expect(of('klpsplit_t1')).toEqual([
      '  functions: klpsplit_exit, klpsplit_init, new_a1, new_b1',
      '  data: patch, funcs1',
      '  in other members, too: klpsplit_exit, klpsplit_init, patch',
      expect.stringMatching(
        /^ {2}takes: fix\.lock of fix_vmlinux\.ko, fix\.runs of fix_vmlinux\.ko, fix\.history of fix_vmlinux\.ko/,
      ),
    ]);
    expect(of('vmlinux').at(-1)).toMatch(/^ {2}exports: .*fix\.history, fix\.runs, fix\.lock$/);
  });

  it('tells the livepatch relocations that a member no longer has', () => {
    const file = at('data.klpb');
    cli.run(['bundle', 'split', 'fixtures/split/klpsplit_data.ko', '--name', 'data', '-o', file]);
    expect(cli.run(['bundle', 'inspect', file]).stdout).toMatch(
      /^ {2}relocations against symbols of objects: \d+ ordinary, 0 in sections of livepatch's$/m,
    );
  });

  it('goes by the structures of the kernel that it is told, or says which there are', () => {
    const { status, stderr } = cli.run(['bundle', 'inspect', at('fix.klpb'), '--kernel', 'nothing']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^klpemu: no file and no installed kernel 'nothing': /);
  });
});

describe('klpemu bundle submodules', () => {
  it('writes the members as modules of that model, or nothing', () => {
    const { status, stdout } = cli.run(['bundle', 'submodules', at('fix.klpb'), '-o', at('modules')]);
    expect(status).toBe(0);
    expect(stdout).toContain('3 modules: fix.ko, fix__klpsplit_t1.ko, fix__klpsplit_t2.ko');
    expect(readdirSync(at('modules')).sort()).toEqual([
      'fix.ko',
      'fix__klpsplit_t1.ko',
      'fix__klpsplit_t2.ko',
    ]);
    const file = at('o2.klpb');
    cli.run(['bundle', 'split', 'fixtures/split/klpsplit_o2.ko', '--name', 'o2', '-o', file]);
    const refused = cli.run(['bundle', 'submodules', file, '-o', at('none')]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("'o2' has no module for vmlinux, by which the others are known");
    expect(existsSync(at('none'))).toBe(false);
  });
});
