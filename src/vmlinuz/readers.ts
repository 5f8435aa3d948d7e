// What reads a kernel's image, as one digest: what is kept of it on disk is of the code that worked it out.

import { packageRoot } from '../guest/package_root.ts';
import { digestOfSources } from '../guest/sources_digest.ts';

/** By port; put in by the build. */
declare const KERNEL_READERS: Readonly<Record<string, string>>;

const known = new Map<string, string>();

export function readersOf(port: string): string {
  const built = typeof KERNEL_READERS === 'undefined' ? undefined : KERNEL_READERS[port];
  const digest = built ?? known.get(port) ?? digestOfReaders(packageRoot(), port);
  known.set(port, digest);
  return digest;
}

/** Of the sources in a checkout. */
export function digestOfReaders(root: string, port: string): string {
  const folders = ['vmlinuz', 'unpack', 'btf', 'isa', 'elf', 'objtool', `arch/${port}/objtool`];
  const parts = folders.map((folder) => `src/${folder}`);
  return digestOfSources(root, parts);
}
