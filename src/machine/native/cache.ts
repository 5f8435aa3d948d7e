// Kernels that were made ready once: in memory for this process, and on disk between runs, by the hash of their file.
//
// Invariant: what is kept on disk is what was made, and of no more bytes than its limit (DiskCache).

import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { isMainThread } from 'node:worker_threads';
import type { Arch } from '../../arch/arch.ts';
import { ElfError } from '../../elf/error.ts';
import { packageRoot } from '../../guest/package_root.ts';
import type { SymbolColumns } from '../../kernel/column_symbols.ts';
import { AbsentError, plainDescription, withAbsent } from '../../kernel/describe.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { type NameColumns, PackedNames } from '../../kernel/packed_names.ts';
import { DiskCache } from '../../vmlinuz/disk_cache.ts';
import { KernelFile } from '../../vmlinuz/kernel_file.ts';
import { KernelFileError, kernelPath } from './find.ts';
import { keepSegments, keptSegments, type SegmentPlaces } from './kept_segments.ts';
import { kernelMakersOf } from './makers.ts';
import type { NativeKernel } from './native_kernel.ts';
import { type ExportColumns, PackedExports } from './packed_exports.ts';
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
  const hash = hashOf(file);
  const known = opened.get(hash);
  if (known) return known;
  const kernel = kept(hash, file, arch) ?? prepared(file, arch, hash);
  opened.set(hash, kernel);
  return kernel;
}

/** A piece at a time: of a kernel that is kept nothing else is read of its file. */
function hashOf(path: string): string {
  return reading(path, () => {
    const hash = createHash('sha256');
    const file = openSync(path, 'r');
    try {
      const piece = new Uint8Array(HASHED_AT_ONCE);
      for (let read = readSync(file, piece); read > 0; read = readSync(file, piece))
        hash.update(piece.subarray(0, read));
    } finally {
      closeSync(file);
    }
    return nameOfHash(hash);
  });
}

const HASHED_AT_ONCE = 1 << 18;
const nameOfHash = (hash: Hash): string => hash.digest('hex').slice(0, 32);

function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new KernelFileError(`${path}: ${(error as Error).message}`);
  }
}

/** @throws KernelFileError where the file is another one by now */
function contents(path: string, hash: string): Uint8Array {
  const bytes = reading(path, () => readFileSync(path));
  if (nameOfHash(createHash('sha256').update(bytes)) !== hash)
    throw new KernelFileError(`${path}: it was changed while it was read`);
  return bytes;
}

/** Of a kernel as this code makes it ready. @param kind what is kept of it */
export const keptName = (hash: string, port: string, kind: string): string =>
  `${hash}.${kernelMakersOf(port).slice(0, 16)}.${kind}.bin`;

function prepared(file: string, arch: Arch, hash: string): OpenedKernel {
  const bytes = contents(file, hash);
  if (!KernelFile.is(bytes)) throw new KernelFileError(`${file}: no kernel: neither a bzImage nor a vmlinux`);
  if (isMainThread && process.stderr.isTTY) process.stderr.write(`klpemu: ${file} is made ready, once\n`);
  const { native, description, absent } = readWhole(bytes, file, arch);
  const places = keepSegments(keptKernels, keptName(hash, arch.name, 'memory'), native.segments);
  const { symbols, exports } = native;
  const plain: KeptKernel = {
    native: {
      ...native,
      segments: places,
      symbols: { ...symbols, names: symbols.names.columns },
      exports: exports.columns,
    },
    description: plainDescription(description),
    absent,
  };
  keptKernels.write(keptName(hash, arch.name, 'machine'), [serialize(plain)]);
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

/** What is kept of one, beside the bytes of its segments: plain data. */
interface KeptKernel {
  readonly native: Omit<NativeKernel, 'segments' | 'symbols' | 'exports'> & {
    readonly segments: SegmentPlaces;
    readonly symbols: Omit<SymbolColumns, 'names'> & { readonly names: NameColumns };
    readonly exports: ExportColumns;
  };
  readonly description: object;
  readonly absent: readonly string[];
}

function kept(hash: string, file: string, arch: Arch): OpenedKernel | undefined {
  const data = keptKernels.read(keptName(hash, arch.name, 'machine'));
  if (!data) return undefined;
  const { native, description, absent } = deserialize(data) as KeptKernel & Pick<Prepared, 'description'>;
  const { symbols, exports } = native;
  const again = (): NativeKernel['segments'] => prepared(file, arch, hash).native.segments;
  const segments = keptSegments(keptKernels, keptName(hash, arch.name, 'memory'), native.segments, again);
  if (!segments) return undefined;
  return {
    native: {
      ...native,
      segments,
      symbols: { ...symbols, names: new PackedNames(symbols.names) },
      exports: new PackedExports(exports),
    },
    description: withAbsent(description, absent),
    hash,
  };
}
