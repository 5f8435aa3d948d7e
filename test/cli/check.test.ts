import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseElf } from '../../src/elf/elf_object.ts';

const ROOT = join(import.meta.dirname, '../..');
const TARGET = 'fixtures/modules/klpdemo_target.ko';
let dir: string;

beforeAll(() => {
  // What is up to date is not built again.
  spawnSync(process.execPath, ['scripts/build.mjs', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
  dir = mkdtempSync(join(tmpdir(), 'klpemu-check-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function check(...args: string[]) {
  const argv = ['dist/cli/main.js', 'check', ...args];
  return spawnSync(process.execPath, argv, { cwd: ROOT, encoding: 'utf8' });
}

it('a module that is right everywhere ends with 0, and with a truncated one beside it with 2', () => {
  expect(check(TARGET).status).toBe(0);
  const { status, stdout, stderr } = check(TARGET, 'fixtures/objects/truncated.o');
  expect(status).toBe(2);
  expect(stdout).toContain('100.00 %');
  expect(stderr).toContain('truncated.o');
});

it('an entry changed in the file ends with 1, and names the place with entry and truth', () => {
  const bytes = Uint8Array.from(readFileSync(join(ROOT, TARGET)));
  const at = parseElf(bytes, TARGET).section('.orc_unwind')?.offset ?? 0;
  const view = new DataView(bytes.buffer);
  view.setInt16(at, view.getInt16(at, true) + 8, true);
  const path = join(dir, 'planted.ko');
  writeFileSync(path, bytes);
  const { status, stdout } = check(path, '--json');
  expect(status).toBe(1);
  const [place] = JSON.parse(stdout).objects[0].check.places;
  expect(place.truth.prevSp).toBe(place.answer.prevSp - 8);
  expect(place.verdict).toBe('wrong, declared reliable');
});

it('frame pointers alone: the map by function, the rules, and both in --json', () => {
  const path = 'fixtures/objects/frames/frames.o';
  const { status, stdout } = check('--unwinder', 'fp', path);
  expect(status).toBe(1);
  expect(stdout).toMatch(
    /caller: right at 2 of 6 instructions\n +\+0x0\.\.\+0x1 {2}1 instruction: before the frame/,
  );
  expect(stdout).toMatch(/4\.3 {2}Unwinding across interrupts and exceptions\n/);
  const { frames } = JSON.parse(check('--unwinder', 'fp', '--json', path).stdout).objects[0].check;
  expect(frames.rules.map((rule: { section: string }) => rule.section)).toEqual([
    '3',
    '4.1',
    '4.2',
    '4.3',
    '4.4',
    '4.5',
    '4.6',
  ]);
});

it('a linked kernel with its symbols is checked as objects are', () => {
  const { status, stdout } = check('--json', 'fixtures/objects/vmlinux/vmlinux');
  expect(status).toBe(0);
  const { summary } = JSON.parse(stdout);
  expect(summary).toMatchObject({ objects: 1, failed: 0, wrong: 0, unreliable: 0 });
  expect(summary.reached).toBeGreaterThan(300);
  const orc = spawnSync(
    process.execPath,
    ['dist/cli/main.js', 'orc', '--diff', 'fixtures/objects/vmlinux/vmlinux'],
    {
      cwd: ROOT,
      encoding: 'utf8',
    },
  );
  expect(orc.stdout).toContain('the same as the table in the object');
});
