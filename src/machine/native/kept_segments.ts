// Segments of a kernel that was made ready, as they are kept on disk: read straight to where they lie in a machine's memory.
//
// Invariant: what was read is, by its checksum, what was written, or it is made anew.

import { createHash } from 'node:crypto';
import type { DiskCache } from '../../vmlinuz/disk_cache.ts';
import type { NativeKernel, SegmentContent } from './native_kernel.ts';

type Segment = NativeKernel['segments'][number];

/** What is said of them elsewhere. */
export interface SegmentPlaces {
  readonly segments: readonly (Omit<Segment, 'content'> & {
    readonly length: number;
    readonly checksum: string;
  })[];
  /** Of all together, as there is nothing between them. */
  readonly size: number;
}

const checksumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export function keepSegments(disk: DiskCache, name: string, segments: readonly Segment[]): SegmentPlaces {
  const pieces = segments.map(({ content }) => content.bytes());
  disk.write(name, pieces);
  return {
    segments: segments.map(({ start, size, protection }, i) => ({
      start,
      size,
      protection,
      length: pieces[i].length,
      checksum: checksumOf(pieces[i]),
    })),
    size: pieces.reduce((sum, { length }) => sum + length, 0),
  };
}

/**
 * @param again makes them anew
 * @returns undefined where they are not there
 */
export function keptSegments(
  disk: DiskCache,
  name: string,
  { segments, size }: SegmentPlaces,
  again: () => readonly Segment[],
): readonly Segment[] | undefined {
  if (!disk.has(name, size)) return undefined;
  let at = 0;
  return segments.map(({ start, size, protection, length, checksum }, i): Segment => {
    const from = at;
    at += length;
    const read = (into: Uint8Array): void => {
      if (disk.readInto(name, from, into) && checksumOf(into) === checksum) return;
      disk.drop(name);
      again()[i].content.copyTo(into);
    };
    return { start, size, protection, content: new KeptContent(length, read) };
  });
}

/** Most processes have one machine: the bytes are kept in memory when they are asked for a second time. */
class KeptContent implements SegmentContent {
  readonly length: number;
  readonly #read: (into: Uint8Array) => void;
  #isAsked = false;
  #bytes: Uint8Array | undefined;

  constructor(length: number, read: (into: Uint8Array) => void) {
    this.length = length;
    this.#read = read;
  }

  copyTo(into: Uint8Array): void {
    if (this.#isAsked) into.set(this.bytes());
    else this.#read(into);
    this.#isAsked = true;
  }

  bytes(): Uint8Array {
    if (!this.#bytes) {
      const bytes = new Uint8Array(this.length);
      this.#read(bytes);
      this.#bytes = bytes;
    }
    return this.#bytes;
  }
}
