// What is judged: a livepatch of one module, or a bundle of several, which come and go as one.

import type { CheckableArch } from '../arch/arch.ts';
import { BundleError } from '../bundle/error.ts';
import { readBundle } from '../bundle/format.ts';
import type { KernelDescription } from '../kernel/description.ts';
import { type PatchFile, readPatch, VetError } from './patch_file.ts';

/** As it is enabled. */
export interface Livepatch {
  readonly name: string;
  /** Of the module, or of the bundle. */
  readonly bytes: Uint8Array;
  readonly params: string;
  readonly isBundle: boolean;
}

export interface Subject extends Livepatch {
  readonly path: string;
  /** Its modules: itself, or the members of the bundle. */
  readonly members: readonly PatchFile[];
}

const BUNDLE = /\.klpb$/;

/** @throws VetError for what is no livepatch and no bundle, ElfError for what is no object of the machine */
export function readSubject(
  path: string,
  bytes: Uint8Array,
  arch: CheckableArch,
  kernel: KernelDescription,
  params = '',
): Subject {
  if (BUNDLE.test(path)) return readBundleSubject(path, bytes, arch, kernel, params);
  const patch = readPatch(path, bytes, arch, kernel, params);
  return { path, bytes, params, name: patch.name, isBundle: false, members: [patch] };
}

function readBundleSubject(
  path: string,
  bytes: Uint8Array,
  arch: CheckableArch,
  kernel: KernelDescription,
  params: string,
): Subject {
  if (params !== '') throw new VetError(`${path}: a bundle takes no parameters`);
  try {
    const { name, members } = readBundle(bytes, arch.elf, kernel);
    return {
      path,
      bytes,
      params,
      name,
      isBundle: true,
      members: members.map((member) =>
        readPatch(`${path}: ${member.file}`, member.bytes, arch, kernel, '', true),
      ),
    };
  } catch (error) {
    if (error instanceof BundleError) throw new VetError(`${path}: ${error.message}`);
    throw error;
  }
}
