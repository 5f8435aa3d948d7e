// `npm run unwinders`: modules of a real kernel, built with frame tables of every kind, and what each unwinder makes of them.
//
//   node scripts/run.mjs unwinders [--no-page]
//
// Sources are Debian's linux-source-6.1, the compiler this machine's, the assembler and linker those of later releases,
// which write SFrame 2 (trixie) and 3 (sid). Everything goes to .cache/unwinders. Results: .cache/unwinders/results.json,
// and the figures in docs/unwinders.md between its markers. Deterministic but for times.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { BINUTILS, binutilsVersion, fetchBinutils } from './binutils.ts';
import { withArchive } from './debian/archive.ts';
import { kernelBuildDir } from './kernel-headers.ts';
import { ROOT } from './root.ts';
import { capture, run } from './setup/run.ts';

const cache = join(ROOT, '.cache/unwinders');
const PAGE = join(ROOT, 'docs/unwinders.md');
const SOURCE = 'linux-source-6.1';
/** Which version of it there is. */
const PACKAGE = join(cache, 'package');

/** Folders of the kernel, the option that makes them a module, and the objects that kbuild links. */
const MODULES: readonly (readonly [folder: string, option: string, linked: readonly string[]])[] = [
  ['fs/ext4', 'CONFIG_EXT4_FS', ['ext4.o']],
  ['fs/jbd2', 'CONFIG_JBD2', ['jbd2.o']],
  ['fs/fuse', 'CONFIG_FUSE_FS', ['fuse.o', 'virtiofs.o']],
  ['drivers/net/ethernet/intel/e1000e', 'CONFIG_E1000E', ['e1000e.o']],
];
/** Which release's assembler writes which version. */
const BUILDS = [
  ['trixie', 2],
  ['sid', 3],
] as const;

interface Sums {
  readonly unwinder: string;
  readonly name: string;
  readonly instructions: number;
  readonly reached: number;
  readonly right: number;
  readonly unreliable: number;
  readonly wrong: number;
  readonly tableBytes: number;
  readonly nsAFrame?: number;
}

interface Place {
  readonly place: string;
  readonly verdict: string;
  readonly disassembly: string;
  readonly entry: string;
  readonly answer: {
    readonly prevSp?: number;
    readonly prevBpRight: boolean;
    readonly returnAddressRight: boolean;
  };
}

interface Result {
  readonly objects: readonly {
    readonly file: string;
    readonly unwinder: string;
    readonly check?: { readonly places: readonly Place[]; readonly omitted: number };
  }[];
  readonly summary: { readonly unwinders: readonly Sums[] };
}

/** The modules' folders of the kernel's source, whole or not at all. */
function fetchSource(): string {
  const folder = join(cache, SOURCE);
  if (existsSync(folder)) return folder;
  const part = join(cache, 'source.part');
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const file = withArchive(['bookworm'], (archive) => archive.unpack(SOURCE, part));
  const folders = MODULES.map(([path]) => `${SOURCE}/${path}`);
  run('tar', ['-xf', join(part, 'usr/src', `${SOURCE}.tar.xz`), '-C', part, ...folders]);
  writeFileSync(PACKAGE, file.replace(/_all\.deb$/, ''));
  renameSync(join(part, SOURCE), folder);
  rmSync(part, { recursive: true });
  return folder;
}

/**
 * What is compiled of the modules, each folder by itself, before it is linked: `ld -r` of binutils 2.44 merges SFrame, and
 * leaves the relocations of its functions where they were.
 */
function build(release: string): string[] {
  const folder = join(cache, release);
  const isBuilt = MODULES.every(([path]) => existsSync(join(folder, path, '.built')));
  if (!isBuilt) buildIn(folder, release);
  return MODULES.flatMap(([path, , linked]) =>
    readdirSync(join(folder, path))
      .filter((file) => file.endsWith('.o') && !file.endsWith('.mod.o') && !linked.includes(file))
      .sort()
      .map((file) => join(folder, path, file)),
  );
}

function buildIn(folder: string, release: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run('cp', ['-r', `${fetchSource()}/.`, folder]);
  const tools = join(BINUTILS, release);
  for (const [path, option] of MODULES) {
    run('make', [
      '-C',
      kernelBuildDir(),
      `-j${availableParallelism()}`,
      `M=${join(folder, path)}`,
      `${option}=m`,
      `KCFLAGS=-fasynchronous-unwind-tables -B${tools}/ -Wa,--gsframe`,
      `KAFLAGS=-B${tools}/`,
      `LD=${tools}/ld`,
      // Symbols of other modules are not there, and nothing is loaded.
      'KBUILD_MODPOST_WARN=1',
      'CONFIG_DEBUG_INFO_BTF_MODULES=',
      'CONFIG_MODULE_SIG_ALL=',
      'modules',
    ]);
    writeFileSync(join(folder, path, '.built'), '');
  }
}

