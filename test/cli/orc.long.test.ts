import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';

const ROOT = join(import.meta.dirname, '../..');
const TARGET = 'fixtures/modules/klpdemo_target.ko';
let dir: string;

beforeAll(() => {
  // What is up to date is not built again.
  spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
  dir = mkdtempSync(join(tmpdir(), 'klpemu-orc-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function orc(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', 'orc', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** A file in the test's folder. */
function put(name: string, bytes: Uint8Array | string): string {
  const path = join(dir, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

const target = (): Uint8Array => Uint8Array.from(readFileSync(join(ROOT, TARGET)));

/** The module with one ORC entry changed. */
function tampered(): Uint8Array {
  const bytes = target();
  const json = JSON.parse(orc(TARGET, '--dump', '--json').stdout);
  const first = json.objects[0].dump.findIndex((line: string) => line.includes('sp:sp+16'));
  const view = new DataView(bytes.buffer);
  const at = offsetOf(bytes, '.orc_unwind') + first * 6;
  view.setInt16(at, 64, true);
  return bytes;
}

function offsetOf(bytes: Uint8Array, section: string): number {
  const view = new DataView(bytes.buffer);
  const shoff = Number(view.getBigUint64(40, true));
  for (let at = shoff; at < bytes.length; at += 64) {
    if (nameAt(bytes, at) === section) return Number(view.getBigUint64(at + 24, true));
  }
  throw new Error(`no ${section}`);
}

function nameAt(bytes: Uint8Array, header: number): string {
  const view = new DataView(bytes.buffer);
  const names = Number(view.getBigUint64(40, true)) + view.getUint16(62, true) * 64;
  const from = Number(view.getBigUint64(names + 24, true)) + view.getUint32(header, true);
  return Buffer.from(bytes.subarray(from, bytes.indexOf(0, from))).toString('latin1');
}

describe('klpemu orc', () => {
  it('says of a module of kbuild that its table is the one we make', () => {
    const { status, stdout, stderr } = orc('--diff', TARGET);
    expect(stderr).toBe('');
    expect(stdout).toMatch(
      /klpdemo_target\.ko: \d+ functions, \d+ instructions, \d+ entries \(6\.1 format\)/,
    );
    expect(stdout).toContain('the same as the table in the object');
    expect(status).toBe(0);
  });

  it('shows where a table was tampered with, and ends with 1', () => {
    const { status, stdout } = orc('--diff', put('tampered.ko', tampered()));
    expect(status).toBe(1);
    expect(stdout).toMatch(/ours sp:sp\+16 .* \| theirs sp:sp\+64/);
    expect(stdout).toMatch(/: theirs wrong \(execution says otherwise\)$/m);
    expect(stdout).toMatch(/^ +execution: the caller's sp is sp\+16, its rbp .*; ours right, theirs wrong$/m);
  });

  it('proves every difference by execution, or says why it cannot', () => {
    const path = put('proved.ko', tampered());
    const json = (env: NodeJS.ProcessEnv) => {
      const argv = ['dist/cli/main.js', 'orc', '--diff', '--json', path, 'fixtures/modules/klpdemo_fault.ko'];
      const { stdout } = spawnSync(process.execPath, argv, { cwd: ROOT, encoding: 'utf8', env });
      return JSON.parse(stdout).objects.flatMap(
        (o: { agreement: { differences: object[] } }) => o.agreement.differences,
      );
    };
    const [planted, ...lost] = json(process.env);
    expect(planted.proof).toEqual({
      offset: planted.start,
      truth: "the caller's sp is sp+16, its rbp is in rbp",
      ours: 'right',
      theirs: 'wrong',
    });
    // Behind an ud2 that nothing marks: no path leads there without what the source said.
    expect(lost.length).toBeGreaterThan(0);
    for (const { proof } of lost) expect(proof).toBe('does not get there');
    const without = json({ ...process.env, KLPEMU_ENGINE: 'unicorn', KLPEMU_UNICORN: join(dir, 'none.so') });
    expect(without).toHaveLength(1 + lost.length);
    for (const d of without) expect(d.proof).toMatch(/^was not possible: .*none\.so/s);
    expect(without[0].class).toBe('open');
  });

  it('writes a copy that has the same table, and leaves the module alone', () => {
    const before = readFileSync(join(ROOT, TARGET));
    const copy = join(dir, 'copy.ko');
    const source = put('source.ko', tampered());
    expect(orc(source, '-o', copy).status).toBe(0);
    expect(orc('--diff', copy).status).toBe(0);
    expect(orc('--diff', source).status).toBe(1);
    expect(readFileSync(join(ROOT, TARGET)).equals(before)).toBe(true);
    expect(orc(source, '-o', source)).toMatchObject({ status: 2 });
  });

  it('takes folders, patterns and packed modules, over threads as well', () => {
    put('many/a/one.ko', target());
    put('many/b/two.ko.gz', gzipSync(target()));
    put('many/b/ignored.txt', 'no object');
    for (const threads of ['1', '2']) {
      const { status, stdout } = orc('--json', '--diff', '-j', threads, join(dir, 'many'));
      expect(status).toBe(0);
      const { objects, summary } = JSON.parse(stdout);
      expect(objects.map((o: { file: string }) => o.file.slice(dir.length))).toEqual([
        '/many/a/one.ko',
        '/many/b/two.ko.gz',
      ]);
      expect(summary).toMatchObject({ objects: 2, compared: 2, same: 2, failed: 0 });
    }
    expect(JSON.parse(orc('--json', join(dir, 'many/*/*.ko')).stdout).objects.length).toBe(1);
    expect(JSON.parse(orc('--json', join(dir, 'many/**/*.gz')).stdout).objects.length).toBe(1);
    expect(orc(join(dir, 'many'), '-o', join(dir, 'out/')).status).toBe(0);
    expect(existsSync(join(dir, 'out/b/two.ko'))).toBe(true);
  });

  it.each([
    ['xz', ['-c']],
    ['zstd', ['-cq']],
  ])('unpacks what %s packed', (program, args) => {
    const packed = spawnSync(program, args, { input: target() });
    if (packed.error) return;
    const path = put(`packed.ko.${program === 'xz' ? 'xz' : 'zst'}`, packed.stdout);
    expect(orc('--diff', path).status).toBe(0);
    const broken = put(`broken.ko.${program === 'xz' ? 'xz' : 'zst'}`, packed.stdout.subarray(0, 500));
    const { status, stderr } = orc(broken);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^klpemu: .*broken\.ko\.\w+: .+\n$/);
  });

  it('goes on with the other objects when one is bad, and ends with 2', () => {
    const bad = put('mixed/bad.ko', 'not an object');
    put('mixed/good.ko', target());
    const { status, stdout, stderr } = orc('--diff', join(dir, 'mixed'));
    expect(status).toBe(2);
    expect(stderr).toBe(`klpemu: ${bad}: Invalid ELF header len 13: it is a text file\n`);
    expect(stdout).toContain('the same as the table in the object: 1 of 1 object,');
    const { objects } = JSON.parse(orc('--json', join(dir, 'mixed')).stdout);
    expect(objects[0].error).toEqual({
      code: 'ENOEXEC',
      message: `${bad}: Invalid ELF header len 13: it is a text file`,
    });
  });

  it('says what is wrong with its arguments', () => {
    expect(orc('no/such.ko')).toMatchObject({ status: 2, stderr: 'klpemu: no/such.ko: no such file\n' });
    expect(orc('docs').stderr).toBe('klpemu: docs: no object files (.ko or .o) there\n');
    expect(orc('--format', '5.0', TARGET).stderr).toContain('Allowed choices are 6.1, 6.3, 6.4, 7.2');
    expect(orc('-j', '0', TARGET).stderr).toContain('It must be a number of threads.');
  });

  it('writes a layout with its header, reads both tables in it, and refuses to read them in another', () => {
    for (const format of ['6.4', '7.2'] as const) {
      const copy = join(dir, `as-${format}.ko`);
      expect(orc(TARGET, '-o', copy, '--format', format).status).toBe(0);
      expect(orc('--diff', '--format', format, copy).status).toBe(0);
      const written = orc('--diff', copy);
      expect(written.stdout).toContain(`(${format} format)`);
      expect(written.status).toBe(0);
      const { status, stdout, stderr } = orc('--diff', '--format', '6.1', copy);
      expect(stdout).not.toContain('wrong');
      expect(stderr).toBe(`klpemu: ${copy}: its .orc_header is that of the ${format} format, not of 6.1\n`);
      expect(status).toBe(2);
    }
  });

  it('writes no table in a layout that nothing tells', () => {
    const plain = 'fixtures/objects/relocations.o';
    const copy = join(dir, 'plain.o');
    const { status, stderr } = orc(plain, '-o', copy);
    expect(stderr).toContain('nothing tells which ORC format to write: --format does (6.1, 6.3, 6.4, 7.2)');
    expect(status).toBe(2);
    expect(existsSync(copy)).toBe(false);
  });

  it('ends with 2 where bytes are no instruction, and names them', () => {
    const bytes = target();
    const elf = parseElf(bytes, TARGET, X86_64.elf);
    const at = Number(elf.symbols.find(({ name }) => name === 'klpdemo_round')?.value);
    bytes.set([0xd5, 0x48, 0x01, 0xc0], (elf.section('.text')?.offset ?? 0) + at);
    const { status, stdout } = orc(put('data.ko', bytes));
    expect(stdout).toMatch(/not looked at: \d+ bytes that are no instruction: klpdemo_round\+0x0 to \+\d+$/m);
    expect(status).toBe(2);
  });

  it('ends with 2 where a table is to be compared and there is none', () => {
    const { status, stdout } = orc('--diff', 'fixtures/objects/module-sites.o');
    expect(stdout).toContain('no table of its own to compare with');
    expect(status).toBe(2);
  });

  it('writes the entries of later kernels when asked', () => {
    const copy = join(dir, 'later.ko');
    expect(orc(TARGET, '-o', copy, '--format', '6.4').status).toBe(0);
    const [ours, later] = [target(), Uint8Array.from(readFileSync(copy))].map((bytes) =>
      new DataView(bytes.buffer).getUint16(offsetOf(bytes, '.orc_unwind') + 4, true),
    );
    expect([ours, later]).toEqual([0x005, 0x205]);
  });
});

describe('an object that does not tell its layout', () => {
  it.each([
    ['annotated-6.12.o', '6.4 format, borne out by execution: of 34 answers 34 are right; as 7.2 0'],
    ['annotated-7.3.o', '7.2 format, borne out by execution: of 34 answers 34 are right; as 6.4 0'],
  ])('%s is read as execution bears out, and the report says so', (file, said) => {
    const { status, stdout } = orc('--diff', `fixtures/objects/annotated/${file}`);
    expect(stdout).toContain(`(${said})`);
    expect(stdout).toContain('the same as the table in the object');
    expect(status).toBe(0);
  });
});
