// Clocks and conversions of time as functions of the guest have them: real modules call these by name.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN, tickNs } from '../../src/kernel/description.ts';
import { MS, World } from './world.ts';

const HZ = BigInt(BUILT_IN.constants.HZ);
const SECOND = 1000 * MS;

let world: World;
beforeEach(async () => {
  world = await World.boot({ cpus: 2 });
});
afterEach(() => world.close());

function call(name: string, args: readonly bigint[] = [], cpu = 0): bigint | undefined {
  const answer = world.machine.inspect.core.host.get(name)?.({ cpu, args, sp: 0n, caller: 0n });
  return answer === undefined ? undefined : BigInt(answer as bigint);
}

describe('clocks', () => {
  it('tell whole seconds, coarse nanoseconds of the last tick, and both halves of a timespec', () => {
    world.machine.runFor(3.7 * SECOND);
    const now = BigInt(Math.floor(world.machine.now()));
    expect(now / 1_000_000_000n).toBe(3n);
    for (const name of ['ktime_get_seconds', 'ktime_get_real_seconds']) expect(call(name)).toBe(3n);
    const tick = BigInt(tickNs(BUILT_IN));
    expect(call('ktime_get_coarse_with_offset')).toBe(now - (now % tick));
    const at = world.zeroed(BUILT_IN.structs.timespec64.size);
    const { tv_sec, tv_nsec } = BUILT_IN.structs.timespec64.fields;
    for (const name of ['ktime_get_ts64', 'ktime_get_real_ts64', 'ktime_get_raw_ts64']) {
      world.machine.inspect.core.mem.fill(at, BUILT_IN.structs.timespec64.size, 0);
      call(name, [at]);
      const word = (offset: number) => world.machine.inspect.core.mem.readU64(at + BigInt(offset));
      expect([word(tv_sec), word(tv_nsec)]).toEqual([3n, now - 3_000_000_000n]);
    }
  });
});

describe('a time in other units', () => {
  it('is that of jiffies, cut to 32 bits, and rounded up the other way', () => {
    expect(call('jiffies_to_msecs', [10n])).toBe((10n * 1000n) / HZ);
    expect(call('jiffies_to_usecs', [10n])).toBe((10n * 1_000_000n) / HZ);
    expect(call('jiffies_to_usecs', [0xffffffffn])).toBe((0xffffffffn * (1_000_000n / HZ)) & 0xffffffffn);
    expect(call('__msecs_to_jiffies', [5n])).toBe((5n * HZ + 999n) / 1000n);
    expect(call('__usecs_to_jiffies', [1n])).toBe(1n);
  });
});

describe('jiffies that are rounded', () => {
  const jiffies = (): bigint => world.machine.inspect.timers.jiffies();
  /** A moment that is `more` jiffies behind a whole second to come. */
  const behind = (more: bigint): bigint => (jiffies() / HZ + 3n) * HZ + more;

  it('are those of the second before within its first quarter, else of the next one', () => {
    const [early, late] = [behind(HZ / 4n - 1n), behind(HZ / 4n)];
    expect(call('round_jiffies', [early])).toBe(behind(0n));
    expect(call('round_jiffies', [late])).toBe(behind(HZ));
    expect(call('round_jiffies_up', [early])).toBe(behind(HZ));
  });

  it('are three apart from CPU to CPU, whichever it is said to be', () => {
    expect(call('round_jiffies', [behind(HZ - 1n)], 1)).toBe(behind(HZ - 3n));
    expect(call('__round_jiffies', [behind(HZ - 1n), 1n])).toBe(behind(HZ - 3n));
  });

  it('from now on are as many less as have passed', () => {
    world.machine.runFor(300 * MS);
    const now = jiffies();
    const [early, late] = [behind(1n) - now, behind(HZ - 1n) - now];
    expect(call('round_jiffies_relative', [early])).toBe(behind(0n) - now);
    expect(call('round_jiffies_relative', [late])).toBe(behind(HZ) - now);
    expect(call('round_jiffies_up_relative', [early])).toBe(behind(HZ) - now);
    expect(call('__round_jiffies_relative', [late, 1n])).toBe(behind(HZ - 3n) - now);
  });
});

describe('a timer of a module', () => {
  it('has its function and flags, and nothing of what the memory held', () => {
    const { size, fields } = BUILT_IN.structs.timer_list;
    const { mem } = world.machine.inspect.core;
    const at = world.zeroed(size);
    mem.fill(at, size, 0xff);
    call('init_timer_key', [at, 0x1234n, 0x80000n]);
    expect(mem.readU64(at + BigInt(fields.function))).toBe(0x1234n);
    expect(mem.readU32(at + BigInt(fields.flags))).toBe(0x80000);
    expect(mem.readU64(at + BigInt(fields.expires))).toBe(0n);
  });
});
