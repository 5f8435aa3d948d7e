// Segments of a kernel on disk: what a machine gets is what was written, or it is made anew.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { keepSegments, keptSegments, type SegmentPlaces } from '../../src/machine/native/kept_segments.ts';
import { contentOf, type NativeKernel } from '../../src/machine/native/native_kernel.ts';
import { PackedExports } from '../../src/machine/native/packed_exports.ts';
import { DiskCache } from '../../src/vmlinuz/disk_cache.ts';

const SEGMENTS: NativeKernel['segments'] = [
  { start: 0xffffffff81000000n, size: 4096, protection: 5, content: contentOf(Uint8Array.of(1, 2, 3)) },
  { start: 0xffffffff81001000n, size: 4096, protection: 3, content: contentOf(new Uint8Array()) },
  { start: 0xffffffff81002000n, size: 4096, protection: 1, content: contentOf(Uint8Array.of(9, 8)) },
];
const BYTES = SEGMENTS.map(({ content }) => [...content.bytes()]);

let folder: string;
let disk: DiskCache;
let places: SegmentPlaces;
let said: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'klpemu-segments-'));
  disk = new DiskCache(folder, 1 << 16);
  places = keepSegments(disk, 'memory.bin', SEGMENTS);
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

const kept = (again = vi.fn(() => SEGMENTS)) => ({
  again,
  segments: keptSegments(disk, 'memory.bin', places, again) ?? [],
});
function copied({ content }: NativeKernel['segments'][number]): number[] {
  const into = new Uint8Array(content.length);
  content.copyTo(into);
  return [...into];
}

describe('segments that are kept', () => {
  it('are put where a machine wants them, for each machine the same', () => {
    const { segments, again } = kept();
    expect(segments.map(({ start, size, protection }) => [start, size, protection])).toEqual(
      SEGMENTS.map(({ start, size, protection }) => [start, size, protection]),
    );
    for (let machine = 0; machine < 3; machine++) expect(segments.map(copied)).toEqual(BYTES);
    expect(segments.map(({ content }) => [...content.bytes()])).toEqual(BYTES);
    expect(again).not.toHaveBeenCalled();
  });

  it('are read no more once they were asked for twice', () => {
    const { segments } = kept();
    for (let machine = 0; machine < 2; machine++) segments.map(copied);
    rmSync(folder, { recursive: true });
    expect(segments.map(copied)).toEqual(BYTES);
  });

  it('are made anew, and that is said, where a byte of them is another one', () => {
    const file = join(folder, 'memory.bin');
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(file, bytes);
    const { segments, again } = kept();
    expect(segments.map(copied)).toEqual(BYTES);
    expect(again).toHaveBeenCalledTimes(1);
    expect(said.join('')).toBe(`klpemu: ${file}: it is damaged; it is made anew\n`);
  });

  it('are made anew where the file went between two machines', () => {
    const { segments, again } = kept();
    rmSync(folder, { recursive: true });
    expect(segments.map(copied)).toEqual(BYTES);
    expect(again).toHaveBeenCalled();
  });

  it('are none where the file is not there, or of another size', () => {
    writeFileSync(join(folder, 'memory.bin'), new Uint8Array(36));
    expect(keptSegments(disk, 'memory.bin', places, () => SEGMENTS)).toBeUndefined();
    rmSync(folder, { recursive: true });
    expect(keptSegments(disk, 'memory.bin', places, () => SEGMENTS)).toBeUndefined();
  });
});

describe('exports in columns', () => {
  const exports = [
    { name: 'printk', address: 0x81000000, gpl: false, namespace: '', crc: 7 },
    { name: 'klp_enable_patch', address: 0x81000010, gpl: true, namespace: '', crc: 0xffffffff },
    { name: 'dma_buf', address: 0x40, gpl: true, namespace: 'DMA_BUF', crc: 0 },
  ];

  it('are those of the kernel, with checksums where it has them', () => {
    expect([...PackedExports.of(exports)]).toEqual(exports);
    const without = exports.map(({ crc: _, ...rest }) => rest);
    expect([...PackedExports.of(without)]).toEqual(without);
  });

  it('are found by name', () => {
    const packed = PackedExports.of(exports);
    expect(packed.find('dma_buf')).toEqual(exports[2]);
    expect(packed.find('dma')).toBeUndefined();
  });
});
