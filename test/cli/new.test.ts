// klpemu new: a first scenario for modules that somebody has, which runs as it is.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli, ROOT } from './klpemu.ts';

const MODULES = join(ROOT, 'fixtures/modules');
const [TARGET, BOTH, VMLINUX] = ['target', 'patch_both', 'patch_vmlinux'].map((name) =>
  join(MODULES, `klpdemo_${name}.ko`),
);
let cli: Cli;

beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

describe('klpemu new', () => {
  it('writes a scenario that says what is replaced, and meets all that it expects', () => {
    const file = join(cli.dir, 'both.yaml');
    const written = cli.run(['new', TARGET, BOTH, '-o', file]);
    expect(written).toMatchObject({
      status: 0,
      stdout: '',
      stderr: `klpemu: to run it: klpemu run ${file} --allow-files\n`,
    });
    const text = readFileSync(file, 'utf8');
    expect(text).toContain(`# klpemu run ${file} --allow-files\n`);
    expect(text).toContain('#   klpdemo_round [klpdemo_target] by klpdemo_new_round\n');
    expect(text).toContain('#   meminfo_proc_show [vmlinux] by klpdemo_new_meminfo_proc_show\n');
    const run = cli.run(['run', file, '--allow-files', '--quiet']);
    expect(run.status, run.stdout + run.stderr).toBe(0);
    expect(run.stdout).toMatch(/^ok: \d+ expectations held/m);
    expect(run.stdout).toMatch(/^ +6 {2}fentry sites rewritten, 6 of them back to a nop$/m);
  });

  it('prints it where no file is named, and for a livepatch of the kernel alone', () => {
    const { status, stdout, stderr } = cli.run(['new', VMLINUX]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const file = join(cli.dir, 'printed.yaml');
    writeFileSync(file, stdout.replace(/^( +- ).*klpdemo_patch_vmlinux\.ko$/m, `$1${VMLINUX}`));
    const run = cli.run(['run', file, '--allow-files', '--quiet']);
    expect(run.status, run.stdout + run.stderr).toBe(0);
  });

  it('gives a livepatch for another kernel that kernel', () => {
    const bytes = Buffer.from(readFileSync(VMLINUX));
    const at = bytes.indexOf('vermagic=6.1.0-') + 'vermagic='.length;
    bytes.write('9.1.0-', at);
    const file = join(cli.dir, 'other.ko');
    writeFileSync(file, bytes);
    const { status, stdout } = cli.run(['new', file]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ {2}kernel: 9\.1\.0-\S+ # an installed release/m);
    expect(stdout).not.toContain('replaces:');
  });

  it('refuses what it cannot make one of, and overwrites nothing', () => {
    const refused = (...args: string[]): string => {
      const { status, stdout, stderr } = cli.run(['new', ...args]);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      return stderr;
    };
    expect(refused(TARGET)).toBe(`klpemu: new: none of them is a livepatch: ${TARGET}\n`);
    expect(refused(BOTH, VMLINUX)).toContain('are livepatches: one of them');
    expect(refused(join(cli.dir, 'none.ko'))).toContain('none.ko: no such file');
    const text = join(cli.dir, 'text.ko');
    writeFileSync(text, 'no module');
    expect(refused(text)).toContain('text.ko: ');
    expect(refused(VMLINUX, '-o', text)).toBe(`klpemu: ${text}: file already exists\n`);
    expect(readFileSync(text, 'utf8')).toBe('no module');
  });
});
