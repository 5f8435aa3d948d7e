// Kernels that were made ready once: in memory for this process, and on disk between runs, by the hash of their file.
//
// What is kept has a checksum over all of it; a damaged one is said and made anew, and where nothing can be written each run
// makes it anew.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { isMainThread } from 'node:worker_threads';
import type { Arch } from '../../arch/arch.ts';
import { ElfError } from '../../elf/error.ts';
import { packageRoot } from '../../guest/package_root.ts';
import { AbsentError, plainDescription, withAbsent } from '../../kernel/describe.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import { KernelFile } from '../../vmlinuz/kernel_file.ts';
import { KernelFileError, kernelPath } from './find.ts';
import type { NativeKernel } from './native_kernel.ts';
import { type Prepared, prepareNative } from './prepare.ts';

export interface OpenedKernel {
  readonly native: NativeKernel;
  readonly description: KernelDescription;
  /** Of its file. */
  readonly hash: string;
}

/** Of what is kept: another number where NativeKernel or the description has other members, or is made otherwise. */
const FORMAT = 9;
const CHECKSUM_SIZE = 32;

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
  const path = join(packageRoot(), '.cache', 'kernels', `${hash}.${FORMAT}.bin`);
  const kernel = kept(path, hash) ?? prepared(bytes, file, arch, path, hash);
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

function prepared(bytes: Uint8Array, file: string, arch: Arch, path: string, hash: string): OpenedKernel {
  if (!KernelFile.is(bytes)) throw new KernelFileError(`${file}: no kernel: neither a bzImage nor a vmlinux`);
  if (isMainThread && process.stderr.isTTY) process.stderr.write(`klpemu: ${file} is made ready, once\n`);
  const { native, description, absent } = readWhole(bytes, file, arch);
  const data = packed({ native, description, absent });
  try {
    mkdirSync(dirname(path), { recursive: true });
    const checksum = createHash('sha256').update(data).digest();
    writeFileSync(`${path}.${process.pid}`, Buffer.concat([checksum, data]));
    renameSync(`${path}.${process.pid}`, path);
  } catch {
    // A cache that cannot be written costs time, nothing else.
  }
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

function kept(path: string, hash: string): OpenedKernel | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const data = bytes.subarray(CHECKSUM_SIZE);
  if (!createHash('sha256').update(data).digest().equals(bytes.subarray(0, CHECKSUM_SIZE))) {
    if (isMainThread) process.stderr.write(`klpemu: ${path}: it is damaged; the kernel is made ready anew\n`);
    return undefined;
  }
  const { native, description, absent } = unpacked(data);
  return { native, description: withAbsent(description, absent), hash };
}

/** What is not bytes of segments, its length before it; behind it those, so that they need not be copied once more. */
function packed({ native, description, absent }: Prepared): Buffer {
  const segments = native.segments.map((segment) => ({ ...segment, bytes: segment.bytes.length }));
  const head = serialize({
    native: { ...native, segments },
    description: plainDescription(description),
    absent,
  });
  const length = Buffer.alloc(HEAD_LENGTH);
  length.writeUInt32LE(head.length);
  return Buffer.concat([length, head, ...native.segments.map(({ bytes }) => bytes)]);
}

function unpacked(data: Buffer): Prepared {
  const start = HEAD_LENGTH + data.readUInt32LE();
  const { native, description, absent } = deserialize(data.subarray(HEAD_LENGTH, start));
  let at = start;
  const segments = native.segments.map((segment: { readonly bytes: number }) => {
    at += segment.bytes;
    return { ...segment, bytes: data.subarray(at - segment.bytes, at) };
  });
  return { native: { ...native, segments }, description, absent };
}

const HEAD_LENGTH = 4;
