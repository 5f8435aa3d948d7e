// The .zst format where Node's zlib does not have it: fzstd unpacks a frame, and what it leaves out is here - where a
// frame ends, checksums, how much there may be of it. Mirrors what `zstd -d` accepts.
//
// Invariant: a frame that has a checksum is returned only when it is right; no more than the limit is unpacked.

import { Decompress, decompress } from 'fzstd';
import { xxh64 } from './checks.ts';
import { UnpackError } from './error.ts';

export const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const;
const MAGIC = 0xfd2fb528;
/** The lowest of 16, of frames that are passed over. */
const SKIPPABLE = 0x184d2a50;
/** What zstd itself takes without being told. */
const WINDOW_MAX = 2 ** 27;
const BLOCK = { raw: 0, rle: 1, compressed: 2 } as const;

interface Frame {
  /** Of the blocks; a checksum follows where there is one. */
  readonly end: number;
  readonly checksum: boolean;
  /** As the header has it, or else somebody. */
  readonly unpacked: number | undefined;
}

/**
 * @param size of all that is unpacked, as somebody else has it: a frame that does not say it is then unpacked in place
 * @throws UnpackError
 */
export function unzstd(input: Uint8Array, limit: number, size?: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let at = 0; at < input.length; ) {
    need(input, at, 8);
    const magic = view.getUint32(at, true);
    if ((magic & ~0xf) >>> 0 === SKIPPABLE) {
      const size = view.getUint32(at + 4, true);
      need(input, at + 8, size);
      at += 8 + size;
      continue;
    }
    if (magic !== MAGIC) throw new UnpackError('damaged');
    const frame = frameAt(input, view, at, size === undefined ? undefined : size - total);
    const next = frame.end + (frame.checksum ? 4 : 0);
    const part = contentOf(input.subarray(at, next), frame, limit - total);
    if (frame.checksum && Number(xxh64(part) & 0xffffffffn) !== view.getUint32(frame.end, true))
      throw new UnpackError('damaged', 'XXH64 differs');
    parts.push(part);
    total += part.length;
    at = next;
  }
  return parts.length === 1 ? parts[0] : new Uint8Array(Buffer.concat(parts, total));
}

function need(input: Uint8Array, at: number, count: number): void {
  if (at + count > input.length) throw new UnpackError('cut');
}

function frameAt(input: Uint8Array, view: DataView, start: number, size: number | undefined): Frame {
  const flags = input[start + 4];
  if (flags & 0x08) throw new UnpackError('unsupported', 'frame header');
  const single = (flags & 0x20) !== 0;
  const dictionary = [0, 1, 2, 4][flags & 3];
  const contentSize = [single ? 1 : 0, 2, 4, 8][flags >> 6];
  const at = start + 5 + (single ? 0 : 1);
  const blocks = at + dictionary + contentSize;
  need(input, start, blocks - start);
  if (input.subarray(at, at + dictionary).some((byte) => byte !== 0))
    throw new UnpackError('unsupported', 'a dictionary is needed');
  if (!single && windowSize(input[start + 5]) > WINDOW_MAX)
    throw new UnpackError('unsupported', `window above ${WINDOW_MAX >> 20} MiB`);
  const unpacked = contentSize === 0 ? size : readContentSize(view, at + dictionary, contentSize);
  const checksum = (flags & 0x04) !== 0;
  const end = endOfBlocks(input, blocks);
  need(input, end, checksum ? 4 : 0);
  return { end, checksum, unpacked };
}

const windowSize = (byte: number): number => 2 ** (10 + (byte >> 3)) * (1 + (byte & 7) / 8);

function readContentSize(view: DataView, at: number, size: number): number {
  if (size === 1) return view.getUint8(at);
  if (size === 2) return view.getUint16(at, true) + 256;
  return size === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

function endOfBlocks(input: Uint8Array, at: number): number {
  for (;;) {
    need(input, at, 3);
    const header = input[at] | (input[at + 1] << 8) | (input[at + 2] << 16);
    const type = (header >> 1) & 3;
    if (type > BLOCK.compressed) throw new UnpackError('damaged');
    const size = type === BLOCK.rle ? 1 : header >> 3;
    need(input, at + 3, size);
    at += 3 + size;
    if (header & 1) return at;
  }
}

function contentOf(bytes: Uint8Array, { checksum, unpacked }: Frame, limit: number): Uint8Array {
  if ((unpacked ?? 0) > limit) throw new UnpackError('too-large');
  try {
    // Into its place at once where the checksum tells of one that does not fill it.
    if (unpacked !== undefined && checksum) return intoPlace(bytes, unpacked);
    const content = inPieces(bytes, limit);
    if (content.length !== (unpacked ?? content.length)) throw new UnpackError('damaged');
    return content;
  } catch (error) {
    if (error instanceof UnpackError) throw error;
    throw new UnpackError('damaged');
  }
}

/** fzstd compares the room with a number, for which a text of all its bytes would be made. */
function intoPlace(bytes: Uint8Array, size: number): Uint8Array {
  const content = new Uint8Array(size);
  const room = Object.defineProperty(new Uint8Array(content.buffer), Symbol.toPrimitive, { value: () => 0 });
  const { length } = decompress(bytes, room);
  return length === size ? content : content.subarray(0, length);
}

function inPieces(bytes: Uint8Array, limit: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  let total = 0;
  const stream = new Decompress((piece) => {
    total += piece.length;
    if (total > limit) throw new UnpackError('too-large');
    pieces.push(piece.slice());
  });
  stream.push(bytes, true);
  return new Uint8Array(Buffer.concat(pieces, total));
}
