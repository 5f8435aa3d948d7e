// Files that klpemu bundle is given, and what is wrong with them.

import { readFileSync } from 'node:fs';
import { BundleError } from '../../bundle/error.ts';
import { ElfError } from '../../elf/error.ts';
import { unpack } from '../../elf/unpack.ts';
import { systemReason, UsageError } from '../exit.ts';

/** Unpacked. @throws UsageError */
export function bytesOf(path: string): Uint8Array {
  try {
    return unpack(new Uint8Array(readFileSync(path)), path);
  } catch (error) {
    if (error instanceof ElfError) throw new UsageError(error.message);
    throw new UsageError(`${path}: ${systemReason(error)}`);
  }
}

/** What is wrong with a bundle or a module is the user's to know, not a failure of klpemu. */
export function checked<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof BundleError) throw new UsageError(`${file}: ${error.message}`);
    if (error instanceof ElfError) throw new UsageError(error.message);
    throw error;
  }
}
