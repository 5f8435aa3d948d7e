// The modules that both machines get: those of fixtures/modules that the generator speaks of, as checked in for the kernel
// that they were built for, and built by kbuild with the headers of any other.

import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { withArchive } from '../debian/archive.ts';
import { BOOTED, type BootedVersion } from '../debian/booted.ts';
import { KbuildRoot } from '../debian/kbuild_root.ts';
import { KERNELS } from '../debian/kernels.ts';
import { ROOT } from '../root.ts';
import { oneAtATime } from '../setup/one_at_a_time.ts';
import { log } from '../setup/run.ts';
import { MODULE_NAMES } from './vocabulary.ts';

const FIXTURES = join(ROOT, 'fixtures/modules');
/** Modules of more than one object, by their objects. */
const OBJECTS: Readonly<Record<string, readonly string[]>> = {
  klpdemo_target: ['klpdemo_target_main', 'klpdemo_target_twin'],
};

/** klpdemo_bad_import asks for what no kernel has; without debug information there are no types of it. */
const VARIABLES = ['KBUILD_MODPOST_WARN=1', 'KCFLAGS=-g0', 'CONFIG_DEBUG_INFO_BTF_MODULES='];

/** The folder of the modules for a kernel. Every step is skipped when its result is there. @throws ScriptError */
export function modulesFor(version: BootedVersion, cache: string): string {
  const { release } = BOOTED[version];
  const first = readFileSync(join(FIXTURES, `${MODULE_NAMES[0]}.ko`), 'latin1');
  if (first.includes(`vermagic=${release} `)) return FIXTURES;
  const modules = join(cache, `modules-${release}-${digestOfSources()}`);
  if (!existsSync(modules))
    oneAtATime(`${modules}.lock`, () => {
      if (!existsSync(modules)) build(version, modules);
    });
  return modules;
}

/** Whole or not at all. */
function build(version: BootedVersion, modules: string): void {
  const { release } = BOOTED[version];
  log(`fetching headers of ${release} and the compiler of its modules, and building modules (some minutes)`);
  const work = `${modules}.part`;
  rmSync(work, { recursive: true, force: true });
  try {
    makeSource(join(work, 'source'));
    withArchive(KERNELS[version], (archive) => {
      const root = KbuildRoot.unpack(archive, release, join(work, 'root'));
      root.build(join(work, 'source'), join(work, 'modules'), VARIABLES);
    });
    renameSync(join(work, 'modules'), modules);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const sources = (): string[] => readdirSync(FIXTURES).filter((name) => /\.[ch]$/.test(name));

/** What was built of other sources, or for other names, is none of these. */
function digestOfSources(): string {
  const digest = createHash('sha256').update(MODULE_NAMES.join(' '));
  for (const name of sources().sort()) digest.update(name).update(readFileSync(join(FIXTURES, name)));
  return digest.digest('hex').slice(0, 12);
}

function makeSource(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const name of sources()) cpSync(join(FIXTURES, name), join(folder, name));
  const lines = MODULE_NAMES.flatMap((name) => {
    const objects = OBJECTS[name];
    const own = objects ? [`${name}-y := ${objects.map((one) => `${one}.o`).join(' ')}`] : [];
    return [...own, `obj-m += ${name}.o`];
  });
  writeFileSync(join(folder, 'Kbuild'), `${lines.join('\n')}\n`);
}
