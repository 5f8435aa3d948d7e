// What of a kernel's image is kept on disk: used when it is what was written, made anew when it is not, and never much.

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { DiskCache } from '../../src/vmlinuz/disk_cache.ts';
import { KernelCache } from '../../src/vmlinuz/kept_kernel.ts';
import { KernelFile } from '../../src/vmlinuz/kernel_file.ts';
import { smallImage } from './small_image.ts';

const IMAGE = smallImage({ packing: 'zstd' });
const MOST = 1 << 20;

let folder: string;
let said: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'klpemu-kept-'));
  said = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => {
    said.push(String(line));
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const cacheIn = (dir: string, most = MOST, least = 0): KernelCache =>
  new KernelCache(new DiskCache(dir, most), 'x86_64', least);
/** Each time of other bytes, as another process has them: what is in memory is not asked. */
const open = (cache?: KernelCache, image = IMAGE): KernelFile =>
  new KernelFile(Uint8Array.from(image), 'vmlinuz', X86_64, cache);

/** All that is known of a kernel's symbols, and its bytes. */
function told({ kernel, packing, symbols }: KernelFile) {
  const { names, count, kind, section, size, codeInData } = symbols;
  return {
    kernel: Buffer.from(kernel.bytes).toString('latin1'),
    packing,
    names: Array.from({ length: count }, (_, i) => names.name(i)),
    addresses: [names.encoding, names.low, names.high, names.types],
    tables: [kind, section, size, codeInData],
  };
}

/** Not over the bytes that are there: ext4 has those on the disk before it goes on. */
const put = (file: string, bytes: Uint8Array): void => {
  rmSync(file);
  writeFileSync(file, bytes);
};

describe('the cache of kernels', () => {
  it('says of a kernel what its image says, symbol for symbol', () => {
    const cache = cacheIn(folder);
    expect(told(open(cache))).toEqual(told(open()));
    expect(readdirSync(folder).map((name) => name.split('.').at(-1))).toEqual(['symbols', 'kernel']);
    expect(told(open(cache))).toEqual(told(open()));
    expect(said).toEqual([]);
  });

  it('is what is read the second time: nothing is unpacked again', () => {
    const cache = cacheIn(folder);
    const { bytes } = open(cache).kernel;
    const name = readdirSync(folder).find((one) => one.endsWith('.kernel')) as string;
    const other = Uint8Array.from(bytes);
    other[other.length - 1] ^= 1;
    new DiskCache(folder, MOST).write(name, [other]);
    expect(Buffer.compare(open(cache).kernel.bytes, other)).toBe(0);
  });

  it('serves check and orc: the object that comes of it is the same to the byte', () => {
    const object = (cache?: KernelCache) =>
      parseKernelObject(Uint8Array.from(IMAGE), 'vmlinuz', X86_64, cache).bytes;
    const cache = cacheIn(folder);
    const plain = Buffer.from(object());
    expect(plain.equals(object(cache))).toBe(true);
    expect(plain.equals(object(cache))).toBe(true);
  });

  it('serves them with the object that was made the first time, and makes it anew where that is damaged', () => {
    const cache = cacheIn(folder);
    const object = () =>
      Buffer.from(parseKernelObject(Uint8Array.from(IMAGE), 'vmlinuz', X86_64, cache).bytes);
    const plain = object();
    const name = readdirSync(folder).find((one) => one.endsWith('.object')) as string;
    const other = Uint8Array.from(plain);
    other[other.length - 1] ^= 1;
    new DiskCache(folder, MOST).write(name, [other]);
    expect(object().equals(other)).toBe(true);
    writeFileSync(join(folder, name), readFileSync(join(folder, name)).fill(1, 40, 80));
    expect(object().equals(plain)).toBe(true);
    expect(said).toEqual([expect.stringContaining(`${name}: it is damaged`)]);
  });

  it('is never believed with a bit that flipped: the file is named, and made anew', () => {
    const right = told(open());
    const cache = cacheIn(folder);
    void open(cache).symbols;
    const files = readdirSync(folder).map((name) => join(folder, name));
    fc.assert(
      fc.property(fc.constantFrom(...files), fc.nat(), fc.nat(7), (file, place, bit) => {
        const good = readFileSync(file);
        const bad = Buffer.from(good);
        bad[place % bad.length] ^= 1 << bit;
        put(file, bad);
        said = [];
        expect(told(open(cache))).toEqual(right);
        expect(said).toEqual([`klpemu: ${file}: it is damaged; it is made anew\n`]);
        expect(readFileSync(file).equals(good)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it('is made anew where it was cut, and where it is empty', () => {
    const cache = cacheIn(folder);
    const right = told(open(cache));
    for (const name of readdirSync(folder)) {
      const good = readFileSync(join(folder, name));
      for (const length of [0, 5, 32, good.length - 1]) {
        put(join(folder, name), good.subarray(0, length));
        expect(told(open(cache))).toEqual(right);
      }
    }
  });

  it('is no error where nothing can be written or read', () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    // A folder cannot be made below a file, by nobody.
    expect(told(open(cacheIn(join(file, 'below'))))).toEqual(told(open()));
    const dir = join(folder, 'dir');
    void open(cacheIn(dir)).symbols;
    const [name] = readdirSync(dir);
    rmSync(join(dir, name));
    mkdirSync(join(dir, name));
    expect(told(open(cacheIn(dir)))).toEqual(told(open()));
    expect(said).toEqual([]);
  });

  it('is of one file: a byte of the image, and it is not asked', () => {
    const cache = cacheIn(folder);
    void open(cache).symbols;
    const other = smallImage({ packing: 'gzip' });
    expect(told(open(cache, other)).packing).toBe('gzip');
    expect(readdirSync(folder)).toHaveLength(4);
  });

  it('keeps nothing of a file that is small', () => {
    void open(cacheIn(folder, MOST, IMAGE.length + 1)).symbols;
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('a folder of results', () => {
  const KIB = new Uint8Array(1000).fill(7);

  it('holds no more than its limit: what was used least lately goes', () => {
    const cache = new DiskCache(folder, 3500);
    for (const [i, name] of ['a', 'b', 'c'].entries()) {
      cache.write(name, [KIB]);
      utimesSync(join(folder, name), 100 + i, 100 + i);
    }
    expect(cache.read('a')).toEqual(Buffer.from(KIB));
    cache.write('d', [KIB]);
    expect(readdirSync(folder).sort()).toEqual(['a', 'c', 'd']);
    const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(3500);
  });

  it('does not take what is larger than all of it, and loses nothing for that', () => {
    const cache = new DiskCache(folder, 3500);
    cache.write('a', [KIB]);
    cache.write('b', [KIB, KIB, KIB, KIB]);
    expect(readdirSync(folder)).toEqual(['a']);
  });

  it('removes what an ended run left behind', () => {
    const cache = new DiskCache(folder, 2500);
    writeFileSync(join(folder, 'x.1.part'), Buffer.alloc(2000));
    cache.write('a', [KIB]);
    expect(readdirSync(folder)).toEqual(['a']);
  });
});
