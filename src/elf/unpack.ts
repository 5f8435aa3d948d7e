// Module files as distributions install them: packed by xz, zstd or gzip, which what is in them tells and not their
// name; and which file is a module's. Mirrors what libkmod does with a file before it is given to the kernel.
//
// Invariants: a packed file takes no more memory than the limit, whatever it claims; no program of the host is needed.

import * as zlib from 'node:zlib';
import { unxz, XZ_MAGIC } from '../unpack/xz.ts';
import { unzstd, ZSTD_MAGIC } from '../unpack/zstd.ts';
import { ElfError } from './error.ts';

/** `.ko`, packed or not. */
export const MODULE_FILE = /\.ko(\.(xz|zst|gz))?$/;

/** Hyphens and underscores are the same in module names; `.ko` is no part of one, nor how it is packed. */
export function moduleName(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1).replace(MODULE_FILE, '');
  return base.replaceAll('-', '_');
}

/** Which file of a folder is a module's: the one of just that name, or else one that is not packed. */
export function fileOfModule(name: string, files: readonly string[]): string | undefined {
  const wanted = name.replaceAll('-', '_');
  const found = files.filter((file) => MODULE_FILE.test(file) && moduleName(file) === wanted);
  return [`${name}.ko`, ...found.filter((file) => file.endsWith('.ko')), ...found].find((f) =>
    found.includes(f),
  );
}

/** What no kernel object is larger than; a packed file may claim anything. */
export const UNPACKED_MAX = 512 << 20;

/** @throws UnpackError, Error of Node's own decompression */
type Unpacking = (bytes: Uint8Array) => Uint8Array;

const TOO_LARGE = ['ERR_BUFFER_TOO_LARGE', 'too-large'];
const options = { maxOutputLength: UNPACKED_MAX };
/** Node has it from 22.15 on. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof zlib.gunzipSync };

const PACKINGS: readonly { readonly magic: readonly number[]; readonly unpacking: Unpacking }[] = [
  { magic: [0x1f, 0x8b], unpacking: (bytes) => zlib.gunzipSync(bytes, options) },
  { magic: XZ_MAGIC, unpacking: (bytes) => unxz(bytes, UNPACKED_MAX) },
  {
    magic: ZSTD_MAGIC,
    unpacking: (bytes) => zstdDecompressSync?.(bytes, options) ?? unzstd(bytes, UNPACKED_MAX),
  },
];

/** What was unpacked, for as long as somebody holds the packed bytes. */
const known = new WeakMap<Uint8Array, Uint8Array>();

/** The bytes, unpacked where they are packed. @throws ElfError */
export function unpack(bytes: Uint8Array, file: string): Uint8Array {
  const packing = PACKINGS.find(({ magic }) => magic.every((byte, i) => bytes[i] === byte));
  if (!packing) return bytes;
  let unpacked = known.get(bytes);
  if (!unpacked) {
    unpacked = told(packing.unpacking, bytes, file);
    known.set(bytes, unpacked);
  }
  return unpacked;
}

function told(unpacking: Unpacking, bytes: Uint8Array, file: string): Uint8Array {
  try {
    return unpacking(bytes);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Anything else is a fault of ours.
    if (code === undefined) throw error;
    const why = TOO_LARGE.includes(code)
      ? `unpacks to more than ${UNPACKED_MAX >> 20} MiB, which no kernel object has`
      : `cannot be unpacked: ${message}`;
    throw new ElfError(file, why);
  }
}
