// Spinlocks, rwlocks, wait queues and shadow variables are guest code: threads on several CPUs meet in them.

import { afterEach, describe, expect, it } from 'vitest';
import { HeapMachine } from './machine.ts';

let heap: HeapMachine;
afterEach(() => heap.machine.close());

describe('threads that share a counter, wait for each other and attach shadow variables', () => {
  it.each([1, 2, 4])('lose no count, no item, no wakeup and no variable on %i CPUs', async (cpus) => {
    heap = await HeapMachine.boot({ cpus, seed: cpus });
    expect(heap.insmod('klpdemo_locks', 'rounds=150')).toBe(0);
    expect(heap.logFrom('counter')).toEqual([
      'counter 450 of 450, torn 0, taken 1, waiting 0, left 0',
      // The constructor ran once for each, however many came for it.
      'built 150 of 150, unlike 0',
    ]);
    expect(heap.machine.inspect.livepatch.shadows.list()).toEqual([]);
    expect(heap.rmmod('klpdemo_locks')).toBe(0);
  });
});
