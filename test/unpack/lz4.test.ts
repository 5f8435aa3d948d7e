// The legacy frames of lz4: files that lz4 made, whole and damaged, and whatever it makes where it is installed.

import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unlz4 } from '../../src/unpack/lz4.ts';
import { callsTo, codeOf, contents, has } from './contents.ts';

const LIMIT = 1 << 25;
const MAGIC = [0x02, 0x21, 0x4c, 0x18];
const frame = (...blocks: number[][]): Uint8Array =>
  new Uint8Array([
    ...MAGIC,
    ...blocks.flatMap((block) => [block.length & 0xff, block.length >> 8, 0, 0, ...block]),
  ]);

describe('a legacy frame', () => {
  it('has literals, and matches that may overlap what they make', () => {
    // "ab", then 14 bytes from two back, then "!".
    const bytes = unlz4(frame([0x2a, 0x61, 0x62, 2, 0, 0x10, 0x21]), LIMIT);
    expect(Buffer.from(bytes).toString()).toBe(`${'ab'.repeat(8)}!`);
  });

  it('has lengths of more than a nibble', () => {
    const bytes = unlz4(frame([0x1f, 0x61, 1, 0, 255, 10, 0x00]), LIMIT);
    expect(bytes).toEqual(new Uint8Array(1 + 15 + 265 + 4).fill(0x61));
  });

  it('may be followed by another one', () => {
    const one = frame([0x10, 0x61]);
    expect(unlz4(new Uint8Array([...one, ...one]), LIMIT)).toEqual(new Uint8Array([0x61, 0x61]));
  });

  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'cut'],
    ['another magic', new Uint8Array([1, 2, 3, 4]), 'damaged'],
    ['half a size', new Uint8Array([...MAGIC, 1, 0]), 'cut'],
    ['a block that is cut', frame([0x20, 0x61, 0x62]).slice(0, -1), 'cut'],
    ['a block of no bytes', frame([]), 'damaged'],
    ['literals beyond the block', frame([0x30, 0x61, 0x62]), 'damaged'],
    ['a match before the beginning', frame([0x10, 0x61, 2, 0, 0x00]), 'damaged'],
    ['a match at no distance', frame([0x10, 0x61, 0, 0, 0x00]), 'damaged'],
    ['a match at the end', frame([0x10, 0x61, 1, 0]), 'damaged'],
    ['half a distance', frame([0x10, 0x61, 1]), 'damaged'],
    ['a length without an end', frame([0xf0, 255, 255]), 'damaged'],
  ])('is refused: %s', (_, file, code) => {
    expect(codeOf(() => unlz4(file, LIMIT))).toBe(code);
  });

  it('takes no more than the limit', () => {
    const file = frame([0x1f, 0x61, 1, 0, ...Array<number>(200).fill(255), 0, 0x00]);
    expect(codeOf(() => unlz4(file, 1000))).toBe('too-large');
  });

  it('with any byte changed is unpacked or refused', () => {
    const file = frame([0x2a, 0x61, 0x62, 2, 0, 0x10, 0x21], [0x1f, 0x61, 1, 0, 255, 10, 0x00]);
    for (let at = 4; at < file.length; at++) {
      for (let value = 0; value < 256; value++) {
        const changed = file.slice();
        changed[at] = value;
        codeOf(() => unlz4(changed, LIMIT));
      }
    }
  });
});

describe.skipIf(!has('lz4'))('what lz4 itself makes', () => {
  const pack = (bytes: Uint8Array, level: string): Uint8Array =>
    new Uint8Array(spawnSync('lz4', ['-l', level, '-c'], { input: bytes, maxBuffer: LIMIT }).stdout);

  it.each(['-1', '-9'])('is unpacked to the same, with %s', (level) => {
    fc.assert(
      fc.property(contents, (bytes) => {
        if (bytes.length === 0) return;
        expect(unlz4(pack(bytes, level), LIMIT)).toEqual(bytes);
      }),
      { numRuns: 15 },
    );
  });

  it('in more than one block is unpacked to the same', () => {
    const bytes = new Uint8Array(Buffer.concat([callsTo(0x4000, 1_000_000), Buffer.alloc(4 << 20)]));
    expect(Buffer.compare(unlz4(pack(bytes, '-1'), LIMIT), bytes)).toBe(0);
  });
});
