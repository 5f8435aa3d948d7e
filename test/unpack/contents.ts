// What is packed in tests of packed formats, and what becomes of damage.

import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { UnpackError } from '../../src/unpack/error.ts';

export const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;

/** Why something is not unpacked; any other error is one of the test. */
export function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (!(error instanceof UnpackError)) throw error;
    return error.code;
  }
}

/** Changes each bit of a file in turn, and tells with which of them it is unpacked nevertheless, to the same. */
export function bitsThatDoNotMatter(
  file: Uint8Array,
  content: Uint8Array,
  unpack: (file: Uint8Array) => Uint8Array,
): number[] {
  return Array.from({ length: file.length * 8 }, (_, bit) => bit).filter((bit) => {
    const changed = file.slice();
    changed[bit >> 3] ^= 1 << (bit & 7);
    let got: Uint8Array | undefined;
    const code = codeOf(() => {
      got = unpack(changed);
    });
    if (got && Buffer.compare(got, content) !== 0) throw new Error(`bit ${bit} was not noticed`);
    return code === undefined;
  });
}

/** Calls of the function at an address, by code at 0. */
export function callsTo(target: number, count: number): Uint8Array {
  const code = Buffer.alloc(count * 5);
  for (let i = 0; i < count; i++) {
    code[i * 5] = 0xe8;
    code.writeInt32LE(target - 5 * (i + 1), i * 5 + 1);
  }
  return new Uint8Array(code);
}

/** Opcodes and operands close together, as the x86 filter finds them, and not where it does. */
const dense = fc.array(fc.constantFrom(0xe8, 0xe9, 0, 0xff, 0x12, 0x90), { maxLength: 3000 });
const piece = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  dense.map((bytes) => new Uint8Array(bytes)),
  fc.integer({ min: 0, max: 700 }).map((count) => callsTo(0x4000, count)),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 4000 }))
    .map(([part, times]) => new Uint8Array(Buffer.concat(Array.from({ length: times }, () => part)))),
);

/** Random, code-like and repeated bytes, one behind the other, sometimes twice. */
export const contents = fc
  .tuple(fc.array(piece, { maxLength: 5 }), fc.boolean())
  .map(([pieces, twice]) => new Uint8Array(Buffer.concat(twice ? [...pieces, ...pieces] : pieces)));
