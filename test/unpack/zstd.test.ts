// The .zst decoder: files that zstd made, whole and damaged, and whatever zstd makes where it is installed.

import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unzstd } from '../../src/unpack/zstd.ts';
import { bitsThatDoNotMatter, callsTo, codeOf, contents, has } from './contents.ts';

const LIMIT = 1 << 24;
const CALLS = callsTo(0x1005, 40);
/** Of CALLS, by zstd 1.5. */
const FILE = new Uint8Array(
  Buffer.from(
    'KLUv/STIlQIARAPoABAAAOj7DwAA6Pbx7Ofi3djTzsnEv7q1sKumoZyXko2Ig355dG9qZWBbVlFMR0I9DwAAJSTg1wFyTI7JMTkmx+SYOCbH5Jgck2NyliHRAbSQuns=',
    'base64',
  ),
);
/** The second frame of a file that says nothing: its four bytes are passed over. */
const SKIPPED = new Uint8Array([0x57, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
/** A window of 1 MiB, no size, no checksum; four blocks of 128 KiB of one byte each. */
const RUNS = new Uint8Array([
  ...[0x28, 0xb5, 0x2f, 0xfd, 0, 0x50],
  ...[0, 1, 2, 3].flatMap((i) => [0x02 | (i === 3 ? 1 : 0), 0, 0x10, 0x61]),
]);

describe('a file of zstd', () => {
  it('is unpacked, and may have frames behind it, and such as are passed over', () => {
    expect(unzstd(FILE, LIMIT)).toEqual(CALLS);
    const more = Buffer.concat([SKIPPED, FILE, SKIPPED, FILE]);
    expect(unzstd(more, LIMIT)).toEqual(new Uint8Array([...CALLS, ...CALLS]));
  });

  it('is told to be cut, wherever it was', () => {
    for (let length = 1; length < FILE.length; length++) {
      expect([length, codeOf(() => unzstd(FILE.subarray(0, length), LIMIT))]).toEqual([length, 'cut']);
    }
  });

  it('is refused with any one bit changed, or has the same in it', () => {
    expect(bitsThatDoNotMatter(FILE, CALLS, (file) => unzstd(file, LIMIT)).length).toBeLessThan(8);
  });

  it('is refused when there is more in it than the limit, whether it says so or not', () => {
    expect(Buffer.compare(unzstd(RUNS, 1 << 19), Buffer.alloc(1 << 19, 'a'))).toBe(0);
    expect(codeOf(() => unzstd(RUNS, (1 << 19) - 1))).toBe('too-large');
    expect(codeOf(() => unzstd(FILE, CALLS.length - 1))).toBe('too-large');
    expect(codeOf(() => unzstd(Buffer.concat([FILE, FILE]), 2 * CALLS.length - 1))).toBe('too-large');
  });

  it('is refused when it needs a window that zstd does not take, or a dictionary', () => {
    const window = RUNS.slice();
    window[5] = 0x90;
    expect(() => unzstd(window, LIMIT)).toThrow(/window above 128 MiB/);
    const dictionary = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 1, 0x50, 7, 1, 0, 0]);
    expect(() => unzstd(dictionary, LIMIT)).toThrow(/dictionary/);
  });

  const options = fc.record({
    level: fc.constantFrom('-1', '-3', '-19', '--fast=5'),
    check: fc.constantFrom('--check', '--no-check'),
    sized: fc.boolean(),
  });

  it.skipIf(!has('zstd'))('gives the bytes that any file of zstd was made of', () => {
    fc.assert(
      fc.property(contents, options, (content, { level, check, sized }) => {
        const size = sized ? [`--stream-size=${content.length}`] : [];
        const packed = spawnSync('zstd', ['-cq', level, check, ...size], {
          input: content,
          maxBuffer: LIMIT,
        });
        expect(Buffer.compare(unzstd(packed.stdout, LIMIT), content)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });
});
