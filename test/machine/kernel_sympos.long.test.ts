// A sympos counts the symbols of a name as the kernel under the machine has them, also where the machine has one's place.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

/** Static functions that the machine has in the place of one of several; of each kernel those that it has. */
const HOSTED = ['enabled_show', 'enabled_store', 'm_show', 's_show', 'default_read_file'];

describe.each(['6.1', '6.12', '7.3'] as const)('on Debian %s', (series) => {
  const kernel = vmlinuzOf(series);

  it.skipIf(!kernel)('every name is there as often as in its kallsyms, in that order', async () => {
    const { native } = openKernel(kernel as string, X86_64);
    const machine = await Machine.boot({ kernel: kernel as string });
    const { symbols } = machine.inspect.core;
    const { names, low, high } = native.symbols;
    const numbers = new Map<string, number[]>();
    for (const [i, name] of [...names].entries()) numbers.set(name, [...(numbers.get(name) ?? []), i]);
    const wrong: string[] = [];
    const hostedAt = new Map<string, number>();
    for (const [name, all] of numbers) {
      const found = symbols.matches(name, undefined);
      const addresses = all.map((i) => (BigInt(high[i]) << 32n) | BigInt(low[i]));
      const others = found.flatMap(({ addr }, i) => (addr === addresses[i] ? [] : [i]));
      if (found.length !== all.length || others.length > 1) wrong.push(name);
      if (all.length > 1 && others.length === 1) hostedAt.set(name, others[0]);
    }
    machine.close();
    expect(wrong).toEqual([]);
    for (const name of HOSTED.filter((one) => (numbers.get(one)?.length ?? 0) > 1))
      expect(hostedAt.get(name), name).toBeGreaterThanOrEqual(0);
    // Of those that are not the first, our own addresses would have made the last.
    expect([...hostedAt.entries()].some(([name, i]) => i + 1 < (numbers.get(name)?.length ?? 0))).toBe(true);
  });
});
