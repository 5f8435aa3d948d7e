// The modules of random sequences, as each kind of machine has them.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { klpConvert } from '../../src/elf/klp_convert.ts';
import { parseKlpSymbols } from '../../src/elf/klp_symbols.ts';
import type { MachineOptions } from '../../src/machine/machine.ts';

/**
 * ibt: modules whose functions begin with endbr64, where there are such. packed: files as `gzip` makes them. frame pointer:
 * a kernel without ORC, and its modules. bundle: patches of several modules at once, and loads that wait at the gate.
 */
export type Kind = 'plain' | 'ibt' | 'packed' | 'frame pointer' | 'bundle';

/** Modules to be patched, and the patches. */
export const MODULE_FILES = {
  target: 'klpdemo_target',
  patch_target: 'klpdemo_patch_target',
  patch_both: 'klpdemo_patch_both',
  patch_vmlinux: 'klpdemo_patch_vmlinux',
  patch_sympos: 'klpdemo_patch_sympos',
  patch_local: 'klpdemo_patch_local',
  patch_shadow: 'klpdemo_patch_shadow',
  patch_sizes: 'klpdemo_patch_sizes',
  state_a: 'klpdemo_state_a',
  state_b: 'klpdemo_state_b',
  core: 'klpbundle_core',
  mid: 'klpbundle_mid',
} as const;
export type ModuleName = keyof typeof MODULE_FILES;

/** Bundles, by the ends of their members' names. */
export const BUNDLES = {
  v1: ['p1_core', 'p1_vmlinux'],
  v2: ['p2_core', 'p1_mid'],
} as const;
export type BundleName = keyof typeof BUNDLES;

/** Options of the machine. A bundle is larger than what others load. */
export const OPTIONS_OF: Readonly<Record<Kind, MachineOptions>> = {
  plain: {},
  ibt: {},
  packed: {},
  'frame pointer': { unwinder: 'frame pointer' },
  bundle: { model: 'bundle', heap: 8 << 20 },
};

/** Upwards from here, wherever this was built to. */
function projectRoot(from = import.meta.dirname): string {
  return existsSync(join(from, 'fixtures')) ? from : projectRoot(dirname(from));
}
const FOLDER = join(projectRoot(), 'fixtures/modules');
/** The list of symbols of the kernel that are its own, for klp-convert. */
const LOCAL_SYMBOLS = 'vmlinux.cmdline_proc_show';

const known = new Map<string, Uint8Array | undefined>();

/** undefined: there is none for such a machine. */
export function moduleBytes(kind: Kind, name: string): Uint8Array | undefined {
  const key = `${kind}/${name}`;
  if (!known.has(key)) known.set(key, read(kind, name));
  return known.get(key);
}

function read(kind: Kind, name: string): Uint8Array | undefined {
  const own = join(FOLDER, kind.replace(' ', '-'), `${name}.ko`);
  if (existsSync(own)) return readFileSync(own);
  if (kind === 'frame pointer') return undefined;
  const file = join(FOLDER, `${name}.ko`);
  const built: Uint8Array = readFileSync(file);
  const bytes =
    name === MODULE_FILES.patch_local
      ? klpConvert(parseElf(built, file, X86_64.elf), parseKlpSymbols(LOCAL_SYMBOLS, '')).bytes
      : built;
  return kind === 'packed' ? gzipSync(bytes) : bytes;
}

/** @param replace what other bundles have patched */
export function bundleBytes(name: BundleName, replace: boolean): Uint8Array {
  const key = `bundle ${name} ${replace}`;
  let bytes = known.get(key);
  if (!bytes) {
    const ko = (end: string): Uint8Array => readFileSync(join(FOLDER, `klpbundle_${end}.ko`));
    const targets = new Map(['core', 'mid'].map((target) => [`klpbundle_${target}`, ko(target)]));
    const files = BUNDLES[name].map((member) => ({ file: `klpbundle_${member}.ko`, bytes: ko(member) }));
    bytes = createBundle({ name, version: '1', replace, files, targets }, X86_64.elf);
    known.set(key, bytes);
  }
  return bytes;
}
