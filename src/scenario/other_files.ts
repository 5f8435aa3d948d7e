// Files that are not what a scenario needs: something else than a scenario, a packed module that is broken.

import { readFileSync } from 'node:fs';
import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { ELF_MAGIC } from '../elf/constants.ts';
import { fileKind } from '../elf/file_kind.ts';
import { unpack } from '../elf/unpack.ts';

/** Why a module that is packed cannot be unpacked. */
export function packingProblem(path: string): string | undefined {
  try {
    if (/\.(xz|zst|gz)$/.test(path)) unpack(readFileSync(path), path);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What a file is that cannot be a scenario, and the way out. */
export function otherThanText(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return undefined;
  const isElf = Buffer.from(bytes.subarray(0, 4)).toString('latin1') === ELF_MAGIC;
  const kind = fileKind(bytes, X86_64.elf) ?? (isElf ? 'a kernel module or object' : undefined);
  if (kind === undefined || /^a (text file|script)$/.test(kind)) return undefined;
  const way =
    "A scenario loads modules by 'modules' and 'load'; klpemu shell --dir has them to be loaded by hand";
  return `this is ${kind}: no scenario (YAML). ${way}`;
}
