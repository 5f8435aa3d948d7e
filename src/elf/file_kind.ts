// What a file is that is not the object or module that was asked for: its kind, and the way to what was meant.

import { ELFCLASS64, ELFDATA2LSB, ET_REL } from './constants.ts';
import type { ElfMachine } from './machine.ts';

const text = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.subarray(from, to)).toString('latin1');
const starts = (magic: string) => (bytes: Uint8Array) => text(bytes, 0, magic.length) === magic;
const BZIMAGE_MAGIC = 0x202;
const SETUP_END = 0x1fe;

/** Files that are no ELF file. */
const OTHERS: readonly (readonly [is: (bytes: Uint8Array) => boolean, kind: string])[] = [
  [(b) => b.length === 0, 'an empty file'],
  [starts('!<arch>\n'), 'an archive of objects; ar x unpacks it'],
  [starts('!<thin>\n'), 'a thin archive, a list of the objects that are meant'],
  [starts('BC\xc0\xde'), 'LLVM bitcode (clang -flto); its code is made when the module is linked'],
  [starts('\xde\xc0\x17\x0b'), 'LLVM bitcode (clang -flto); its code is made when the module is linked'],
  [
    (b) =>
      text(b, BZIMAGE_MAGIC, BZIMAGE_MAGIC + 4) === 'HdrS' && text(b, SETUP_END, SETUP_END + 2) === 'U\xaa',
    'a bzImage, which has a kernel packed; check, orc without -o, symbols and layout take it',
  ],
  [starts('MZ'), 'a program for EFI or Windows'],
  [starts('\xfd7zXZ\0'), 'packed by xz; what was unpacked of it is packed once more'],
  [starts('\x1f\x8b'), 'packed by gzip; what was unpacked of it is packed once more'],
  [starts('\x28\xb5\x2f\xfd'), 'packed by zstd; what was unpacked of it is packed once more'],
  [starts('BZh'), 'packed by bzip2; bunzip2 unpacks it'],
  [starts('\x04\x22\x4d\x18'), 'packed by lz4; lz4 -d unpacks it'],
  [starts('\x02\x21\x4c\x18'), 'packed by lz4; lz4 -d unpacks it'],
  [starts('\x89LZO'), 'packed by lzop; lzop -d unpacks it'],
  [(b) => text(b, 257, 262) === 'ustar', 'a tar archive (a patch bundle is one)'],
  [starts('#!'), 'a script'],
  [(b) => /^[\t\n\r\x20-\x7e]+$/.test(text(b, 0, 512)), 'a text file'],
];

/** Of EM_ numbers, for messages. */
const MACHINES: Readonly<Record<number, string>> = {
  2: 'SPARC',
  3: 'i386',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC64',
  22: 's390',
  40: 'ARM',
  43: 'SPARC64',
  62: 'x86-64',
  183: 'AArch64',
  243: 'RISC-V',
  247: 'BPF',
  258: 'LoongArch',
};

const TYPES: Readonly<Record<number, string>> = {
  2: 'a linked program; of those only a vmlinux is taken, by check, orc, symbols and layout',
  3: 'a shared library or a program',
  4: 'a core dump',
};

const machineName = (number: number): string => MACHINES[number] ?? `machine ${number}`;

/** The kind of a file that is no 64-bit object for the machine; undefined for one that is, and for what is unknown. */
export function fileKind(bytes: Uint8Array, wanted: ElfMachine): string | undefined {
  if (!starts('\x7fELF')(bytes)) return OTHERS.find(([is]) => is(bytes))?.[1];
  if (bytes.length < 20) return 'the beginning of an ELF file';
  const big = bytes[5] !== ELFDATA2LSB;
  const half = (at: number): number =>
    big ? (bytes[at] << 8) | bytes[at + 1] : bytes[at] | (bytes[at + 1] << 8);
  const machine = half(18);
  if (bytes[4] !== ELFCLASS64 || machine !== wanted.number || big) {
    const bits = bytes[4] === ELFCLASS64 ? 64 : 32;
    const meant = `objects for ${machineName(wanted.number)} are meant`;
    return `an ELF file for ${machineName(machine)} (${bits}-bit${big ? ', big-endian' : ''}); ${meant}`;
  }
  return half(16) === ET_REL ? undefined : TYPES[half(16)];
}
