// A bundle as a file: made from patch modules, and verified before anything of it is used.
//
// Invariant: a BundleFile has passed every check that needs no machine: manifest, hashes, one object a member,
// no object twice.

import { createHash } from 'node:crypto';
import { type ElfObject, parseElf } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import type { ElfMachine } from '../elf/machine.ts';
import { readModInfo } from '../elf/modinfo.ts';
import { BUILT_IN, type KernelDescription } from '../kernel/description.ts';
import { type Contents, checkNoCycle, contentsOf } from './contents.ts';
import { BundleError } from './error.ts';
import { type FileState, klpPatchOf } from './klp_objects.ts';
import { type Manifest, type ManifestMember, parseManifest } from './manifest.ts';
import { readTar, writeTar } from './tar.ts';

export interface BundleMember extends ManifestMember {
  /** The patch module's name. */
  readonly module: string;
  /** System states that the file has. */
  readonly states: readonly FileState[];
  readonly contents: Contents;
  readonly bytes: Uint8Array;
}

export interface BundleFile extends Omit<Manifest, 'members'> {
  readonly members: readonly BundleMember[];
}

const MANIFEST = 'bundle.json';

/**
 * Reads and verifies.
 * @param machine,kernel for which the members are
 * @throws BundleError
 */
export function readBundle(
  bytes: Uint8Array,
  machine: ElfMachine,
  kernel: KernelDescription = BUILT_IN,
): BundleFile {
  const [first, ...files] = readTar(bytes);
  if (first?.name !== MANIFEST) throw new BundleError('EINVAL', `the first entry is not ${MANIFEST}`);
  const manifest = parseManifest(Buffer.from(first.bytes).toString('utf8'));
  const known = new Set(manifest.members.map((member) => member.file));
  const stray = files.find(({ name }) => !known.has(name));
  if (stray) throw new BundleError('EINVAL', `${stray.name} is in the tar and not in ${MANIFEST}`);
  const byName = new Map<string, Uint8Array[]>();
  for (const { name, bytes: file } of files) {
    const same = byName.get(name);
    if (same) same.push(file);
    else byName.set(name, [file]);
  }
  const members = manifest.members.map((member) => {
    const found = byName.get(member.file) ?? [];
    if (found.length !== 1)
      throw new BundleError('EINVAL', `member ${member.file} is in the tar ${found.length} times`);
    return verifyMember(member, found[0], machine, kernel);
  });
  const names = new Set(members.map((member) => member.module));
  if (names.size < members.length) throw new BundleError('EINVAL', 'two members are modules of one name');
  checkStates(members);
  checkNoCycle(members);
  return { ...manifest, members };
}

/** A bundle is one patch: it has a state in one version. */
function checkStates(members: readonly BundleMember[]): void {
  const known = new Map<bigint, { file: string; version: number }>();
  for (const { file, states } of members) {
    for (const { id, version } of states) {
      const other = known.get(id);
      if (other && other.version !== version)
        throw new BundleError(
          'EINVAL',
          `state ${id} is of version ${other.version} in member ${other.file} and ${version} in ${file}`,
        );
      known.set(id, { file, version });
    }
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function verifyMember(
  member: ManifestMember,
  bytes: Uint8Array,
  machine: ElfMachine,
  kernel: KernelDescription,
): BundleMember {
  if (sha256(bytes) !== member.sha256)
    throw new BundleError('EBADMSG', `member ${member.file} is not the file whose SHA-256 the manifest has`);
  const elf = parsed(member.file, bytes, machine);
  const { name, object, states } = patchOf(member.file, elf, kernel);
  if (object !== member.object)
    throw new BundleError(
      'EINVAL',
      `member ${member.file} is for object ${object}, not for ${member.object}`,
    );
  return { ...member, module: name, states, contents: readable(() => contentsOf(elf)), bytes };
}

/** Name of a patch module, its object, the functions of that which it replaces, its states. @throws BundleError */
export function patchModule(
  file: string,
  bytes: Uint8Array,
  machine: ElfMachine,
  kernel: KernelDescription = BUILT_IN,
): PatchModule {
  return patchOf(file, parsed(file, bytes, machine), kernel);
}

interface PatchModule {
  readonly name: string;
  readonly object: string;
  readonly functions: readonly string[];
  readonly states: readonly FileState[];
}

function patchOf(file: string, elf: ElfObject, kernel: KernelDescription): PatchModule {
  const info = readModInfo(elf);
  if (info.get('livepatch') !== 'Y') throw new BundleError('ENOEXEC', `${file} is no livepatch module`);
  const patch = klpPatchOf(elf, kernel.structs);
  if (!patch) throw new BundleError('ENOEXEC', `${file} has no struct klp_patch`);
  const { objects, states } = patch;
  if (objects.length !== 1)
    throw new BundleError(
      'EINVAL',
      `${file} is for ${objects.length} objects (${objects.map((o) => o.name).join(', ')}), not for one`,
    );
  const [{ name: object, functions }] = objects;
  return { name: info.get('name') ?? file.replace(/\.ko$/, ''), object, functions, states };
}

function parsed(file: string, bytes: Uint8Array, machine: ElfMachine): ElfObject {
  return readable(() => parseElf(bytes, file, machine));
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ElfError) throw new BundleError('ENOEXEC', error.message);
    throw error;
  }
}

interface BundleSource {
  readonly name: string;
  readonly version: string;
  readonly replace: boolean;
  /** Patch modules, in the order of their callbacks. */
  readonly files: readonly { readonly file: string; readonly bytes: Uint8Array }[];
  /** Targets by name, whose srcversion the manifest takes. */
  readonly targets: ReadonlyMap<string, Uint8Array>;
}

/** Makes a bundle and reads it back. @throws BundleError */
export function createBundle(
  source: BundleSource,
  machine: ElfMachine,
  kernel: KernelDescription = BUILT_IN,
): Uint8Array {
  const members = source.files.map(({ file, bytes }): ManifestMember => {
    const { object } = patchModule(file, bytes, machine, kernel);
    return { file, object, ...targetOf(object, file, bytes, source.targets, machine), sha256: sha256(bytes) };
  });
  const { name, version, replace } = source;
  const text = `${JSON.stringify({ name, version, replace, members }, null, 2)}\n`;
  const manifest = { name: MANIFEST, bytes: new Uint8Array(Buffer.from(text)) };
  const tar = writeTar([manifest, ...source.files.map(({ file, bytes }) => ({ name: file, bytes }))]);
  readBundle(tar, machine, kernel);
  return tar;
}

/** srcversion of the target where its file is given; else the vermagic that the patch module was built for. */
function targetOf(
  object: string,
  file: string,
  bytes: Uint8Array,
  targets: ReadonlyMap<string, Uint8Array>,
  machine: ElfMachine,
): Pick<ManifestMember, 'srcversion' | 'vermagic'> {
  const target = targets.get(object);
  const srcversion = target && readModInfo(parsed(`${object}.ko`, target, machine)).get('srcversion');
  if (srcversion !== undefined) return { srcversion };
  const vermagic = readModInfo(parsed(file, bytes, machine)).get('vermagic');
  if (vermagic === undefined) throw new BundleError('ENOEXEC', `${file} has no vermagic`);
  return { vermagic };
}
