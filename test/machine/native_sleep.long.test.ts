// msleep() of real kernels: how long it sleeps, by what the kernel asks its timer for and by the bucket that this is put into.

import { describe, expect, it } from 'vitest';
import { tickNs } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { runInTask } from './in_task.ts';

/** Ticks until it is over, from the one behind which it begins: of 0, 1, 4 and 5 ms. */
const TICKS = {
  // It asks for msecs_to_jiffies() and one.
  '6.1': [2, 3, 3, 4],
  '6.12': [0, 2, 2, 3],
  '7.3': [0, 2, 2, 3],
} as const;

describe.each(['6.1', '6.12', '7.3'] as const)('msleep() of Debian %s', (series) => {
  const kernel = vmlinuzOf(series);
  it.skipIf(!kernel)('sleeps to a tick, as many behind as that kernel asks for', async () => {
    const machine = await Machine.boot({ kernel: kernel as string, cpus: 1 });
    const { core, timers } = machine.inspect;
    const call = core.symbols.require('msleep');
    const took: number[] = [];
    let far: readonly [from: bigint, to: bigint] = [0n, 0n];
    const status = runInTask(machine, function* () {
      for (const ms of [0, 1, 4, 5]) {
        const from = timers.jiffies();
        yield { call, args: [ms] };
        took.push(Number(timers.jiffies() - from));
      }
      const from = timers.jiffies();
      yield { call, args: [600] };
      far = [from, timers.jiffies()];
    });
    expect(status).toBe(0);
    expect(tickNs(core.kernel)).toBe(4e6);
    expect(took).toEqual(TICKS[series]);
    const [from, to] = far;
    expect(to % 8n).toBe(0n);
    expect(Number(to - from)).toBeGreaterThan(150);
    expect(Number(to - from)).toBeLessThanOrEqual(150 + 1 + 8);
    machine.close();
  });
});
