// Files of other kinds than the object or module that was asked for, and modules as distributions pack them.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { klpConvert } from '../../src/elf/klp_convert.ts';
import { UNPACKED_MAX, unpack } from '../../src/elf/unpack.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { Rig } from '../module/harness.ts';
import { forgeElf } from './forge.ts';

const MODULE = new Uint8Array(
  readFileSync(join(import.meta.dirname, '../../fixtures/modules/klpdemo_target.ko')),
);
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
/** The module with other bytes in its header. */
const header = (at: number, ...values: number[]): Uint8Array => {
  const copy = MODULE.slice();
  copy.set(values, at);
  return copy;
};
const bzImage = (): Uint8Array => {
  const image = Buffer.alloc(4096);
  image.write('MZ', 0);
  image.set([0x55, 0xaa], 0x1fe);
  image.write('HdrS', 0x202);
  return new Uint8Array(image);
};
const lto = (): Uint8Array =>
  forgeElf([
    { name: '.text', type: 1, flags: 6 },
    { name: '.gnu.lto_.decls.0', type: 1, data: bytes('x') },
  ]);
const debugOnly = (): Uint8Array => forgeElf([{ name: '.text', type: 8, flags: 6, size: 64n }]);

const KINDS: Readonly<Record<string, readonly [Uint8Array, RegExp]>> = {
  'an empty file': [new Uint8Array(0), /it is an empty file/],
  'an archive': [bytes('!<arch>\nfoo.o/'), /it is an archive of objects; ar x unpacks it/],
  'a thin archive': [bytes('!<thin>\n'), /it is a thin archive/],
  'LLVM bitcode': [bytes(`BC\xc0\xde${'\0'.repeat(80)}`), /it is LLVM bitcode/],
  'wrapped LLVM bitcode': [bytes(`\xde\xc0\x17\x0b${'\0'.repeat(80)}`), /it is LLVM bitcode/],
  'a bzImage': [bzImage(), /it is a bzImage, which has a kernel packed; check, orc|boot protocol 0\.0/],
  'a file packed by bzip2': [bytes(`BZh9${'\0'.repeat(80)}`), /it is packed by bzip2/],
  'a file packed by lz4': [bytes(`\x04\x22\x4d\x18${'\0'.repeat(80)}`), /it is packed by lz4/],
  'a text file': [bytes(`${'hello '.repeat(20)}\n`), /it is a text file/],
  'a script': [bytes(`#!/bin/sh\n${'echo\n'.repeat(20)}`), /it is a script/],
  'a 32-bit object': [
    new Uint8Array(readFileSync(join(import.meta.dirname, '../../fixtures/objects/foreign-i386.o'))),
    /it is an ELF file for i386 \(32-bit\)/,
  ],
  'an object for AArch64': [header(18, 183, 0), /it is an ELF file for AArch64 \(64-bit\)/],
  'an object for big-endian PowerPC64': [
    header(5, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 21),
    /PowerPC64 \(64-bit, big-endian\)/,
  ],
  'a shared library': [header(16, 3), /it is a shared library or a program/],
  'a core dump': [header(16, 4), /it is a core dump/],
  "an object of gcc's LTO": [lto(), /it is an object of gcc's LTO/],
  'debug information alone': [debugOnly(), /it is debug information alone/],
  'a stripped object': [
    new Uint8Array(readFileSync(join(import.meta.dirname, '../../fixtures/objects/stripped.o'))),
    /it is stripped \(no symbol table\)/,
  ],
};

describe('a file of another kind', () => {
  it.each(Object.entries(KINDS))('is named by check and orc: %s', (_what, [file, kind]) => {
    expect(() => parseKernelObject(file, 'file', X86_64)).toThrow(kind);
  });

  it.each(Object.entries(KINDS))('is named by klp-convert: %s', (_what, [file, kind]) => {
    expect(() => klpConvert(parseElf(file, 'file', X86_64.elf), new Map())).toThrow(kind);
  });

  it.each(Object.entries(KINDS))(
    'is refused by the kernel, and named beside its words: %s',
    (_what, [file, kind]) => {
      const rig = new Rig();
      expect(rig.run(rig.loader.loadModule({ file: 'file', bytes: file }))).toMatchObject({
        ok: false,
        errno: 8,
      });
      const notes = rig.events.flatMap((event) => (event.type === 'note' ? [event.text] : []));
      expect(notes).toHaveLength(1);
      expect(notes[0].replace('the file is', 'it is')).toMatch(kind);
      expect(rig.dmesg.join('\n')).not.toMatch(kind);
    },
  );

  it('is a vmlinux: taken by check and orc, and told to others where it goes', () => {
    expect(() => parseElf(header(16, 2), 'vmlinux', X86_64.elf)).toThrow(
      /only a vmlinux is taken, by check, orc, symbols and layout/,
    );
  });
});

const PACK: Readonly<Record<string, (data: Uint8Array) => Uint8Array>> = {
  gzip: gzipSync,
  xz: (input) => spawnSync('xz', ['-c', '--check=crc32'], { input }).stdout,
  zstd: (input) => spawnSync('zstd', ['-cq'], { input }).stdout,
};
const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;

describe('a packed module', () => {
  for (const [program, pack] of Object.entries(PACK)) {
    it.skipIf(!has(program))(`is unpacked by what is in it, whatever its name: ${program}`, () => {
      expect(Buffer.compare(unpack(pack(MODULE), 'x.ko'), MODULE)).toBe(0);
    });

    it.skipIf(!has(program))(`that is cut off is told with its name: ${program}`, () => {
      expect(() => unpack(pack(MODULE).slice(0, 1000), 'cut.ko.xz')).toThrow(
        /^cut\.ko\.xz: cannot be unpacked: ./,
      );
    });
  }

  it('may not unpack to more than a kernel object can be', () => {
    const part = gzipSync(Buffer.alloc(UNPACKED_MAX / 8));
    const bomb = Buffer.concat(Array.from({ length: 9 }, () => part));
    expect(() => unpack(bomb, 'bomb.ko.gz')).toThrow(
      /unpacks to more than 512 MiB, which no kernel object has/,
    );
  });

  it('is left alone when it is not packed', () => {
    expect(unpack(MODULE, 'x.ko.xz')).toBe(MODULE);
  });
});
