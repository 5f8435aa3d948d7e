// Guest memory as the host sees it: windows, pages, protections.

import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  IMAGE_BASE,
  MODULES_VADDR,
  PAGE_OFFSET,
  STACK_SLOT,
  THREAD_SIZE,
  VMALLOC_START,
} from '../../src/guest/addr.ts';
import {
  GuestMemory,
  GuestMemoryError,
  type MapListener,
  PAGE_SIZE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from '../../src/guest/memory.ts';
import { USER_STACK_BASE, USER_TEXT_BASE } from '../../src/guest/windows.ts';

const RW = PROT_READ | PROT_WRITE;
const RX = PROT_READ | PROT_EXEC;
const DATA = PAGE_OFFSET + 0x1000n;
const STACK = VMALLOC_START + BigInt(STACK_SLOT - THREAD_SIZE);

let mem: GuestMemory;
beforeEach(() => {
  mem = new GuestMemory({ heap: 1 << 20, stacks: 3, modules: 1 << 20 });
});

function fault(addr: bigint, reason: RegExp) {
  return expect.objectContaining({ code: 'EFAULT', addr, message: expect.stringMatching(reason) });
}

describe('address space', () => {
  it.each([
    ['the image', IMAGE_BASE],
    ['modules', MODULES_VADDR],
    ['the heap', PAGE_OFFSET],
    ['task stacks', STACK],
    ['user text', USER_TEXT_BASE],
    ['user stacks', USER_STACK_BASE],
  ])('of %s is given out in pages that start zeroed and unmapped', (_name, base) => {
    expect(mem.isMapped(base)).toBe(false);
    expect(() => mem.readU8(base)).toThrow(fault(base, /^unmapped guest memory at 0x/));
    mem.map(base, PAGE_SIZE, RW);
    expect(mem.protectionOf(base)).toBe(RW);
    expect(mem.readU64(base + BigInt(PAGE_SIZE - 8))).toBe(0n);
    expect(mem.isMapped(base + BigInt(PAGE_SIZE - 8), 9)).toBe(false);
    mem.writeU64(base, 0x1122334455667788n);
    mem.unmap(base, PAGE_SIZE);
    expect(() => mem.readU64(base)).toThrow(GuestMemoryError);
    mem.map(base, PAGE_SIZE, RW);
    expect(mem.readU64(base)).toBe(0n);
  });

  it('has nothing outside its windows', () => {
    for (const addr of [0n, 8n, 0x800000000000n, 0xffff000000000000n, IMAGE_BASE - 1n, 0xffffffffffffffffn]) {
      expect(mem.isMapped(addr)).toBe(false);
      expect(mem.protectionOf(addr)).toBeUndefined();
      expect(() => mem.map(addr & ~0xfffn, PAGE_SIZE, RW)).toThrow(fault(addr & ~0xfffn, /no address space/));
    }
  });

  it('has a guard below every task stack', () => {
    for (let slot = 0; slot < 3; slot++) {
      const base = STACK + BigInt(slot * STACK_SLOT);
      mem.map(base, THREAD_SIZE, RW);
      expect(mem.isMapped(base - 1n)).toBe(false);
      expect(() => mem.map(base - BigInt(PAGE_SIZE), PAGE_SIZE, RW)).toThrow(GuestMemoryError);
      // Slots are neighbours in the one array that unwinders read.
      mem.writeU32(base, slot + 1);
      expect(mem.stackWords[(slot * THREAD_SIZE) / 4]).toBe(slot + 1);
    }
    expect(mem.isMapped(STACK + BigInt(3 * STACK_SLOT))).toBe(false);
  });

  it('is not mapped twice, nor in parts of pages', () => {
    mem.map(DATA, PAGE_SIZE, RW);
    expect(() => mem.map(DATA - 0x1000n, 2 * PAGE_SIZE, RW)).toThrow(fault(DATA - 0x1000n, /already mapped/));
    expect(() => mem.map(DATA + 0x1800n, PAGE_SIZE, RW)).toThrow(fault(DATA + 0x1800n, /not page aligned/));
    expect(() => mem.map(DATA + 0x1000n, 100, RW)).toThrow(/not page aligned/);
    expect(() => mem.unmap(DATA + 0x4000n, PAGE_SIZE)).toThrow(/unmapped guest memory/);
    expect(() => mem.protect(DATA, 2 * PAGE_SIZE, PROT_READ)).toThrow(/unmapped guest memory/);
  });
});

describe('text', () => {
  it('is written by pokeText only, and the engine hears of it', () => {
    const calls: string[] = [];
    const note =
      (name: string) =>
      (...args: unknown[]) =>
        void calls.push(`${name} ${args.slice(1).join(' ')}`);
    const listener = Object.fromEntries(['map', 'unmap', 'protect', 'invalidate'].map((n) => [n, note(n)]));
    mem.attach(listener as unknown as MapListener);
    mem.map(IMAGE_BASE, PAGE_SIZE, RW);
    mem.writeU8(IMAGE_BASE, 0x90);
    mem.protect(IMAGE_BASE, PAGE_SIZE, RX);
    for (const write of [
      () => mem.writeU8(IMAGE_BASE, 0xcc),
      () => mem.writeU64(IMAGE_BASE + 8n, 0n),
      () => mem.writeBytes(IMAGE_BASE, Uint8Array.of(1)),
      () => mem.fill(IMAGE_BASE, 4, 0),
    ]) {
      expect(write).toThrow(/^write to executable text at 0xffffffff8100000/);
    }
    mem.pokeText(IMAGE_BASE, Uint8Array.of(0xcc));
    expect(mem.readU8(IMAGE_BASE)).toBe(0xcc);
    mem.pokeInsn(IMAGE_BASE + 4n, Uint8Array.of(1, 2, 3), 1, 3);
    expect(mem.readBytes(IMAGE_BASE + 4n, 3)).toEqual(Uint8Array.of(0, 2, 3));
    mem.unmap(IMAGE_BASE, PAGE_SIZE);
    expect(calls).toEqual([
      'map 4096 3 0',
      'protect 4096 5',
      'invalidate 1 0',
      'invalidate 2 5',
      'unmap 4096',
    ]);
  });
});

describe('values', () => {
  it('are little-endian, unaligned too, and come back as they were written', () => {
    mem.map(DATA, 2 * PAGE_SIZE, RW);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.nat(PAGE_SIZE + 100), (value, offset) => {
        const at = DATA + BigInt(offset);
        mem.writeU64(at, value);
        expect(mem.readU64(at)).toBe(value);
        expect(mem.readU32(at)).toBe(Number(value & 0xffffffffn));
        expect(mem.readS32(at)).toBe(Number(value & 0xffffffffn) | 0);
        expect(mem.readU16(at + 2n)).toBe(Number((value >> 16n) & 0xffffn));
        expect(mem.readU8(at + 7n)).toBe(Number(value >> 56n));
        const copy = mem.readBytes(at, 8);
        mem.writeU64(at, ~value);
        expect(copy.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)).toBe(value);
        expect(mem.readU64(at)).toBe(BigInt.asUintN(64, ~value));
      }),
    );
  });

  it('of strings end at their NUL or at the limit', () => {
    mem.map(DATA, PAGE_SIZE, RW);
    mem.writeCString(DATA + 4090n, 'klp');
    expect(mem.readCString(DATA + 4090n)).toBe('klp');
    expect(mem.readCString(DATA + 4090n, 2)).toBe('kl');
    mem.fill(DATA + 4090n, 6, 0x41);
    expect(() => mem.readCString(DATA + 4090n)).toThrow(fault(DATA + 4096n, /unmapped/));
  });

  it('seen through a view are the memory itself', () => {
    mem.map(DATA, PAGE_SIZE, RW);
    const view = mem.view(DATA, 16);
    mem.writeU8(DATA + 3n, 7);
    expect(view[3]).toBe(7);
    expect(() => mem.view(DATA + 4090n, 16)).toThrow(GuestMemoryError);
  });
});
