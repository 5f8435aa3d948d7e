// LZMA2: chunks of LZMA or of plain bytes, each with its sizes in front.
//
// Invariants: all sizes are known before the first byte is unpacked (lzma2Extent), so that the room is exact and data
// which was cut is told as that; nothing is read outside of a chunk's bytes, and nothing written outside of its part.

import { UnpackError } from './error.ts';
import { LzmaDecoder } from './lzma.ts';

const CHUNK = { end: 0, plainResetDictionary: 1, plain: 2, lzma: 0x80 } as const;
/** In steps of 0x20 above CHUNK.lzma: each resets what those below do, and more. */
const RESET = { state: 0xa0, properties: 0xc0, dictionary: 0xe0 } as const;

interface Chunk {
  readonly control: number;
  /** lc, lp and pb, where they are set. */
  readonly properties: number;
  /** Of the packed bytes. */
  readonly start: number;
  readonly end: number;
  readonly unpacked: number;
}

function* chunks(input: Uint8Array, at: number): Generator<Chunk, number> {
  const byte = (offset: number): number => {
    if (at + offset >= input.length) throw new UnpackError('cut');
    return input[at + offset];
  };
  const size = (offset: number): number => ((byte(offset) << 8) | byte(offset + 1)) + 1;
  for (;;) {
    const control = byte(0);
    if (control === CHUNK.end) return at + 1;
    if (control > CHUNK.plain && control < CHUNK.lzma) throw new UnpackError('damaged');
    const chunk = control < CHUNK.lzma ? plainChunk() : lzmaChunk();
    if (chunk.end > input.length) throw new UnpackError('cut');
    yield chunk;
    at = chunk.end;

    function plainChunk(): Chunk {
      const start = at + 3;
      return { control, properties: 0, start, end: start + size(1), unpacked: size(1) };
    }

    function lzmaChunk(): Chunk {
      const set = control >= RESET.properties;
      const start = at + (set ? 6 : 5);
      const unpacked = ((control & 0x1f) << 16) + size(1);
      return { control, properties: set ? byte(5) : 0, start, end: start + size(3), unpacked };
    }
  }
}

/** Where the chunks end, and how many bytes they claim to unpack to. */
export function lzma2Extent(input: Uint8Array, at: number): { end: number; unpacked: number } {
  const walk = chunks(input, at);
  for (let unpacked = 0; ; ) {
    const { done, value } = walk.next();
    if (done) return { end: value, unpacked };
    unpacked += value.unpacked;
  }
}

/** Fills the output, which has the size that lzma2Extent() told. */
export function decodeLzma2(input: Uint8Array, at: number, dictionary: number, output: Uint8Array): void {
  const lzma = new LzmaDecoder(input, output, dictionary);
  let needsDictionary = true;
  let needsProperties = true;
  for (const chunk of chunks(input, at)) {
    const { control } = chunk;
    if (control >= RESET.dictionary || control === CHUNK.plainResetDictionary) {
      lzma.resetDictionary();
      needsDictionary = false;
      needsProperties = true;
    }
    if (control >= RESET.properties) {
      lzma.setProperties(chunk.properties);
      needsProperties = false;
    }
    if (needsDictionary || (control >= CHUNK.lzma && needsProperties)) throw new UnpackError('damaged');
    if (control < CHUNK.lzma) lzma.copy(chunk.start, chunk.end);
    else {
      if (control >= RESET.state) lzma.resetState();
      lzma.decode(chunk.start, chunk.end, chunk.unpacked);
    }
  }
}
