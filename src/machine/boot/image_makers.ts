// What makes a kernel image of asm/: the assembler and the ORC generator, with the port's parts, as one digest.
//
// A cached image is of the code that made it. The build puts the digest into what it bundles, which so knows its own
// code, whatever has become of the sources beside it; code that is run from its sources reads them.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** By port; put in by the build. */
declare const IMAGE_MAKERS: Readonly<Record<string, string>>;

export function makersOf(root: string, port: string): string {
  const built = typeof IMAGE_MAKERS === 'undefined' ? undefined : IMAGE_MAKERS[port];
  return built ?? digestOfMakers(root, port);
}

/** Of the sources in a checkout. */
export function digestOfMakers(root: string, port: string): string {
  const hash = createHash('sha256');
  const ofPort = ['asm', 'objtool', 'unwind/orc_registers.ts'].map((topic) => `src/arch/${port}/${topic}`);
  for (const part of ['src/isa', 'src/asm', 'src/objtool', 'src/elf/orc.ts', ...ofPort]) {
    for (const path of filesOf(join(root, part)))
      hash
        .update(`${relative(root, path)}\0`)
        .update(readFileSync(path))
        .update('\0');
  }
  return hash.digest('hex');
}

/** The files of a folder, or the file; none where there are no sources. */
function filesOf(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return [];
  if (!stat.isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesOf(join(path, name)));
}
