// What makes a kernel image of asm/: the assembler and the ORC generator, with the port's parts, as one digest.
//
// A cached image is of the code that made it.

import { digestOfSources } from '../../guest/sources_digest.ts';

/** By port; put in by the build. */
declare const IMAGE_MAKERS: Readonly<Record<string, string>>;

export function makersOf(root: string, port: string): string {
  const built = typeof IMAGE_MAKERS === 'undefined' ? undefined : IMAGE_MAKERS[port];
  return built ?? digestOfMakers(root, port);
}

/** Of the sources in a checkout. */
export function digestOfMakers(root: string, port: string): string {
  const ofPort = ['asm', 'objtool', 'unwind/orc_registers.ts'].map((topic) => `src/arch/${port}/${topic}`);
  return digestOfSources(root, ['src/isa', 'src/asm', 'src/objtool', 'src/elf/orc.ts', ...ofPort]);
}
