// The members of a bundle that a step of a comparison enables: patch modules of one object as they are, others split.

import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { BundleError } from '../bundle/error.ts';
import { patchModule } from '../bundle/format.ts';
import { SplitRefused, splitUber } from '../bundle/split/split.ts';
import { parseElf } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import { readModInfo } from '../elf/modinfo.ts';
import { BUILT_IN, type KernelDescription } from '../kernel/description.ts';

interface BundledFile {
  readonly file: string;
  readonly object: string;
  readonly bytes: Uint8Array;
}

/** @param bundle its name @throws BundleError, ElfError or SplitRefused */
export function bundledFiles(
  module: string,
  bytes: Uint8Array,
  bundle: string,
  kernel: KernelDescription = BUILT_IN,
): readonly BundledFile[] {
  const file = `${module}.ko`;
  const { elf, code } = X86_64;
  try {
    return [{ file, object: patchModule(file, bytes, elf, kernel).object, bytes }];
  } catch (error) {
    if (!(error instanceof BundleError) || !code || !isLivepatch(bytes, file)) throw error;
    // Without a struct klp_patch in its data, or with one of several objects.
    return splitUber(bytes, file, bundle, { elf, code }, kernel).members;
  }
}

function isLivepatch(bytes: Uint8Array, file: string): boolean {
  try {
    return readModInfo(parseElf(bytes, file, X86_64.elf)).get('livepatch') === 'Y';
  } catch (error) {
    if (error instanceof ElfError) return false;
    throw error;
  }
}

/** Why a module cannot be in a bundle; other errors are none of that kind. */
export function bundlingProblem(error: unknown): string {
  if (error instanceof SplitRefused) return `${error.message}: ${error.reasons.join('; ')}`;
  if (error instanceof BundleError || error instanceof ElfError) return error.message;
  throw error;
}
