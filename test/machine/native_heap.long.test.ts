// Copies that a real kernel's own code makes (kstrdup(), kasprintf()) belong to who asked for them, and its own checks of
// lists end who breaks one, in the kernel's words.

import { describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HeapMachine } from '../mm/machine.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { runInTask } from './in_task.ts';

const GFP_KERNEL = 0xcc0;

const kernels = { '6.1': vmlinuzOf('6.1'), '6.12': vmlinuzOf('6.12'), '7.3': vmlinuzOf('7.3') };

describe.each(['6.1', '6.12', '7.3'] as const)('Debian %s', (series) => {
  const kernel = kernels[series];

  it.skipIf(!kernel)(
    'gives a copy to who asked for it, whatever functions of the kernel are between',
    async () => {
      const machine = await Machine.boot({ cpus: 1, kernel: kernel as string });
      const owners = new Map<string, string | undefined>();
      const status = runInTask(machine, function* () {
        const { core } = machine.inspect;
        const { slab, mem, symbols } = core;
        const text = slab.alloc(64, 'test');
        mem.writeCString(text, 'text %d');
        const list = slab.alloc(64, 'test');
        mem.writeU32(list, 48);
        mem.writeU64(list + 8n, list);
        const kmemdup = symbols.lookupName('kmemdup_noprof') === undefined ? 'kmemdup' : 'kmemdup_noprof';
        const calls: readonly (readonly [string, readonly (Addr | number)[]])[] = [
          ['kstrdup', [text, GFP_KERNEL]],
          ['kstrdup_const', [text, GFP_KERNEL]],
          ['kstrndup', [text, 3, GFP_KERNEL]],
          [kmemdup, [text, 5, GFP_KERNEL]],
          ['kasprintf', [GFP_KERNEL, text, 7]],
          ['kvasprintf', [GFP_KERNEL, text, list]],
        ];
        for (const [name, args] of calls) {
          const made = yield { call: symbols.require(name), args };
          owners.set(name, slab.live().find(({ addr }) => addr === made)?.owner);
        }
      });
      expect(status).toBe(0);
      const [first] = owners.values();
      // The host function that called them all.
      expect(first).toBe('sysfs_attr_store');
      expect([...owners.values()]).toEqual([...owners].map(() => first));
      machine.close();
    },
  );

  it.skipIf(!kernel)('ends who breaks a list, and says how it was broken', async () => {
    const machine = await Machine.boot({ cpus: 1, kernel: kernel as string });
    const status = runInTask(machine, function* () {
      const { core } = machine.inspect;
      const { slab, mem, symbols } = core;
      const check = ['__list_add_valid', '__list_add_valid_or_report'].find(
        (name) => symbols.lookupName(name) !== undefined,
      ) as string;
      const head = slab.alloc(64, 'test');
      for (const at of [0n, 8n, 32n, 40n]) mem.writeU64(head + at, head);
      yield { call: symbols.require(check), args: [head + 16n, head + 32n, head] };
    });
    expect(status).not.toBe(0);
    const log = machine.dmesg().join('\n');
    expect(log).toMatch(
      /list_add corruption\. next->prev should be prev \((f[0-9a-f]{15})\), but was f[0-9a-f]{15}\. \(next=f[0-9a-f]{15}\)\./,
    );
    expect(log).toMatch(/kernel BUG at lib\/list_debug\.c:\d+!/);
    machine.close();
  });
});

describe('A module on Debian 6.1', () => {
  const kernel = kernels['6.1'];
  it.skipIf(!kernel)('leaves what it had copied, and is told so', async () => {
    const heap = await HeapMachine.boot({ cpus: 1, kernel: kernel as string });
    expect(heap.insmod('klpdemo_heap', 'what=leak')).toBe(0);
    expect(heap.rmmod('klpdemo_heap')).toBe(0);
    expect(heap.leaks.map(({ module }) => module)).toEqual(['klpdemo_heap']);
    const sizes = heap.leaks[0].objects.map(({ size, caller }) => `${size} ${caller.replace(/\+.*/, '')}`);
    expect(sizes.slice(1)).toEqual(['5 klpdemo_heap_init']);
    expect(heap.insmod('klpdemo_heap', 'what=clean')).toBe(0);
    expect(heap.logFrom('things 3')[0]).toBe('things 3, zeroed 1');
    expect(heap.rmmod('klpdemo_heap')).toBe(0);
    expect(heap.leaks).toHaveLength(1);
  });
});
