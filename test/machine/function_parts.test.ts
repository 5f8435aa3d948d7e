// Whose a piece of text is that the compiler split off from a function.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { KernelCore } from '../../src/kernel/core.ts';
import { Kallsyms } from '../../src/kernel/kallsyms.ts';
import { partsOf } from '../../src/machine/truth/function_parts.ts';

const BASE = 0xffffffffc0200000n;

/** Symbols of 32 bytes each, one behind the other; `branches` are jumps at their starts, by index. */
function object(names: readonly string[], branches: Readonly<Record<number, number>> = {}) {
  const symbols = new Kallsyms();
  const at = (i: number) => BASE + BigInt(32 * i);
  symbols.add(
    'm',
    names.map((name, i) => ({ name, addr: at(i), size: 32, type: 't' })),
  );
  const text = new Uint8Array(32 * names.length).fill(0x90);
  for (const [from, to] of Object.entries(branches)) {
    const place = 32 * Number(from) + 8;
    text[place] = 0xe9;
    new DataView(text.buffer).setInt32(place + 1, 32 * to - (place + 5), true);
  }
  const mem = {
    isMapped: () => true,
    readBytes: (addr: bigint, size: number) => text.slice(Number(addr - BASE), Number(addr - BASE) + size),
  };
  const core = { arch: X86_64, symbols, mem } as unknown as KernelCore;
  return (i: number) => partsOf(core, at(i)).map(({ addr }) => Number(addr - BASE) / 32);
}

describe('parts of a function', () => {
  it('are what has its name and the suffixes of split-off bodies, and nothing else', () => {
    const parts = object([
      'f',
      'f.cold',
      'f.cold.3',
      'f.part.0',
      'f.constprop.0',
      'f.isra.2',
      'f.constprop.0.cold',
      'f.part.1.isra.0',
      'ff.cold',
      'f.lto_priv.0',
      'f.llvm.123',
      'f.isra',
      'f.coldish',
      'f_cold',
      'g.f.cold',
    ]);
    expect(parts(0)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it('of a function that the compiler renamed are its own cold part, not its namesakes', () => {
    const parts = object(['f.isra.0', 'f.isra.0.cold', 'f.isra.1', 'f.cold', 'f.constprop.0']);
    expect(parts(0)).toEqual([1]);
  });

  it('of functions of one name go to the one whose branches lead there, over other parts too', () => {
    const parts = object(['f', 'f', 'f.cold', 'f.cold', 'f.part.0', 'f.part.0.cold'], { 0: 3, 1: 4, 4: 5 });
    expect(parts(0)).toEqual([2, 3]);
    expect(parts(1)).toEqual([2, 4, 5]);
  });

  it("are none of an address that is no function's start", () => {
    const { symbols } = { symbols: new Kallsyms() };
    expect(partsOf({ symbols } as unknown as KernelCore, BASE)).toEqual([]);
  });
});
