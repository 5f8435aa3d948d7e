// Kernels that were made ready once: in memory for this process, and on disk between runs, by the hash of their file.
//
// Invariant: what is kept on disk is what was made, and of no more bytes than its limit (DiskCache).

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { isMainThread } from 'node:worker_threads';
import type { Arch } from '../../arch/arch.ts';
import { ElfError } from '../../elf/error.ts';
import { packageRoot } from '../../guest/package_root.ts';
import { AbsentError, plainDescription, withAbsent } from '../../kernel/describe.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { DiskCache } from '../../vmlinuz/disk_cache.ts';
import { KernelFile } from '../../vmlinuz/kernel_file.ts';
import { KernelFileError, kernelPath } from './find.ts';
import { kernelMakersOf } from './makers.ts';
import type { NativeKernel } from './native_kernel.ts';
import { type Prepared, prepareNative } from './prepare.ts';

export interface OpenedKernel {
  readonly native: NativeKernel;
  readonly description: KernelDescription;
  /** Of its file. */
  readonly hash: string;
}

/** A dozen kernels, each with what is worked out of it. */
const MOST_KEPT = 512 << 20;

/** What is worked out of kernels' files, by their hash. */
export const keptKernels = new DiskCache(join(packageRoot(), '.cache', 'kernels'), MOST_KEPT);

const opened = new Map<string, OpenedKernel>();

/**
 * @param name a file, or the release of an installed kernel
 * @throws KernelFileError for one that cannot be read or is no kernel that the machine takes
 */
export function openKernel(name: string, arch: Arch): OpenedKernel {
  const file = kernelPath(name);
  const bytes = contents(file);
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  const known = opened.get(hash);
  if (known) return known;
  const kernel = kept(hash, arch) ?? prepared(bytes, file, arch, hash);
  opened.set(hash, kernel);
  return kernel;
}

function contents(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new KernelFileError(`${file}: ${(error as Error).message}`);
  }
}

/** Of a kernel as this code makes it ready. @param kind what is kept of it */
export const keptName = (hash: string, port: string, kind: string): string =>
  `${hash}.${kernelMakersOf(port).slice(0, 16)}.${kind}.bin`;

function prepared(bytes: Uint8Array, file: string, arch: Arch, hash: string): OpenedKernel {
  if (!KernelFile.is(bytes)) throw new KernelFileError(`${file}: no kernel: neither a bzImage nor a vmlinux`);
  if (isMainThread && process.stderr.isTTY) process.stderr.write(`klpemu: ${file} is made ready, once\n`);
  const { native, description, absent } = readWhole(bytes, file, arch);
  keptKernels.write(keptName(hash, arch.name, 'machine'), packed({ native, description, absent }));
  return { native, description, hash };
}

function readWhole(bytes: Uint8Array, file: string, arch: Arch): Prepared {
  const { code, elf } = arch;
  if (!code) throw new KernelFileError(`a machine of ${arch.name} has no kernel but its own`);
  try {
    return prepareNative(new KernelFile(bytes, file, { elf, code }), arch);
  } catch (error) {
    if (error instanceof ElfError) throw new KernelFileError(error.message, { cause: error });
    if (error instanceof AbsentError)
      throw new KernelFileError(`${file}: ${error.message}`, { cause: error });
    throw error;
  }
}

function kept(hash: string, arch: Arch): OpenedKernel | undefined {
  const data = keptKernels.read(keptName(hash, arch.name, 'machine'));
  if (!data) return undefined;
  const { native, description, absent } = unpacked(data);
  return { native, description: withAbsent(description, absent), hash };
}

/** What is not bytes of segments, its length before it; behind it those, so that they need not be copied once more. */
function packed({ native, description, absent }: Prepared): Uint8Array[] {
  const segments = native.segments.map((segment) => ({ ...segment, bytes: segment.bytes.length }));
  const head = serialize({
    native: { ...native, segments },
    description: plainDescription(description),
    absent,
  });
  const length = Buffer.alloc(HEAD_LENGTH);
  length.writeUInt32LE(head.length);
  return [length, head, ...native.segments.map(({ bytes }) => bytes)];
}

function unpacked(data: Uint8Array): Prepared {
  const start = HEAD_LENGTH + new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const { native, description, absent } = deserialize(data.subarray(HEAD_LENGTH, start));
  let at = start;
  const segments = native.segments.map((segment: { readonly bytes: number }) => {
    at += segment.bytes;
    return { ...segment, bytes: data.subarray(at - segment.bytes, at) };
  });
  return { native: { ...native, segments }, description, absent };
}

const HEAD_LENGTH = 4;
