// The image on disk: used when it is what was written, noticed and made anew when it is not.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { cachedImage, type KernelImage, readCachedImage } from '../../src/machine/boot/image.ts';

let folder: string;
let image: KernelImage;
let good: Buffer;
let said: string[];
const file = (): string => join(folder, readdirSync(folder)[0]);
/** Not over the bytes that are there: ext4 has those on the disk before it goes on. */
const put = (bytes: Uint8Array | string): void => {
  const path = file();
  rmSync(path);
  writeFileSync(path, bytes);
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'klpemu-image-'));
  image = await cachedImage('orc', folder);
  good = readFileSync(file());
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  put(good);
  said = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => {
    said.push(String(line));
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

describe('the cached image', () => {
  it('is read as it was written, and nothing is said', async () => {
    expect(await cachedImage('orc', folder)).toEqual(image);
    expect(said).toEqual([]);
  });

  it('is never used with a bit that flipped, wherever it is', () => {
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(7), (at, bit) => {
        const bytes = Buffer.from(good);
        bytes[at] ^= 1 << bit;
        put(bytes);
        said = [];
        expect(readCachedImage(file())).toBeUndefined();
        expect(said).toEqual([`klpemu: ${file()}: it is damaged; the image is made anew\n`]);
      }),
      {
        numRuns: 40,
        examples: [
          [0, 0],
          [31, 7],
          [32, 0],
          [good.length - 1, 7],
        ],
      },
    );
  });

  it('is never used when it is of another program, or cut', () => {
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.alloc(31),
      Buffer.from('{"version":1}'),
      good.subarray(0, -1),
    ]) {
      put(bytes);
      expect(readCachedImage(file())).toBeUndefined();
    }
    expect(said).toHaveLength(4);
  });

  it('is made anew, the same, in place of what is damaged', async () => {
    put(good.subarray(100));
    expect(await cachedImage('orc', folder)).toEqual(image);
    expect(readFileSync(file()).equals(good)).toBe(true);
    expect(said).toHaveLength(1);
  });
});
