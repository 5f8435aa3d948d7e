// Builds fixtures/modules/*.ko with kbuild against Debian's kernel headers, strips debug information,
// and lists in fixtures/modules/README.md every symbol the modules import. Some are built once more: into
// fixtures/modules/frame-pointer as for a kernel with CONFIG_UNWINDER_FRAME_POINTER, into fixtures/modules/ibt as for
// one with CONFIG_X86_KERNEL_IBT.
// The module of fixtures/attacks is built, too, and those of fixtures/split.
//
//   node scripts/run.mjs build-fixtures
//
// The .ko files are checked in: only who changes a fixture needs this, with gcc, make and linux-headers-amd64.

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X86_64 } from '../src/arch/x86_64/x86_64.ts';
import { SHN_UNDEF } from '../src/elf/constants.ts';
import { parseElf } from '../src/elf/elf_object.ts';
import { klpConvert } from '../src/elf/klp_convert.ts';
import { kernelBuildDir } from './kernel-headers.ts';
import { ROOT } from './root.ts';
import { run } from './setup/run.ts';

const modulesDir = join(ROOT, 'fixtures/modules');
const attacksDir = join(ROOT, 'fixtures/attacks');
const splitDir = join(ROOT, 'fixtures/split');

/** Modules that are built once more, for a kernel of another configuration. */
interface Variant {
  readonly dir: string;
  readonly modules: readonly string[];
  readonly config?: readonly string[];
  readonly flags: string;
}

const FRAME_POINTER: Variant = {
  dir: join(modulesDir, 'frame-pointer'),
  modules: ['klpdemo_target', 'klpdemo_patch_target', 'klpdemo_patch_both', 'klpdemo_patch_vmlinux'],
  /** What such a kernel's configuration says: frames kept, and checked by objtool; no ORC tables. */
  config: ['CONFIG_FRAME_POINTER=y', 'CONFIG_STACK_VALIDATION=y', 'CONFIG_UNWINDER_ORC='],
  flags: '-DCONFIG_FRAME_POINTER=1',
};
const IBT: Variant = {
  dir: join(modulesDir, 'ibt'),
  modules: [
    'klpdemo_target',
    'klpdemo_patch_target',
    'klpdemo_patch_both',
    'klpdemo_patch_sympos',
    'klpdemo_cold',
    'klpdemo_patch_cold',
  ],
  /** endbr64 at the start of each function that an indirect branch may lead to, and the fentry call behind it. */
  flags: '-fcf-protection=branch',
};
const IMPORTS_BEGIN = '<!-- imports -->';
const IMPORTS_END = '<!-- /imports -->';

export function main(): void {
  const build = headers();
  buildInto(modulesDir, build);
  buildInto(FRAME_POINTER.dir, build, FRAME_POINTER);
  buildInto(attacksDir, build, { sources: attacksDir });
  buildInto(IBT.dir, build, IBT);
  buildInto(splitDir, build, { sources: splitDir });
  for (const ko of modulesIn(splitDir)) resolveByLivepatch(join(splitDir, ko));
  const imports = writeImports();
  console.log(`${modulesIn(modulesDir).length} modules, ${imports} imported symbols`);
}

function headers(): string {
  try {
    return kernelBuildDir();
  } catch (error) {
    if (process.getuid?.() !== 0) throw error;
    const options = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
    run('apt-get', ['update', '-q'], options);
    run('apt-get', ['install', '-y', '-q', 'linux-headers-amd64', 'gcc', 'make'], options);
    return kernelBuildDir();
  }
}

