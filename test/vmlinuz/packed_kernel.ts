// A bzImage from a kernel, packed in each way without any program: everything is stored as it is.

import { gzipSync } from 'node:zlib';
import { crc32, xxh64 } from '../../src/unpack/checks.ts';

const SETUP_SECTORS = 3;
/** Code before the payload, as the decompressor is. */
const BEFORE = 100;

export const PACKINGS = ['gzip', 'xz', 'zstd', 'lz4', 'nothing'] as const;
export type PackingName = (typeof PACKINGS)[number];

/** @param size what the image says that its kernel has */
export function bzImage(kernel: Uint8Array, packing: PackingName, size = kernel.length): Uint8Array {
  const hasSize = packing !== 'gzip' && packing !== 'nothing';
  const payload = Buffer.concat([PACK[packing](kernel), ...(hasSize ? [word(size)] : [])]);
  const setup = Buffer.alloc((SETUP_SECTORS + 1) * 512);
  setup[0x1f1] = SETUP_SECTORS;
  setup.writeUInt16LE(0xaa55, 0x1fe);
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt16LE(0x20f, 0x206);
  setup.writeUInt32LE(BEFORE, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return new Uint8Array(Buffer.concat([setup, Buffer.alloc(BEFORE, 0xcc), payload, Buffer.alloc(64)]));
}

const PACK: Readonly<Record<PackingName, (bytes: Uint8Array) => Uint8Array>> = {
  gzip: (bytes) => gzipSync(bytes),
  xz,
  zstd,
  lz4,
  nothing: (bytes) => bytes,
};

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function pieces(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

const withCrc = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, word(crc32(bytes))]);
const toWord = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

/** Seven bits a byte. */
function number(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

/** One block of plain chunks, with CRC32. */
function xz(bytes: Uint8Array): Buffer {
  const chunks = pieces(bytes, 1 << 16).map((piece, i) =>
    Buffer.concat([
      Buffer.from([i === 0 ? 1 : 2, (piece.length - 1) >> 8, (piece.length - 1) & 0xff]),
      piece,
    ]),
  );
  const data = Buffer.concat([...chunks, Buffer.from([0])]);
  const header = withCrc(Buffer.from([2, 0, 0x21, 1, 8, 0, 0, 0]));
  const block = Buffer.concat([toWord(data), word(crc32(bytes))]);
  const size = header.length + data.length + 4;
  const index = withCrc(toWord(Buffer.concat([Buffer.from([0, 1]), number(size), number(bytes.length)])));
  const flags = Buffer.from([0, 1]);
  const footer = Buffer.concat([word(index.length / 4 - 1), flags]);
  return Buffer.concat([
    Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]),
    withCrc(flags),
    header,
    block,
    index,
    word(crc32(footer)),
    footer,
    Buffer.from('YZ'),
  ]);
}

/** A frame as one has it that read from a pipe: a window, a checksum, and no size. */
function zstd(bytes: Uint8Array): Buffer {
  const parts = pieces(bytes, 1 << 17);
  const blocks = parts.flatMap((piece, i) => {
    const header = (piece.length << 3) | (i === parts.length - 1 ? 1 : 0);
    return [Buffer.from([header & 0xff, (header >> 8) & 0xff, header >> 16]), piece];
  });
  const checksum = word(Number(xxh64(bytes) & 0xffffffffn));
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x88]), ...blocks, checksum]);
}

function lz4(bytes: Uint8Array): Buffer {
  const blocks = pieces(bytes, 8 << 20).flatMap((piece) => {
    const more = piece.length - 15;
    const lengths = more < 0 ? [] : [...Array<number>(Math.floor(more / 255)).fill(255), more % 255];
    const token = Buffer.from([Math.min(15, piece.length) << 4, ...lengths]);
    return [word(token.length + piece.length), token, piece];
  });
  return Buffer.concat([Buffer.from([0x02, 0x21, 0x4c, 0x18]), ...blocks]);
}
