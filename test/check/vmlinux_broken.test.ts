// Damaged kernels: whatever the bytes, a vmlinux becomes an object or an error that names it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SHDR_SIZE } from '../../src/elf/constants.ts';
import { ElfError } from '../../src/elf/error.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { ObjtoolError } from '../../src/objtool/error.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { Random } from '../fuzz/random.ts';

const PATH = join(import.meta.dirname, '../../fixtures/objects/vmlinux/vmlinux');
const ODD = [0, 1, 7, 0x7fffffff, 0x80000000, 0xffffffff, 0x1000, 0x81000000];
const TIMES = Number(process.env.KLPEMU_FUZZ ?? 500);

/** Processor time, in microseconds. */
function cpuTime(action: () => void): number {
  const before = process.cpuUsage();
  action();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

it(`${TIMES} kernels with words changed in headers, symbols and tables`, () => {
  const original = Uint8Array.from(readFileSync(PATH));
  const shoff = Number(new DataView(original.buffer).getBigUint64(40, true));
  const random = new Random(20);
  const outcomes = { object: 0, error: 0 };
  const read = (bytes: Uint8Array) => {
    const elf = parseKernelObject(bytes, 'vmlinux', X86_64);
    readOrc(elf, X86_64.code.orc);
    createOrc(inputFromElf(elf, X86_64.code));
  };
  let slowest = 0;
  const whole = Math.max(...[1, 2, 3].map(() => cpuTime(() => read(original))));
  for (let i = 0; i < TIMES; i++) {
    const bytes = original.slice();
    const view = new DataView(bytes.buffer);
    for (let n = random.below(4); n >= 0; n--) {
      const inHeaders = random.below(2) === 0;
      const from = inHeaders ? shoff : 0x40;
      const size = inHeaders ? 14 * SHDR_SIZE : bytes.length - 0x48;
      const at = from + (random.below(size) & ~3);
      const value = random.below(3) === 0 ? random.below(0x100000000) : ODD[random.below(ODD.length)];
      if (at + 4 <= bytes.length) view.setUint32(at, value >>> 0, true);
    }
    const took = cpuTime(() => {
      try {
        read(bytes);
        outcomes.object++;
      } catch (error) {
        if (!(error instanceof ElfError || error instanceof ObjtoolError)) {
          throw new Error(`mutation ${i}: ${(error as Error).stack}`);
        }
        outcomes.error++;
      }
    });
    slowest = Math.max(slowest, took);
  }
  expect(outcomes.object).toBeGreaterThan(TIMES / 10);
  expect(outcomes.error).toBeGreaterThan(TIMES / 10);
  // Of the one that is whole: how fast the computer is, and what else it does, is in both.
  expect(slowest / whole).toBeLessThan(200);
});
