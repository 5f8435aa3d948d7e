// Every host function with arguments that nobody sane passes: a fault of its stub, an error of its own, or a value.
// Never an error of JavaScript's own, and no more memory than the guest has.

import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { HostCall, HostGenerator } from '../../src/guest/hostcall.ts';
import { Machine } from '../../src/machine/machine.ts';
import { isUnforeseen } from '../../src/machine/machine_error.ts';

let machine: Machine;
afterEach(() => machine.close());

const boot = () => Machine.boot({ cpus: 2, shadow: false, heap: 8 << 20, maxTasks: 32 });
const first = await boot();
const names = [...first.inspect.core.host.names()].sort();
first.close();

/** Addresses and numbers: none, small, at the edges of types, not mapped, not canonical. */
const forged = fc.oneof(
  fc.constantFrom(0n, 1n, 2n, 8n, 64n, 4096n, 0x7fffffffn, 0xffffffffn, 0x7fffffffffffffffn, 2n ** 64n - 1n),
  fc.constantFrom(2n ** 63n, 0x4141414141414141n, 0xdeadbeef000n, 0xffff800000000000n, 0xffffffffc0ffe000n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

/** A page of the guest's heap that is filled with one byte, and its address as an argument, too. */
const PAGE = 4096;
const fills = [0x00, 0x41, 0xff];

function callOnce(name: string, args: readonly bigint[], sp: bigint): unknown {
  const call: HostCall = { cpu: 0, args, sp, caller: machine.inspect.core.symbols.require('schedule') };
  try {
    const result = machine.inspect.core.host.get(name)?.(call);
    if (typeof result !== 'object') return result;
    const generator = result as HostGenerator;
    for (let i = 0, step = generator.next(0n); !step.done && i < 8; i++) step = generator.next(0n);
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('a host function with forged arguments', () => {
  it.each(names)('%s', async (name) => {
    machine = await boot();
    const { slab, mem } = machine.inspect.core;
    const pages = fills.map((byte) => {
      const page = slab.alloc(PAGE, 'forged arguments');
      mem.fill(page, PAGE, byte);
      return page;
    });
    const argument = fc.oneof(forged, fc.constantFrom(...pages));
    fc.assert(
      fc.property(fc.array(argument, { minLength: 6, maxLength: 6 }), (args) => {
        const before = process.memoryUsage().rss;
        const end = callOnce(name, args, pages[1] + 2048n);
        if (isUnforeseen(end)) throw new Error(`${end.message} ${end.stack?.split('\n')[1]}`);
        expect(process.memoryUsage().rss - before).toBeLessThan(256 << 20);
      }),
      { numRuns: 20 },
    );
  });
});
