// npm run modules: which of a distribution's modules load on the emulated machine with their kernel under it, and what keeps
// the others out.
//
//   node scripts/run.mjs modules --kernel 6.1|6.12|7.3 [--only FOLDER]...    tries them, and keeps the results in .cache/modules
//   node scripts/run.mjs modules --kernel 6.1|6.12|7.3 --real    those that were tried and do not load on the real kernel, in QEMU
//   node scripts/run.mjs modules --page                                      writes docs/kernel-modules.md of kernels that were tried whole
//
// Every module below kernel/ is loaded, with those that it needs; nothing is unloaded. A folder whose results are kept is not tried
// again, so that a run can be ended and taken up: to try it anew, delete them. Exit code 0: every module was tried.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODULE_FILE, moduleName } from '../src/elf/unpack.ts';
import { BOOTED, type BootedVersion, bootedImage, bootedModules } from './debian/booted.ts';
import { ScriptError, ScriptUsageError } from './errors.ts';
import { modulesPage, type TriedKernel } from './modules/page.ts';
import { type RealOutcome, tryOnReal } from './modules/real.ts';
import { ModuleTrial, type TriedModule } from './modules/try.ts';
import { requireQemu } from './oracle/qemu.ts';
import { fetchUserspace } from './oracle/userspace.ts';
import { ROOT } from './root.ts';
import { log } from './setup/run.ts';

const CACHE = join(ROOT, '.cache/modules');
const KERNELS = join(ROOT, '.cache/kernels');
const PAGE = join(ROOT, 'docs/kernel-modules.md');
const USAGE = `usage: npm run modules -- --kernel ${Object.keys(BOOTED).join('|')} [--only FOLDER]... | --kernel ... --real | --page`;

export async function main(args: readonly string[]): Promise<void> {
  if (args.length === 1 && args[0] === '--page') return writePage();
  const { version, only, real } = parsed(args);
  const image = bootedImage(version, KERNELS);
  const folder = bootedModules(version, KERNELS);
  if (image === undefined || folder === undefined)
    throw new ScriptError(`image or modules of ${BOOTED[version].release} cannot be had`);
  if (real) return tryReal(version, image, folder);
  const root = join(folder, 'kernel');
  const folders = only.length > 0 ? only : foldersOf(root);
  const trial = new ModuleTrial(image, folder);
  try {
    for (const one of folders) await tryFolder(trial, version, root, one);
    if (only.length === 0) writeFileSync(join(CACHE, `${BOOTED[version].release}.done`), '');
  } finally {
    trial.close();
  }
}

function parsed(args: readonly string[]): { version: BootedVersion; only: string[]; real: boolean } {
  let version: string | undefined;
  const only: string[] = [];
  let real = false;
  for (let i = 0; i < args.length; i += 2) {
    const value = args[i + 1];
    if (args[i] === '--real') {
      real = true;
      i--;
      continue;
    }
    if (value === undefined) throw new ScriptUsageError(USAGE);
    if (args[i] === '--kernel') version = value;
    else if (args[i] === '--only') only.push(value);
    else throw new ScriptUsageError(USAGE);
  }
  if (version === undefined || !Object.hasOwn(BOOTED, version) || (real && only.length > 0))
    throw new ScriptUsageError(USAGE);
  return { version: version as BootedVersion, only, real };
}

/** Of two words where there are many modules: each is kept when it is done. */
function foldersOf(root: string): string[] {
  return readdirSync(root).flatMap((name) =>
    ['drivers', 'net', 'sound', 'fs'].includes(name)
      ? readdirSync(join(root, name)).map((below) => `${name}/${below}`)
      : [name],
  );
}

async function tryFolder(
  trial: ModuleTrial,
  version: BootedVersion,
  root: string,
  folder: string,
): Promise<void> {
  const { release } = BOOTED[version];
  const kept = join(CACHE, release, `${folder.replaceAll('/', '.')}.json`);
  if (existsSync(kept)) return;
  const names = filesIn(join(root, folder)).map(moduleName).sort();
  const tried: TriedModule[] = [];
  for (const name of names)
    tried.push({ name, folder: folder.split('/')[0], outcome: await trial.outcome(name) });
  mkdirSync(join(CACHE, release), { recursive: true });
  writeFileSync(kept, `${JSON.stringify(tried)}\n`);
  const runs = tried.filter(({ outcome }) => outcome.kind === 'runs').length;
  log(`${release} ${folder}: ${runs} of ${tried.length} load`);
}

/** Modules of a folder, or the one file of that name. */
function filesIn(path: string): string[] {
  if (MODULE_FILE.test(path)) return [path];
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((file) => MODULE_FILE.test(file));
}

const realResults = (release: string): string => join(CACHE, `${release}.real.json`);

/** Of a kernel that was tried whole, those whose own loads fail. */
async function tryReal(version: BootedVersion, kernel: string, folder: string): Promise<void> {
  const { release } = BOOTED[version];
  const tried = triedWhole(release);
  if (!tried) throw new ScriptUsageError(`${release} was not tried whole yet: ${USAGE}`);
  requireQemu();
  const known = realOf(release);
  const names = tried.flatMap(({ name, outcome: { kind } }) =>
    kind === 'runs' || kind === 'needs' ? [] : [name],
  );
  const userspace = fetchUserspace(join(ROOT, '.cache/oracle'));
  const asked = names.filter((name) => !known.has(name));
  await tryOnReal(asked, { kernel, release, folder, userspace }, (name, outcome) => {
    known.set(name, outcome);
    writeFileSync(realResults(release), `${JSON.stringify([...known])}\n`);
  });
  const alike = tried.filter(({ name, outcome }) => {
    const there = known.get(name);
    return outcome.kind === 'refused' && there?.kind === 'refused' && there.errno === outcome.errno;
  });
  log(`${release}: ${alike.length} of ${names.length} are refused by the real kernel with the same errno`);
}

/** What is kept of the real kernel, which a module is asked of once. */
function realOf(release: string): Map<string, RealOutcome> {
  const file = realResults(release);
  return new Map(existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as [string, RealOutcome][]) : []);
}

/** undefined where some folder is not tried. */
function triedWhole(release: string): TriedModule[] | undefined {
  if (!existsSync(join(CACHE, `${release}.done`))) return undefined;
  const folder = join(CACHE, release);
  return readdirSync(folder).flatMap(
    (file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as TriedModule[],
  );
}

function writePage(): void {
  const kernels = Object.values(BOOTED).flatMap(({ release }): TriedKernel[] => {
    const modules = triedWhole(release);
    if (!modules) return [];
    return [{ release, modules, real: realOf(release) }];
  });
  if (kernels.length === 0) throw new ScriptUsageError(`nothing was tried yet: ${USAGE}`);
  writeFileSync(PAGE, modulesPage(kernels));
  console.log(PAGE);
}
