// Module files as distributions install them: packed by xz, zstd or gzip, which what is in them tells and not their
// name. Mirrors what libkmod does with a file before it is given to the kernel.
//
// Invariant: a packed file takes no more memory than the limit, whatever it claims.

import { spawnSync } from 'node:child_process';
import * as zlib from 'node:zlib';
import { ElfError } from './error.ts';

/** `.ko`, packed or not. */
export const MODULE_FILE = /\.ko(\.(xz|zst|gz))?$/;

/** What no kernel object is larger than; a packed file may claim anything. */
export const UNPACKED_MAX = 512 << 20;

interface Packing {
  readonly magic: readonly number[];
  /** Program of the host that unpacks it from standard input to standard output. */
  readonly program: string;
  readonly builtin?: (bytes: Uint8Array) => Uint8Array;
}

const options = { maxOutputLength: UNPACKED_MAX };
/** Node has it from 22.15 on. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof zlib.gunzipSync };

const PACKINGS: readonly Packing[] = [
  { magic: [0x1f, 0x8b], program: 'gzip', builtin: (bytes) => zlib.gunzipSync(bytes, options) },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], program: 'xz' },
  {
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    program: 'zstd',
    ...(zstdDecompressSync && { builtin: (bytes: Uint8Array) => zstdDecompressSync(bytes, options) }),
  },
];

/** What was unpacked, for as long as somebody holds the packed bytes. */
const known = new WeakMap<Uint8Array, Uint8Array>();

/** The bytes, unpacked where they are packed. Throws ElfError. */
export function unpack(bytes: Uint8Array, file: string): Uint8Array {
  const packing = PACKINGS.find(({ magic }) => magic.every((byte, i) => bytes[i] === byte));
  if (!packing) return bytes;
  let unpacked = known.get(bytes);
  if (!unpacked) {
    unpacked = packing.builtin
      ? byNode(packing.builtin, bytes, file)
      : byProgram(packing.program, bytes, file);
    known.set(bytes, unpacked);
  }
  return unpacked;
}

function byNode(builtin: (bytes: Uint8Array) => Uint8Array, bytes: Uint8Array, file: string): Uint8Array {
  try {
    return builtin(bytes);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ElfError(file, code === 'ERR_BUFFER_TOO_LARGE' ? TOO_LARGE : `cannot be unpacked: ${message}`);
  }
}

const TOO_LARGE = `unpacks to more than ${UNPACKED_MAX >> 20} MiB, which no kernel object has`;

function byProgram(program: string, bytes: Uint8Array, file: string): Uint8Array {
  const result = spawnSync(program, ['-dcq'], { input: bytes, maxBuffer: UNPACKED_MAX });
  const code = (result.error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOENT') throw new ElfError(file, `the program ${program} is needed to unpack it`);
  if (code === 'ENOBUFS') throw new ElfError(file, TOO_LARGE);
  // A program that has seen enough closes its input.
  if ((result.error && code !== 'EPIPE') || result.status !== 0) {
    const why = result.stderr?.toString().trim().split('\n')[0] || result.error?.message || 'no reason given';
    throw new ElfError(file, `cannot be unpacked: ${why.replace(/^\S*(xz|zstd): ([^:]*stdin[^:]*: )?/, '')}`);
  }
  return result.stdout;
}
