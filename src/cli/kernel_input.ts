// Kernels and types that commands are given as files; what is wrong with one is the user's affair.

import { join } from 'node:path';
import { X86_64 } from '../arch/x86_64/x86_64.ts';
import { Btf } from '../btf/btf.ts';
import { parseElf } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import { packageRoot } from '../guest/package_root.ts';
import { DiskCache } from '../vmlinuz/disk_cache.ts';
import { KernelCache } from '../vmlinuz/kept_kernel.ts';
import { KernelFile } from '../vmlinuz/kernel_file.ts';
import { UsageError } from './exit.ts';
import { readObject } from './object_files.ts';

/** What no disk is full by: six kernels or so, and the objects that were made of them. */
const MOST_KEPT = 1024 << 20;
/** Smaller files are unpacked and read in milliseconds. */
const LEAST_KEPT = 1 << 20;

let cache: KernelCache | undefined;

/** Of kernels between runs; where it cannot be written each run unpacks its own. */
export function kernelCache(): KernelCache {
  cache ??= new KernelCache(
    new DiskCache(join(packageRoot(), '.cache', 'vmlinuz'), MOST_KEPT),
    X86_64.name,
    LEAST_KEPT,
  );
  return cache;
}

/** @throws UsageError where a file cannot be used */
export function readable<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof ElfError) throw new UsageError(error.message);
    throw error;
  }
}

/** A bzImage or a vmlinux. @throws ElfError */
export function openKernel(path: string): KernelFile {
  return new KernelFile(readObject(path), path, X86_64, kernelCache());
}

/** Of a kernel, a module, or a file of /sys/kernel/btf. @throws UsageError, ElfError */
export function openBtf(path: string, base?: Btf): Btf {
  const bytes = readObject(path);
  if (isBtf(bytes)) return new Btf(bytes, { file: path }, base);
  if (KernelFile.is(bytes)) {
    const { btf } = new KernelFile(bytes, path, X86_64, kernelCache());
    if (btf) return btf;
  } else {
    const elf = parseElf(bytes, path, X86_64.elf);
    const section = elf.section('.BTF');
    if (section) return new Btf(elf.data(section), { file: path, section: '.BTF' }, base);
  }
  throw new UsageError(`${path}: no .BTF section: it was built without types (CONFIG_DEBUG_INFO_BTF)`);
}

/** By its magic. */
function isBtf(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 2)).toString('latin1') === '\x9f\xeb';
}
