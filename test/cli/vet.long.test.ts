// klpemu vet as a user starts it: what it prints, and what its exit code says.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Mutant } from '../vet/mutant.ts';
import { Cli } from './klpemu.ts';

const GOOD = 'fixtures/modules/klpdemo_patch_vmlinux.ko';

let cli: Cli;
let dir: string;
beforeAll(() => {
  cli = new Cli();
  dir = mkdtempSync(join(tmpdir(), 'klpemu-vet-'));
});
afterAll(() => {
  cli.remove();
  rmSync(dir, { recursive: true });
});

/** A file of a mutant. */
function mutant(name: string, made: Mutant): string {
  const path = join(dir, name);
  writeFileSync(path, made.bytes);
  return path;
}

describe('klpemu vet', () => {
  it('says by exit code 0 and its last line that a patch is good', () => {
    const { status, stdout } = cli.run(['vet', GOOD]);
    const lines = stdout.trimEnd().split('\n');
    expect([lines[0], lines.at(-1), status]).toEqual([`${GOOD} on 6.1.0-56-amd64`, `${GOOD}: good`, 0]);
    expect(lines.filter((line) => /^[A-Z]/.test(line))).toEqual([
      'Does it load?',
      'Can each function be patched?',
      'Is its code sound for the unwinder?',
      'Will it stall?',
      'Does it come and go?',
    ]);
  });

  it("says by exit code 1 that one of several is not, with the kernel's words", () => {
    const stale = mutant('stale.ko', new Mutant('klpdemo_patch_vmlinux').crc('module_layout'));
    const { status, stdout } = cli.run(['vet', GOOD, stale]);
    expect(status).toBe(1);
    expect(stdout).toContain(`${GOOD}: good\n`);
    expect(stdout).toContain(
      '       klpdemo_patch_vmlinux: disagrees about version of symbol module_layout\n',
    );
    expect(stdout).toContain(`${stale}: not good (1 against it, 2 not looked at)\n`);
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(
      /stale\.ko: not good \(1 against it, 1 not looked at\)$/,
    );
  });

  it('says by exit code 2 that not all was looked at, unless that was asked for', () => {
    const patch = 'fixtures/modules/klpdemo_patch_sympos.ko';
    const without = cli.run(['vet', patch, '--modules', dir]);
    expect([without.status, without.stdout]).toEqual([2, expect.stringContaining(`it is not in ${dir}`)]);
    const asked = cli.run(['vet', patch, '--modules', dir, '--vmlinux-only']);
    expect([asked.status, asked.stdout]).toEqual([0, expect.stringContaining('is left out, as was asked')]);
  });

  it('has all of it as JSON', () => {
    const { status, stdout } = cli.run(['vet', GOOD, '--json']);
    const { vet } = JSON.parse(stdout);
    expect([status, vet.length, vet[0].verdict, vet[0].kernel]).toEqual([0, 1, 'good', '6.1.0-56-amd64']);
    expect(vet[0].findings[0]).toEqual({
      part: 'loads',
      weight: 'good',
      text: 'it loads into 6.1.0-56-amd64, and is enabled',
    });
  });

  it.each([
    [['vet'], /missing required argument 'patch'/],
    [['vet', 'nothing.ko'], /^klpemu: nothing\.ko: no such file\n$/],
    [['vet', 'fixtures/modules/klpdemo_target.ko'], /klpdemo_target\.ko: not a livepatch: no 'livepatch=Y'/],
    [['vet', 'fixtures/bundles/bad_hash.klpb'], /bad_hash\.klpb: member \S+ is not the file whose SHA-256/],
    [['vet', 'fixtures/bundles/v1.klpb', '--params', 'a=1'], /v1\.klpb: a bundle takes no parameters/],
    [['vet', 'README.md'], /^klpemu: README\.md: /],
    [['vet', GOOD, '--modules', '/nowhere'], /^klpemu: \/nowhere: no such directory\n$/],
    [['vet', GOOD, '--kernel', '9.9-none'], /^klpemu: no file and no installed kernel '9\.9-none'/],
    [['vet', GOOD, '--replaces', 'old.ko'], /^klpemu: old\.ko: no such file\n$/],
  ])('tells bad input in one line, with exit code 2: %j', (args, words) => {
    const { status, stderr, stdout } = cli.run(args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(words);
  });
});