/** What klpemu says of them; it ends with 1 where an unwinder is wrong, which is what is asked. */
function checked(objects: readonly string[], release: string): Result {
  const file = join(cache, `${release}.json`);
  const command = ['check', '--unwinder', 'all', '--json', ...objects];
  run('sh', [
    '-c',
    '"$@" >"$0"; test $? -le 1',
    file,
    process.execPath,
    join(ROOT, 'dist/cli/main.js'),
    ...command,
  ]);
  return JSON.parse(readFileSync(file, 'utf8'));
}

const whole = (n: number): string => n.toLocaleString('en-US');

function table(results: readonly (readonly [version: number, result: Result])[]): string {
  const lines = [
    '| unwinder | instructions | covered | right | wrong, declared unreliable | wrong, declared reliable | bytes of table an instruction | time a frame |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
  ];
  const [, [, last]] = results;
  const sums = (result: Result, unwinder: string): Sums[] =>
    result.summary.unwinders.filter((row) => row.unwinder === unwinder);
  const rows = [
    ...['orc', 'fp'].flatMap((unwinder) => sums(last, unwinder)),
    ...results.flatMap(([, result]) => sums(result, 'sframe')),
    ...sums(last, 'dwarf'),
  ];
  for (const row of rows) {
    const cells = [
      row.name,
      whole(row.instructions),
      `${((100 * row.reached) / row.instructions).toFixed(2)} %`,
      ...[row.right, row.unreliable, row.wrong].map(whole),
      (row.tableBytes / row.instructions).toFixed(2),
      row.nsAFrame === undefined ? '-' : `${whole(Math.round(row.nsAFrame))} ns`,
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

/** Why an unwinder that goes by a table is wrong there, as far as the answer shows it. */
function reason({ entry, answer, place }: Place): string {
  if (entry === 'none') {
    return place.startsWith('__SCT__') ? 'no row: a trampoline of static calls' : 'no row for the function';
  }
  if (!answer.returnAddressRight || answer.prevSp === undefined) return 'a row with the caller elsewhere';
  return answer.prevBpRight ? 'a row with another stack pointer' : 'a row with another place of rbp';
}

function reasons(results: readonly (readonly [version: number, result: Result])[]): string {
  const lines = ['| unwinder | verdict | why | places | such as |', '| --- | --- | --- | --- | --- |'];
  const wanted = [
    ...results.map(([version, result]) => [`SFrame ${version}`, 'sframe', result] as const),
    ['DWARF', 'dwarf', results[1][1]] as const,
  ];
  for (const [name, unwinder, { objects }] of wanted) {
    const found = new Map<string, { count: number; example: string }>();
    let omitted = 0;
    for (const { file, check } of objects.filter((object) => object.unwinder === unwinder)) {
      omitted += check?.omitted ?? 0;
      for (const place of check?.places ?? []) {
        const key = `${place.verdict} | ${reason(place)}`;
        const known = found.get(key) ?? {
          count: 0,
          example: `\`${place.place}\` of ${basename(file, '.o')}`,
        };
        known.count++;
        found.set(key, known);
      }
    }
    for (const [key, { count, example }] of [...found].sort((a, b) => b[1].count - a[1].count)) {
      lines.push(`| ${name} | ${key} | ${whole(count)} | ${example} |`);
    }
    // A report lists so many places of an object.
    if (omitted > 0) lines.push(`| ${name} | any | not listed | ${whole(omitted)} | |`);
  }
  return lines.join('\n');
}

function writePage(parts: Readonly<Record<string, string>>): void {
  let page = readFileSync(PAGE, 'utf8');
  for (const [name, text] of Object.entries(parts)) {
    page = page.replace(
      new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end -->)`),
      (_, start, end) => `${start}${text}\n${end}`,
    );
  }
  writeFileSync(PAGE, page);
}

export function main(args: string[]): void {
  const { values } = parseArgs({ args, options: { 'no-page': { type: 'boolean' } } });
  mkdirSync(cache, { recursive: true });
  const results = BUILDS.map(([release, version]) => {
    fetchBinutils(release);
    return [version, checked(build(release), release)] as const;
  });
  const kernel = readFileSync(PACKAGE, 'utf8');
  const versions = BUILDS.map(([release, version]) => `${binutilsVersion(release)} (SFrame ${version})`);
  const compiler = capture('gcc', ['-dumpfullversion']).trim();
  const parts = {
    measured: `Measured with ${MODULES.map(([, , [linked]]) => basename(linked, '.o')).join(', ')} of \`${kernel}\`, gcc ${compiler}, binutils ${versions.join(' and ')}; Node ${process.version}.`,
    table: table(results),
    reasons: reasons(results),
  };
  console.log(Object.values(parts).join('\n\n'));
  writeFileSync(join(cache, 'results.json'), JSON.stringify(parts));
  if (!values['no-page']) writePage(parts);
}
