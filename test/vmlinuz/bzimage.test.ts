// The kernel of a bzImage, however it is packed, and images that are damaged.

import { describe, expect, it } from 'vitest';
import { isBzImage, payloadOf } from '../../src/vmlinuz/bzimage.ts';
import { bzImage, PACKINGS } from './packed_kernel.ts';

/** Larger than a chunk of xz and a block of zstd. */
const KERNEL = Uint8Array.from({ length: 300_000 }, (_, i) =>
  i < 4 ? [0x7f, 0x45, 0x4c, 0x46][i] : (i * i) >> 7,
);

describe.each(PACKINGS)('a kernel packed by %s', (packing) => {
  const image = bzImage(KERNEL, packing);

  it('is unpacked', () => {
    const { packing: said, unpack } = payloadOf(image, 'vmlinuz');
    const kernel = unpack();
    expect(said).toBe(packing);
    expect(Buffer.compare(kernel, KERNEL)).toBe(0);
  });

  it('is an error where the image is cut, wherever that is', () => {
    for (let length = 0; length < image.length - 64; length += 4099) {
      expect(() => payloadOf(image.slice(0, length), 'vmlinuz').unpack()).toThrow(
        length < 0x250
          ? /^vmlinuz: no bzImage/
          : /^vmlinuz: the image is cut off: its payload has \d+ bytes, of which \d+ are there/,
      );
    }
  });

  it('is an error where its size is another, but where nothing says one', () => {
    if (packing === 'nothing') return;
    const wrong = bzImage(KERNEL, packing, KERNEL.length + 1);
    if (packing === 'gzip') expect(payloadOf(wrong, 'vmlinuz').unpack().length).toBe(KERNEL.length);
    else expect(() => payloadOf(wrong, 'vmlinuz').unpack()).toThrow(/^vmlinuz: its kernel/);
  });

  it('is an error where its payload is shorter than what was packed', () => {
    if (packing === 'nothing') return;
    const short = image.slice();
    const view = new DataView(short.buffer);
    view.setUint32(0x24c, view.getUint32(0x24c, true) - 5000, true);
    expect(() => payloadOf(short, 'vmlinuz').unpack()).toThrow(/^vmlinuz: (its kernel|the image says)/);
  });
});

describe('an image whose kernel cannot be unpacked', () => {
  it('names how it is packed, where that is known', () => {
    const image = bzImage(KERNEL, 'nothing');
    const at = 4 * 512 + 100;
    image.set([0x42, 0x5a, 0x68], at);
    expect(() => payloadOf(image, 'vmlinuz').unpack()).toThrow(
      'vmlinuz: its kernel is packed by bzip2; gzip, xz, zstd, lz4 are read (offset 0x864)',
    );
    image.set([1, 2, 3], at);
    expect(() => payloadOf(image, 'vmlinuz').unpack()).toThrow('packed by nothing that is known');
  });

  it('that claims more memory than a kernel has takes none', () => {
    expect(() => payloadOf(bzImage(KERNEL, 'zstd', 0xfffffff0), 'vmlinuz').unpack()).toThrow(
      'vmlinuz: the image says that its kernel has 4294967280 bytes',
    );
  });

  it('of a protocol without a place of the kernel says so', () => {
    const image = bzImage(KERNEL, 'gzip');
    image[0x206] = 7;
    expect(() => payloadOf(image, 'vmlinuz').unpack()).toThrow('boot protocol 2.7, which tells no place');
  });
});

it('is told by its magic, whatever the file is called', () => {
  expect(isBzImage(bzImage(KERNEL, 'gzip'))).toBe(true);
  expect(isBzImage(KERNEL)).toBe(false);
  expect(isBzImage(new Uint8Array(0x250))).toBe(false);
});
