// Locks on which tasks sleep, under a real kernel: whoever waits, by whichever of its functions, is woken by whoever gives
// the lock back. A hosted function of such a lock knows nothing of those who wait by the kernel's own: there is none.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { initListHead } from '../../src/kernel/list.ts';
import { initMutex } from '../../src/kernel/mutex.ts';
import { loadRealImage } from '../../src/machine/boot/image.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const FAMILY =
  /^_*(?:ww_)?(?:mutex|rwsem|down(?![a-z])|up(?![a-z])|complet|wait_for_|swake|swait|prepare_to_|finish_|wait_woken|(?:add|remove)_wait_|wake_up(?!_process$|_state$|_new_task$)|(?:default|autoremove)_wake)/;

describe.each(Object.keys(DEBIAN_KERNELS))('a lock on which tasks sleep, on %s', (series) => {
  const kernel = vmlinuzOf(series as keyof typeof DEBIAN_KERNELS);
  let machine: Machine;

  beforeAll(async () => {
    if (kernel) machine = await Machine.boot({ kernel, cpus: 2 });
  });
  afterAll(() => machine?.close());

  const starts = (fn: string, lock: Addr): { isOver(): boolean } => {
    const { core, kthreads, sched } = machine.inspect;
    const task = kthreads.create(core.symbols.require(fn), lock, fn.slice(0, 15));
    sched.wakeUpProcess(task);
    const { pid } = task;
    return { isOver: () => core.tasks.byPid(pid) === undefined };
  };

  const object = (fill: (at: Addr) => void): Addr => {
    const at = machine.inspect.core.slab.alloc(256, 'lock');
    machine.inspect.core.mem.fill(at, 256, 0);
    fill(at);
    return at;
  };
  const mutex = (): Addr =>
    object((at) => {
      const { core } = machine.inspect;
      initMutex(core, at);
      // init has it, and sleeps.
      const owner = core.tasks.byPid(1)?.addr as Addr;
      core.mem.writeU64(at + BigInt(core.kernel.structs.mutex.fields.owner), owner);
    });
  const completion = (): Addr =>
    object((at) => {
      const { core } = machine.inspect;
      initListHead(core, at + BigInt(core.kernel.structs.completion.fields.wait_task_list));
    });

  it.skipIf(!kernel).each([
    ['mutex_lock', 'mutex_unlock', mutex],
    ['mutex_lock_interruptible', 'mutex_unlock', mutex],
    ['mutex_lock_killable', 'mutex_unlock', mutex],
    ['mutex_lock_io', 'mutex_unlock', mutex],
    ['wait_for_completion', 'complete', completion],
    ['wait_for_completion_killable', 'complete', completion],
    ['wait_for_completion_interruptible', 'complete_all', completion],
    ['wait_for_completion_io', 'complete_all', completion],
  ])('who waits by %s() is woken by %s(), and waits until then', (wait, give, made) => {
    const lock = made();
    const waiting = starts(wait, lock);
    machine.runFor(50e6);
    expect(waiting.isOver()).toBe(false);
    const given = starts(give, lock);
    machine.runFor(50e6);
    expect([given.isOver(), waiting.isOver()]).toEqual([true, true]);
  });

  it.skipIf(!kernel)('has no hosted function', async () => {
    const { real } = await loadRealImage(openKernel(kernel as string, X86_64), X86_64, 'orc');
    const jumps = [...(real?.hosting.jumps.keys() ?? [])];
    expect(jumps.length).toBeGreaterThan(300);
    expect(jumps.filter((name) => FAMILY.test(name))).toEqual([]);
  });
});
