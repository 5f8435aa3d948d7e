// What makes a kernel of a file ready, as one digest: what is kept of it on disk is of the code that made it, and of the
// tables that it knows kernels by.

import { packageRoot } from '../../guest/package_root.ts';
import { digestOfSources } from '../../guest/sources_digest.ts';

/** By port; put in by the build. */
declare const KERNEL_MAKERS: Readonly<Record<string, string>>;

const known = new Map<string, string>();

export function kernelMakersOf(port: string): string {
  const built = typeof KERNEL_MAKERS === 'undefined' ? undefined : KERNEL_MAKERS[port];
  const digest = built ?? known.get(port) ?? digestOfKernelMakers(packageRoot(), port);
  known.set(port, digest);
  return digest;
}

/** Of the sources in a checkout. */
export function digestOfKernelMakers(root: string, port: string): string {
  const parts = ['vmlinuz', 'unpack', 'btf', 'isa', 'elf', 'kernel', 'module', 'machine/native', 'callgraph'];
  const files = ['vet/kernel_code.ts', `arch/${port}`];
  return digestOfSources(
    root,
    [...parts, ...files].map((part) => `src/${part}`),
  );
}
