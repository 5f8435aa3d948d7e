// The legacy frame of lz4, as `lz4 -l` makes it and kernel images have it: blocks of 8 MiB, each with its packed size in
// front. Mirrors what lib/decompress_unlz4.c accepts.
//
// Invariant: nothing is read outside of a block, no match reaches before the content of its block, and no more than the
// limit is unpacked.

import { UnpackError } from './error.ts';

const MAGIC = 0x184c2102;
/** What a block unpacks to, but for the last. */
const BLOCK = 8 << 20;
/** What of a block's packed bytes nothing is larger than: LZ4_COMPRESSBOUND(). */
const PACKED_MAX = BLOCK + Math.ceil(BLOCK / 255) + 16;
const LEAST_MATCH = 4;

/** @throws UnpackError */
export function unlz4(input: Uint8Array, limit: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const parts: Uint8Array[] = [];
  // A byte of a length is worth 255 of content.
  const room = new Uint8Array(Math.min(BLOCK, 255 * input.length));
  let total = 0;
  if (input.length < 4) throw new UnpackError('cut');
  if (view.getUint32(0, true) !== MAGIC) throw new UnpackError('damaged');
  for (let at = 4; at < input.length; ) {
    if (at + 4 > input.length) throw new UnpackError('cut');
    const size = view.getUint32(at, true);
    at += 4;
    // Frames that were put behind each other.
    if (size === MAGIC) continue;
    if (size === 0 || size > PACKED_MAX) throw new UnpackError('damaged');
    if (at + size > input.length) throw new UnpackError('cut');
    const length = unpackBlock(input, at, at + size, room);
    total += length;
    if (total > limit) throw new UnpackError('too-large');
    parts.push(room.slice(0, length));
    at += size;
  }
  return parts.length === 1 ? parts[0] : new Uint8Array(Buffer.concat(parts, total));
}

/** Sequences: literals, then a match, but for the last, which has literals alone. @returns bytes of content */
function unpackBlock(input: Uint8Array, start: number, end: number, output: Uint8Array): number {
  let at = start;
  let pos = 0;
  const length = (nibble: number): number => {
    let value = nibble;
    if (nibble < 15) return value;
    for (let byte = 255; byte === 255; ) {
      if (at >= end) throw new UnpackError('damaged');
      byte = input[at++];
      value += byte;
    }
    return value;
  };
  while (at < end) {
    const token = input[at++];
    const literals = length(token >> 4);
    if (at + literals > end || pos + literals > output.length) throw new UnpackError('damaged');
    output.set(input.subarray(at, at + literals), pos);
    at += literals;
    pos += literals;
    if (at === end) return pos;
    if (at + 2 > end) throw new UnpackError('damaged');
    const distance = input[at] | (input[at + 1] << 8);
    at += 2;
    const stop = pos + length(token & 15) + LEAST_MATCH;
    if (distance === 0 || distance > pos || stop > output.length) throw new UnpackError('damaged');
    // Byte by byte: a match may overlap what it makes.
    for (let from = pos - distance; pos < stop; ) output[pos++] = output[from++];
  }
  // A match ended it.
  throw new UnpackError('damaged');
}