/** All modules into a folder, or some of them built with more configuration and flags. */
function buildInto(
  dir: string,
  build: string,
  { sources = modulesDir, modules, config = [], flags = '' }: Partial<Variant> & { sources?: string } = {},
): void {
  const work = mkdtempSync(join(tmpdir(), 'klpemu-fixtures-'));
  try {
    buildModules(build, work, sources, config, flags);
    mkdirSync(dir, { recursive: true });
    const wanted = modules?.map((name) => `${name}.ko`) ?? modulesIn(work);
    for (const ko of wanted) copyFileSync(join(work, ko), join(dir, ko));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * -g0 rather than stripping alone, and file names in BUG() and WARN() without their folder: the build does not
 * depend on the temporary folder's name.
 */
function buildModules(
  build: string,
  work: string,
  sources: string,
  config: readonly string[],
  more: string,
): void {
  const source = (path: string): boolean => !/\.ko$/.test(path);
  cpSync(sources, work, { recursive: true, filter: source });
  const flags = `KCFLAGS=-g0 -fmacro-prefix-map=${work}/= ${more}`;
  const args = ['-s', '-C', build, `M=${work}`, 'KBUILD_MODPOST_WARN=1', ...config, flags, 'modules'];
  execFileSync('make', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  for (const ko of modulesIn(work)) execFileSync('strip', ['--strip-debug', join(work, ko)]);
  for (const ko of modulesIn(work)) markLivepatchRelocations(join(work, ko));
}

/**
 * What klp-convert does: the relocations of .klp_data get the name and the flag that livepatch goes by, and their
 * symbols its section number. KLPBUNDLE_STATIC of klpbundle.h has made the name.
 */
function markLivepatchRelocations(file: string): void {
  const elf = readFileSync(file);
  const at = Number(elf.readBigUInt64LE(40));
  const header = (i: number): number => at + 64 * i;
  const field = (i: number, offset: number): number => Number(elf.readBigUInt64LE(header(i) + offset));
  const text = (from: number): string => elf.toString('latin1', from, elf.indexOf(0, from));
  const names = field(elf.readUInt16LE(62), 24);
  const name = (i: number): string => text(names + elf.readUInt32LE(header(i)));
  const sections = Array.from({ length: elf.readUInt16LE(60) }, (_, i) => i);
  const named = sections.find((i) => name(i).startsWith('.klp.rela.'));
  const rela = sections.find((i) => name(i) === '.rela.klp_data');
  if (named === undefined || rela === undefined) return;
  elf.writeUInt32LE(elf.readUInt32LE(header(named)), header(rela));
  elf.writeBigUInt64LE(elf.readBigUInt64LE(header(rela) + 8) | 0x00100002n, header(rela) + 8);
  elf.writeUInt32LE(
    elf.readUInt32LE(header(sections.find((i) => name(i) === '.comment') ?? named)),
    header(named),
  );
  const symtab = elf.readUInt32LE(header(rela) + 40);
  const strings = field(elf.readUInt32LE(header(symtab) + 40), 24);
  for (let s = field(symtab, 24); s < field(symtab, 24) + field(symtab, 32); s += 24) {
    if (text(strings + elf.readUInt32LE(s)).startsWith('.klp.sym.')) elf.writeUInt16LE(0xff20, s + 6);
  }
  writeFileSync(file, elf);
}

/** What a target of fixtures/split has and does not export, a patch module has from livepatch. */
function resolveByLivepatch(file: string): void {
  const elf = parseElf(readFileSync(file), file, X86_64.elf);
  const listed = elf.symbols.flatMap(({ name, shndx }) => {
    const [, object] = /(?:^|__SC[KT]__)(klpsplit_t\d)_/.exec(name) ?? [];
    return object !== undefined && shndx === SHN_UNDEF ? [{ object, name, sympos: 0 }] : [];
  });
  if (listed.length === 0) return;
  const { bytes } = klpConvert(elf, new Map(listed.map((symbol) => [symbol.name, [symbol]])), {
    forSplit: true,
  });
  writeFileSync(file, bytes);
}

function modulesIn(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => name.endsWith('.ko'))
    .sort();
}

/** The README's table of imports, and how many there are. */
function writeImports(): number {
  const users = new Map<string, string[]>();
  for (const ko of modulesIn(modulesDir)) {
    for (const symbol of importsOf(join(modulesDir, ko)))
      users.set(symbol, [...(users.get(symbol) ?? []), ko]);
  }
  const rows = [...users]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([symbol, kos]) =>
        `| \`${symbol}\` | ${kos.map((ko) => ko.replace(/^klpdemo_|\.ko$/g, '')).join(', ')} |`,
    );
  const table = ['| symbol | klpdemo_... |', '| --- | --- |', ...rows].join('\n');
  const path = join(modulesDir, 'README.md');
  const text = readFileSync(path, 'utf8');
  const [before] = text.split(IMPORTS_BEGIN);
  const [, after] = text.split(IMPORTS_END);
  writeFileSync(path, `${before}${IMPORTS_BEGIN}\n\n${table}\n\n${IMPORTS_END}${after}`);
  return users.size;
}

function importsOf(file: string): string[] {
  const out = execFileSync('nm', ['-u', file], { encoding: 'utf8' });
  return out.split('\n').flatMap((line) => line.trim().split(/\s+/).slice(1, 2));
}
