// The image that a machine boots: a setup header, and behind it the kernel, packed.
// Mirrors the boot protocol (Documentation/arch/x86/boot.rst) and what arch/x86/boot/compressed makes of a vmlinux.
//
// Invariant: whatever the header claims, nothing outside of the file is read, and no more than a kernel may have is
// unpacked; what is returned has the size that the image says.

import * as zlib from 'node:zlib';
import { ELF_MAGIC } from '../elf/constants.ts';
import { ElfError } from '../elf/error.ts';
import { unlz4 } from '../unpack/lz4.ts';
import { unxz } from '../unpack/xz.ts';
import { unzstd } from '../unpack/zstd.ts';

const SETUP_SECTORS = 0x1f1;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const HEADER_END = 0x250;
const SECTOR = 512;
/** Of a header that says 0, as those of old did. */
const DEFAULT_SECTORS = 4;
/** The first with a payload's place. */
const PAYLOAD_PROTOCOL = 0x208;

/** What no kernel is larger than; a payload may claim anything. */
const KERNEL_MAX = 512 << 20;

interface Packing {
  readonly name: string;
  readonly magic: string;
  /** Bytes behind it that say how large the kernel is; gzip has them of its own. */
  readonly trailer: number;
  /** @param size of the kernel, as the image has it */
  unpack?(bytes: Uint8Array, size: number): Uint8Array;
}

/** Node has it from 22.15 on. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof zlib.gunzipSync };
const options = { maxOutputLength: KERNEL_MAX };

/** As CONFIG_KERNEL_* has them. */
const PACKINGS: readonly Packing[] = [
  { name: 'gzip', magic: '\x1f\x8b', trailer: 0, unpack: (bytes) => zlib.gunzipSync(bytes, options) },
  { name: 'xz', magic: '\xfd7zXZ\0', trailer: 4, unpack: (bytes) => unxz(bytes, KERNEL_MAX) },
  {
    name: 'zstd',
    magic: '\x28\xb5\x2f\xfd',
    trailer: 4,
    unpack: (bytes, size) => zstdDecompressSync?.(bytes, options) ?? unzstd(bytes, KERNEL_MAX, size),
  },
  { name: 'lz4', magic: '\x02\x21\x4c\x18', trailer: 4, unpack: (bytes) => unlz4(bytes, KERNEL_MAX) },
  { name: 'bzip2', magic: 'BZh', trailer: 4 },
  { name: 'lzma', magic: '\x5d\0\0', trailer: 4 },
  { name: 'lzo', magic: '\x89LZO', trailer: 4 },
  { name: 'nothing', magic: ELF_MAGIC, trailer: 0, unpack: (bytes) => bytes },
];
const LONGEST_MAGIC = 8;
const KNOWN = PACKINGS.filter(({ unpack, name }) => unpack && name !== 'nothing').map(({ name }) => name);

/** A bzImage by its magic; not whether it is whole. */
export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER_END) return false;
  const view = viewOf(bytes);
  return view.getUint32(HEADER_MAGIC) === 0x48647253 && view.getUint16(BOOT_FLAG, true) === 0xaa55;
}

export interface Payload {
  /** gzip, xz, zstd, lz4; `nothing` for one that is not packed. */
  readonly packing: string;
  readonly packed: number;
  /** Of the kernel, as the image has it. */
  readonly size: number;
  /** An ELF file of that size. @throws ElfError */
  unpack(): Uint8Array;
}

/** What a bzImage holds. @throws ElfError */
export function payloadOf(bytes: Uint8Array, file: string): Payload {
  const fail = (reason: string, offset?: number): never => {
    throw new ElfError(file, reason, { offset });
  };
  if (!isBzImage(bytes)) fail('no bzImage: it has not the magic of a setup header', HEADER_MAGIC);
  const view = viewOf(bytes);
  const version = view.getUint16(VERSION, true);
  if (version < PAYLOAD_PROTOCOL)
    fail(`boot protocol ${version >> 8}.${version & 0xff}, which tells no place of the kernel`, VERSION);
  const start =
    (1 + (bytes[SETUP_SECTORS] || DEFAULT_SECTORS)) * SECTOR + view.getUint32(PAYLOAD_OFFSET, true);
  const length = view.getUint32(PAYLOAD_LENGTH, true);
  if (start + length > bytes.length) {
    const has = Math.max(0, bytes.length - start);
    fail(`the image is cut off: its payload has ${length} bytes, of which ${has} are there`, start);
  }
  const payload = bytes.subarray(start, start + length);
  const head = Buffer.from(payload.subarray(0, LONGEST_MAGIC)).toString('latin1');
  const packing = PACKINGS.find(({ magic }) => head.startsWith(magic));
  if (!packing?.unpack) {
    const what = packing ? `by ${packing.name}` : 'by nothing that is known';
    throw new ElfError(file, `its kernel is packed ${what}; ${KNOWN.join(', ')} are read`, { offset: start });
  }
  if (payload.length < packing.trailer + 4) fail('no payload', start);
  const isPacked = packing.name !== 'nothing';
  const size = isPacked ? viewOf(payload).getUint32(payload.length - 4, true) : payload.length;
  if (size > KERNEL_MAX) fail(`the image says that its kernel has ${size} bytes`, start + length - 4);
  const unpack = (): Uint8Array => {
    const kernel = unpacked(packing, payload, size, file, start);
    if (size === kernel.length) return kernel;
    return fail(
      `its kernel has ${kernel.length} bytes unpacked, and the image says ${size}`,
      start + length - 4,
    );
  };
  return { packing: packing.name, packed: length, size, unpack };
}

function unpacked(
  { name, trailer, unpack }: Packing,
  payload: Uint8Array,
  size: number,
  file: string,
  at: number,
): Uint8Array {
  try {
    return (unpack as NonNullable<typeof unpack>)(payload.subarray(0, payload.length - trailer), size);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Anything else is a fault of ours.
    if (code === undefined) throw error;
    const large = code === 'ERR_BUFFER_TOO_LARGE' || code === 'too-large';
    const why = large
      ? `unpacks to more than ${KERNEL_MAX >> 20} MiB, which no kernel has`
      : `cannot be unpacked: ${message}`;
    throw new ElfError(file, `its kernel, packed by ${name}, ${why}`, { offset: at });
  }
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
