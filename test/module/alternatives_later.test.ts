// Alternatives as kernels from 6.3 on have them: rows of 14 bytes with flags of their own, entries that overlap, calls
// that become direct, and replacements of several instructions that are moved.

import { describe, expect, it } from 'vitest';
import { applyAlternatives, sealEndbr } from '../../src/arch/x86_64/module/alternative.ts';
import { CpuFeatures } from '../../src/arch/x86_64/module/cpu_features.ts';
import { insnLength } from '../../src/arch/x86_64/module/module_text.ts';
import { joinNops, movedCode } from '../../src/arch/x86_64/module/moved_code.ts';
import { IMAGE_BASE } from '../../src/guest/addr.ts';
import { GuestMemory, PAGE_SIZE, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { hex } from './harness.ts';

const FIELDS = { instr_offset: 0, repl_offset: 4, cpuid: 8, flags: 10, instrlen: 12, replacementlen: 13 };
const KERNEL = {
  structs: { alt_instr: { size: 14, fields: FIELDS } },
  constants: BUILT_IN.constants,
};
const { X86_FEATURE_ALWAYS: ALWAYS, X86_FEATURE_XENPV: XENPV } = BUILT_IN.constants;
const [NOT, DIRECT_CALL] = [1, 2];
const [TEXT, REPLACEMENTS, TABLE, DATA] = [0n, 0x100n, 0x800n, 0xc00n].map((at) => IMAGE_BASE + at);
const NOP_FUNC = IMAGE_BASE + 0xf00n;

interface Row {
  readonly feature: number;
  readonly flags?: number;
  readonly size: number;
  readonly code: readonly number[];
}

/** The site's bytes after rows, all of them at one place. */
function applied(original: readonly number[], rows: readonly Row[], pointer = 0n): string {
  const mem = new GuestMemory({ image: PAGE_SIZE, heap: PAGE_SIZE, stacks: 1, modules: PAGE_SIZE });
  mem.map(IMAGE_BASE, PAGE_SIZE, PROT_READ | PROT_WRITE);
  mem.writeBytes(TEXT, Uint8Array.from(original));
  mem.writeU64(DATA, pointer);
  rows.forEach(({ feature, flags = 0, size, code }, i) => {
    const at = TABLE + BigInt(14 * i);
    const replacement = REPLACEMENTS + BigInt(32 * i);
    mem.writeBytes(replacement, Uint8Array.from(code));
    mem.writeU32(at, Number(BigInt.asUintN(32, TEXT - at)));
    mem.writeU32(at + 4n, Number(BigInt.asUintN(32, replacement - at - 4n)));
    mem.writeBytes(at + 8n, Uint8Array.of(feature, feature >> 8, flags, 0, size, code.length));
  });
  const context = {
    mem,
    kernel: KERNEL,
    cpus: 2,
    features: new CpuFeatures('ALWAYS'),
    text: undefined,
    lookupName: (name: string) => (name === 'nop_func' ? NOP_FUNC : undefined),
    nameAt: () => undefined,
  };
  const count = applyAlternatives(context, { addr: TABLE, size: 14 * rows.length }, insnLength);
  expect(count.warnings).toEqual([]);
  return hex(mem.readBytes(TEXT, Math.max(...rows.map(({ size }) => size), original.length)));
}

const call = (from: bigint, to: bigint): number[] => {
  const bytes = Buffer.alloc(5, 0xe8);
  bytes.writeInt32LE(Number(to - from - 5n), 1);
  return [...bytes];
};
const INDIRECT = [0xff, 0x15, ...new Uint8Array(Int32Array.of(Number(DATA - TEXT) - 6).buffer)];
const LFENCE = [0x0f, 0xae, 0xe8];
const MFENCE = [0x0f, 0xae, 0xf0];

describe('a row of alternatives with flags', () => {
  it('is taken for a feature that is there, and for one that is not where its flag says so', () => {
    expect(applied(MFENCE, [{ feature: ALWAYS, size: 3, code: LFENCE }])).toBe('0faee8');
    expect(applied(MFENCE, [{ feature: ALWAYS, flags: NOT, size: 3, code: LFENCE }])).toBe('0faef0');
    expect(applied(MFENCE, [{ feature: XENPV, size: 3, code: LFENCE }])).toBe('0faef0');
    expect(applied(MFENCE, [{ feature: XENPV, flags: NOT, size: 3, code: LFENCE }])).toBe('0faee8');
  });

  it('is as long as the longest of its place: nothing of a longer one before it stays', () => {
    const long = { feature: ALWAYS, size: 6, code: [...LFENCE, ...LFENCE] };
    const short = { feature: ALWAYS, size: 3, code: MFENCE };
    expect(applied([...MFENCE, ...MFENCE], [long, short])).toBe('0faef00f1f00');
  });

  it('makes an indirect call a direct one of what the pointer holds', () => {
    const row = {
      feature: ALWAYS,
      flags: DIRECT_CALL,
      size: 6,
      code: call(REPLACEMENTS, IMAGE_BASE + 0xe00n),
    };
    const target = IMAGE_BASE + 0x555n;
    expect(applied(INDIRECT, [row], target)).toBe(`${hex(Uint8Array.from(call(TEXT, target)))}90`);
    expect(applied(INDIRECT, [row], NOP_FUNC)).toBe('660f1f440000');
    expect(applied(INDIRECT, [row])).toBe(`${hex(Uint8Array.from(call(TEXT, IMAGE_BASE + 0xe00n)))}90`);
  });
});

describe('code that is moved', () => {
  const [from, to] = [0xffffffff81001000n, 0xffffffff81000000n];
  it('has its branches and rip-relative operands go where they went, those inside of it untouched', () => {
    // mov 0x10(%rip),%rax; je +0 (short); call +0x20
    const code = Uint8Array.of(0x48, 0x8b, 0x05, 0x10, 0, 0, 0, 0x74, 0, 0xe8, 0x20, 0, 0, 0);
    const inside = Uint8Array.of(0x48, 0x8b, 0x05, 2, 0, 0, 0, 0x74, 0, 0xe8, 0x20, 0, 0, 0);
    expect(hex(movedCode(code, from, to, 14))).toBe('488b05101000007400e820100000');
    expect(hex(movedCode(inside, from, to, 14))).toBe('488b05020000007400e820100000');
  });

  it('has a jump of two bytes where that reaches', () => {
    // jmp to 0x10 behind where it will stand
    const code = Uint8Array.of(0xe9, ...new Uint8Array(Int32Array.of(Number(to - from) + 0xb).buffer));
    expect(hex(movedCode(code, from, to, 5))).toBe('eb0ecccccc');
  });

  it.each([
    [2, '6690'],
    [9, '660f1f840000000000'],
    [11, '66662e0f1f840000000000'],
    [12, `eb0a${'cc'.repeat(10)}`],
    [200, `e9c3000000${'cc'.repeat(195)}`],
  ])('has a run of %i nops as one', (size, expected) => {
    const code = new Uint8Array(size).fill(0x90);
    joinNops(code);
    expect(hex(code)).toBe(expected);
    // A second time nothing changes.
    if (size <= 11) joinNops(code);
    expect(hex(code)).toBe(expected);
  });
});

describe('an endbr64 that is sealed', () => {
  it.each([
    ['6.12', 0x1f0f66, '660f1f00'],
    ['7.3', 0xd6401f0f, '0f1f40d6'],
  ])('becomes the nop of %s, and where there is none nothing changes', (_, poison, expected) => {
    const mem = new GuestMemory({ image: PAGE_SIZE, heap: PAGE_SIZE, stacks: 1, modules: PAGE_SIZE });
    mem.map(IMAGE_BASE, PAGE_SIZE, PROT_READ | PROT_WRITE);
    mem.writeBytes(TEXT, Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0x53, 0x53, 0x53));
    for (const [i, site] of [TEXT, TEXT + 4n].entries()) {
      const at = TABLE + BigInt(4 * i);
      mem.writeU32(at, Number(BigInt.asUintN(32, site - at)));
    }
    const { patched, warnings } = sealEndbr(mem, { addr: TABLE, size: 8 }, poison);
    expect([patched, warnings.length, hex(mem.readBytes(TEXT, 8))]).toEqual([1, 1, `${expected}53535353`]);
  });
});
