// What makes a kernel of a file ready, as one digest: what is kept of it on disk is of the code that made it, and of the
// tables that it knows kernels by.

import { packageRoot } from '../../guest/package_root.ts';
import { digestOfSources } from '../../guest/sources_digest.ts';

/** By port; put in by the build. */
declare const KERNEL_MAKERS: Readonly<Record<string, string>>;
declare const BOOT_MAKERS: string;

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

let knownBoot: string | undefined;

/** What leads a machine through the boot of a kernel, as one digest: all that it is made of. @param port the instruction set's */
export function bootMakersOf(port: string): string {
  knownBoot ??= typeof BOOT_MAKERS === 'undefined' ? digestOfBootMakers(packageRoot()) : BOOT_MAKERS;
  return `${knownBoot} ${kernelMakersOf(port)}`;
}

/** Of the sources in a checkout. */
export function digestOfBootMakers(root: string): string {
  const parts = [
    'arch',
    'asm',
    'bundle',
    'elf',
    'frames',
    'fs',
    'ftrace',
    'guest',
    'isa',
    'kernel',
    'livepatch',
    'machine',
  ];
  const more = ['mm', 'module', 'objtool', 'sched', 'submodules', 'tracing', 'unwind', 'vmlinuz'];
  return digestOfSources(root, ['asm', ...[...parts, ...more].map((part) => `src/${part}`)]);
}
