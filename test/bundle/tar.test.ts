// The tar of bundles against GNU tar, and against damage.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/bundle/error.ts';
import { readTar, type TarEntry, writeTar } from '../../src/bundle/tar.ts';

const BLOCK = 512;
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-tar-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const entries: TarEntry[] = [
  { name: 'bundle.json', bytes: new Uint8Array(Buffer.from('{}\n')) },
  { name: 'empty.ko', bytes: new Uint8Array() },
  { name: 'block.ko', bytes: new Uint8Array(BLOCK).fill(1) },
  { name: 'more.ko', bytes: new Uint8Array(BLOCK + 1).map((_, i) => i) },
];

function tar(...args: string[]): Buffer {
  const { status, stdout, stderr } = spawnSync('tar', args, { cwd: dir });
  expect(stderr.toString()).toBe('');
  expect(status).toBe(0);
  return stdout;
}

/** The code of the error that reading gives; undefined when it is read. */
function codeOf(bytes: Uint8Array): string | undefined {
  try {
    readTar(bytes);
    return undefined;
  } catch (error) {
    if (error instanceof BundleError) return error.code;
    throw error;
  }
}

describe('bundle.md, words: the tar of a bundle', () => {
  it('is read back as it was written, and by GNU tar too', () => {
    const bytes = writeTar(entries);
    expect(readTar(bytes)).toEqual(entries);
    writeFileSync(join(dir, 'ours.tar'), bytes);
    expect(tar('-tf', 'ours.tar').toString()).toBe(entries.map(({ name }) => `${name}\n`).join(''));
    for (const { name, bytes: content } of entries)
      expect(new Uint8Array(tar('-xOf', 'ours.tar', name))).toEqual(content);
  });

  it.each(['ustar', 'gnu', 'pax'])('is read from what GNU tar writes as %s', (format) => {
    for (const { name, bytes } of entries) writeFileSync(join(dir, name), bytes);
    tar('-cf', 'theirs.tar', `--format=${format}`, ...entries.map(({ name }) => name));
    expect(readTar(new Uint8Array(readFileSync(join(dir, 'theirs.tar'))))).toEqual(entries);
  });

  it('is an error wherever it is cut, between entries too', () => {
    const bytes = writeTar(entries);
    const whole = bytes.length - BLOCK; // one block of zeros is an end
    for (let cut = 0; cut < whole; cut += 64)
      expect(codeOf(bytes.subarray(0, cut)), `at ${cut}`).toBe('EBADMSG');
    expect(readTar(bytes.subarray(0, whole))).toEqual(entries);
  });

  it('has a header of which no byte can be changed unseen: none of the checksum to any value, none other by a bit', () => {
    const bytes = writeTar(entries);
    const any = Array.from({ length: 255 }, (_, i) => i + 1);
    const bits = any.filter((flip) => (flip & (flip - 1)) === 0);
    for (let at = 0; at < BLOCK; at++) {
      for (const flip of at >= 148 && at < 156 ? any : bits) {
        bytes[at] ^= flip;
        if (codeOf(bytes) !== 'EBADMSG') expect.fail(`byte ${at} changed by ${flip} is not seen`);
        bytes[at] ^= flip;
      }
    }
    expect(readTar(bytes)).toEqual(entries);
  });

  it('is an error or a tar, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4 * BLOCK }), (noise) => {
        expect([undefined, 'EBADMSG']).toContain(codeOf(noise));
      }),
    );
  });

  it('says what is wrong: no header of a tar, one that is damaged', () => {
    expect(() => readTar(new Uint8Array(BLOCK).fill(0x41))).toThrow('no tar header at byte 0');
    const bytes = writeTar(entries);
    bytes[0] ^= 1;
    expect(() => readTar(bytes)).toThrow('the tar header at byte 0 is damaged');
  });

  it('holds regular files only', () => {
    writeFileSync(join(dir, 'a'), 'a');
    tar('-cf', 'dir.tar', '--transform=s,^,x/,', '--no-recursion', '.', 'a');
    expect(codeOf(new Uint8Array(readFileSync(join(dir, 'dir.tar'))))).toBe('EBADMSG');
  });

  /** A tar whose second entry has an extended header of these records before it. */
  const withPax = (records: string, type = 'x'): Uint8Array => {
    const [first, second] = entries;
    const header = writeTar([{ name: 'PaxHeaders', bytes: new Uint8Array(Buffer.from(records)) }]);
    header[156] = type.charCodeAt(0);
    header.fill(0x20, 148, 156);
    const sum = header.subarray(0, BLOCK).reduce((a, b) => a + b, 0);
    header.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
    const end = 2 * BLOCK;
    const parts = [writeTar([first]).slice(0, -end), header.slice(0, -end), writeTar([second])];
    return new Uint8Array(Buffer.concat(parts));
  };

  it.each(['x', 'g'])('is refused where an extended header (%s) makes it another tar to GNU tar', (type) => {
    expect(readTar(withPax('20 mtime=1700000000\n', type)).map(({ name }) => name)).toEqual([
      'bundle.json',
      'empty.ko',
    ]);
    expect(codeOf(withPax('17 path=empty.ko\n', type))).toBeUndefined();
    const renamed = withPax('17 path=other.ko\n', type);
    writeFileSync(join(dir, 'pax.tar'), renamed);
    expect(tar('-tf', 'pax.tar').toString()).toContain('other.ko');
    for (const records of ['17 path=other.ko\n', '10 size=3\n', '21 GNU.sparse.major=1\n', '13 linkpath=\n'])
      expect(codeOf(withPax(records, type)), records).toBe('EBADMSG');
    for (const broken of ['x', '9 path=a', '99 path=a\n', '0 \n', '3 \n'])
      expect(codeOf(withPax(broken, type)), broken).toBe('EBADMSG');
  });
});
