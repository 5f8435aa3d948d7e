import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';

const ROOT = join(import.meta.dirname, '../..');
const TARGET = 'fixtures/modules/klpdemo_target.ko';
let dir: string;

beforeAll(() => {
  // What is up to date is not built again.
  spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
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
  const at = parseElf(bytes, TARGET, X86_64.elf).section('.orc_unwind')?.offset ?? 0;
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

const HARD = 'fixtures/objects/hard/hard.o';

/** The object with bytes over its text that are no instruction. */
function withoutInstruction(name: string, at: string): string {
  const bytes = Uint8Array.from(readFileSync(join(ROOT, name)));
  const elf = parseElf(bytes, name, X86_64.elf);
  const offset = Number(elf.symbols.find((symbol) => symbol.name === at)?.value);
  bytes.set([0xd5, 0x48, 0x01, 0xc0], (elf.section('.text')?.offset ?? 0) + offset);
  const path = join(dir, 'data.ko');
  writeFileSync(path, bytes);
  return path;
}

it('what was not looked at is named and ends with 2; a place that is wrong and declared reliable with 1', () => {
  const { status, stdout } = check(withoutInstruction(TARGET, 'klpdemo_round'));
  expect(stdout).toMatch(
    /^ {2}not looked at: \d+ bytes that are no instruction: klpdemo_round\+0x0 to \+\d+$/m,
  );
  expect(stdout).toMatch(/^1 object not looked at as a whole$/m);
  expect(status).toBe(2);
  const hard = check('--functions', HARD);
  expect(hard.stdout).toContain('not looked at: 4 instructions that no path could be followed to');
  expect(hard.stdout).toContain(
    'not looked at: what follows where a function runs out of itself: runs_on into run_into',
  );
  expect(hard.stdout).toMatch(/truth .*prev bp in r12/);
  expect(hard.status).toBe(1);
});

it('an object of which no answer is right is no success, though each is declared unreliable', () => {
  const bytes = Uint8Array.from(readFileSync(join(ROOT, TARGET)));
  const orc = parseElf(bytes, TARGET, X86_64.elf).section('.orc_unwind');
  const start = orc?.offset ?? 0;
  const view = new DataView(bytes.buffer);
  // Undefined everywhere, with one entry at a function's start that shows which layout it is.
  for (let at = start + 6; at < start + (orc?.size ?? 0); at += 6) view.setUint16(at + 4, 0, true);
  view.setUint16(start + 4, 0, true);
  const path = join(dir, 'undefined.ko');
  writeFileSync(path, bytes);
  const { status, stdout } = check(path, '--json');
  const { summary } = JSON.parse(stdout);
  expect(summary).toMatchObject({ right: 0, wrong: 0, failed: 0 });
  expect(summary.unreliable).toBeGreaterThan(500);
  expect(status).toBe(1);
});

it('the layout of a table that the object does not tell is told by its entries, and the report says so', () => {
  const { stdout } = check(HARD);
  expect(stdout).toContain('entries of the 6.1 format, told by themselves');
  expect(JSON.parse(check('--json', HARD).stdout).objects[0].format).toEqual({
    format: '6.1',
    by: 'entries',
    or: '6.3',
  });
});

it('a layout that is not that of the entries is refused with 2', () => {
  const { status, stderr } = check('--format', '6.4', HARD);
  expect(stderr).toBe(
    `klpemu: ${HARD}: the entries of its ORC table are not in the 6.4 format, but in that of 6.1\n`,
  );
  expect(status).toBe(2);
});
