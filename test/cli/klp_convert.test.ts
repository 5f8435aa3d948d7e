// klpemu klp-convert as a command: what it writes, prints and exits with.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram } from '../built_program.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = join(ROOT, 'fixtures/modules');
const PATCH = join(MODULES, 'klpdemo_patch_local.ko');
let dir: string;
const at = (name: string): string => join(dir, name);

beforeAll(() => {
  buildProgram();
  dir = mkdtempSync(join(tmpdir(), 'klpemu-convert-'));
  writeFileSync(at('list'), 'vmlinux.cmdline_proc_show\n');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function klpemu(args: string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    input,
  });
  return { status, stdout, stderr };
}

describe('klpemu klp-convert', () => {
  it('is among the commands, and explains itself with an example', () => {
    expect(klpemu(['--help']).stdout).toMatch(/^ {2}klp-convert .*<in> <out>/m);
    expect(klpemu(['klp-convert', '--help']).stdout).toMatch(
      /Example:\n {2}klpemu klp-convert fixtures\/modules\/klpdemo_patch_local\.ko converted\.ko\n$/,
    );
  });

  it('writes a module that loads, and says what became of which symbol', () => {
    const { status, stdout, stderr } = klpemu(['klp-convert', PATCH, at('out.ko'), '-s', at('list')]);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain('.klp.sym.klpdemo_target.klpdemo_twin,2');
    expect(stdout).toContain('.klp.sym.vmlinux.cmdline_proc_show,0');
    const script = `insmod klpdemo_target.ko; insmod out.ko; sleep 2; cat /proc/klpdemo | head -n 1\n`;
    const shell = klpemu([
      'shell',
      '--dir',
      MODULES,
      '--dir',
      dir,
      '-c',
      script.replaceAll('insmod ', EXTRA),
    ]);
    expect(shell.stdout).toBe('klpdemo version local: twin 102\n');
    expect(shell.status).toBe(0);
  });

  it('gives programs the same as JSON', () => {
    const { status, stdout } = klpemu(['klp-convert', PATCH, at('json.ko'), '-s', at('list'), '--json']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      converted: [
        { object: 'klpdemo_target', name: 'klpdemo_twin', sympos: 2, relocations: 1 },
        { object: 'vmlinux', name: 'cmdline_proc_show', sympos: 0, relocations: 1 },
      ],
      sections: [
        { name: '.klp.rela.klpdemo_target..text', relocations: 1 },
        { name: '.klp.rela.vmlinux..text', relocations: 1 },
      ],
    });
    expect(readFileSync(at('json.ko')).subarray(0, 4).toString('latin1')).toBe('\x7fELF');
  });

  it.each([
    ['a module that is no livepatch', ['klpdemo_target.ko'], /klpdemo_target\.ko.*not a livepatch/],
    ['a file that is not there', ['nowhere.ko'], /nowhere\.ko/],
    ['a file that is no object', ['README.md'], /README\.md/],
  ])('refuses %s with exit code 2, and writes nothing', (_what, [file], message) => {
    const { status, stdout, stderr } = klpemu(['klp-convert', join(MODULES, file), at('none.ko')]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n {4}at /);
    expect(existsSync(at('none.ko'))).toBe(false);
  });

  it('names symbols of the list that are used nowhere, with exit code 1', () => {
    writeFileSync(at('typo'), 'vmlinux.cmdline_proc_show\nvmlinux.cmdline_proc_shwo\n');
    const { status, stdout } = klpemu(['klp-convert', PATCH, at('typo.ko'), '-s', at('typo')]);
    expect(status).toBe(1);
    expect(stdout).toContain('in the list, and used nowhere: vmlinux.cmdline_proc_shwo\n');
  });

  it('names the line of a list that it does not understand', () => {
    writeFileSync(at('bad'), 'vmlinux.cmdline_proc_show\nnonsense\n');
    const { status, stderr } = klpemu(['klp-convert', PATCH, at('none.ko'), '-s', at('bad')]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/bad: line 2: 'nonsense' is not OBJECT\.SYMBOL,POSITION/);
  });
});

/** Modules of the directories that the shell is given. */
const EXTRA = 'insmod /lib/modules/6.1.0-56-amd64/extra/';
