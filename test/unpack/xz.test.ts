// The .xz decoder: files that xz made, whole and damaged, and whatever xz makes where it is installed.

import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unxz } from '../../src/unpack/xz.ts';
import { bitsThatDoNotMatter, callsTo, codeOf, contents, has } from './contents.ts';

const LIMIT = 1 << 24;
const base64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
/** Forty calls of one function. */
const CALLS = callsTo(0x1005, 40);

/** Of CALLS, by xz 5.4. */
const PACKED = {
  'the x86 filter and CRC32':
    '/Td6WFoAAAFpIt42AgEEACEBGgAByYCz4ADHAAtdAHQBPfAM0c3HfAAAAADotWTTAAEjyAEAAAA6Z7QjPjANiwIAAAAAAVla',
  'no filter and SHA-256':
    '/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4ADHAFFdAHP//fAMjJXPRprK2xEr1ugBq6lMgf2oKBOAp19ClRc3WwPLaOabVn6NLKSYTjSpxh360B6Etl4llG8AGRzrUeTaXIVH4f4yBTjNkgYVLgRfAAAAAADpPe5HHHllFnCdafzTcem5C5ziyVc8rSKWEmS3T3UdBwABhQHIAQAA2NRzArbp3xwCAAAAAApZWg==',
};
const DELTA =
  '/Td6WFoAAArh+wyhAgEDAQAhARZ5IMTu4ADHAHxdAHQF/f6Aw6LZ1DMBvG5f64C61eU6oq+Vk0Yk30hla7/lwXEQ+Y5FHlBE91krHDVL8n0jB2xduaT1DzGi+TOFDO9UPWhhP3pdPDfXyh1F2joWNO2g48UsJIORk8XX/JfYJDQ5Y/6LtO6Q7DTclBZESSsCMm5C8DG9ezj+nQAA6T3uRxx5ZRZwnWn803HpuQuc4slXPK0ilhJkt091HQcAAbAByAEAAMZCxFa26d8cAgAAAAAKWVo=';

describe.each(Object.entries(PACKED))('a file of xz with %s', (_what, text) => {
  const file = base64(text);

  it('is unpacked', () => {
    expect(unxz(file, LIMIT)).toEqual(CALLS);
  });

  it('is told to be cut, wherever it was', () => {
    for (let length = 0; length < file.length; length++) {
      expect([length, codeOf(() => unxz(file.subarray(0, length), LIMIT))]).toEqual([length, 'cut']);
    }
  });

  it('is refused with any one bit changed, or has the same in it', () => {
    expect(bitsThatDoNotMatter(file, CALLS, (damaged) => unxz(damaged, LIMIT)).length).toBeLessThan(8);
  });

  it('may stand behind another, and have zeros in whole words behind it', () => {
    const both = Buffer.concat([file, file, new Uint8Array(8)]);
    expect(unxz(both, LIMIT)).toEqual(new Uint8Array([...CALLS, ...CALLS]));
    expect(codeOf(() => unxz(Buffer.concat([file, new Uint8Array(3)]), LIMIT))).toBe('damaged');
    expect(codeOf(() => unxz(Buffer.concat([file, Buffer.from('something else')]), LIMIT))).toBe('damaged');
  });

  it('is refused when there is more in it than the limit', () => {
    expect(unxz(file, CALLS.length)).toEqual(CALLS);
    expect(codeOf(() => unxz(file, CALLS.length - 1))).toBe('too-large');
  });
});

describe('the .xz decoder', () => {
  it('names a filter that it does not have', () => {
    expect(() => unxz(base64(DELTA), LIMIT)).toThrow(/^Unsupported options \(filters 0x3, 0x21; /);
  });

  const options = fc.record({
    check: fc.constantFrom('none', 'crc32', 'crc64', 'sha256'),
    x86: fc.constantFrom([], ['--x86'], ['--x86=start=4096']),
    lzma2: fc.constantFrom('preset=0', 'preset=6', 'dict=4KiB', 'lc=0,lp=4,pb=0', 'lc=1,lp=2,pb=4'),
    blocks: fc.constantFrom([], ['--block-size=5000']),
  });

  it.skipIf(!has('xz'))('gives the bytes that any file of xz was made of', () => {
    fc.assert(
      fc.property(contents, options, (content, { check, x86, lzma2, blocks }) => {
        const args = ['-cq', `--check=${check}`, ...x86, `--lzma2=${lzma2}`, ...blocks];
        const packed = spawnSync('xz', args, { input: content, maxBuffer: LIMIT }).stdout;
        expect(Buffer.compare(unxz(packed, LIMIT), content)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });
});
