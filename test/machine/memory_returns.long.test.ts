// What machines and cycles of load, patch, unpatch and unload take of the host comes back, garbage collected: of V8's heap and
// of what hangs on it nearly all; of the process as a whole what its allocator does not keep for the next, which goes up
// and down by some tens of megabytes. A native leak goes up by what it leaks times hundreds.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { numberedMember, numberedTarget } from '../../bench/lib/numbered_modules.ts';
import { Machine } from '../../src/machine/machine.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const MiB = 1 << 20;
const LIMIT = 600e9;

interface Taken {
  /** Bytes of V8's heap, and outside of it for its objects. */
  readonly objects: number;
  /** Resident bytes of the process. */
  readonly resident: number;
}

async function taken(): Promise<Taken> {
  // Buffers are freed by a task that a collection leaves.
  for (let i = 0; i < 6; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { objects: heapUsed + external, resident: rss };
}

async function expectNearly(before: Taken): Promise<void> {
  const after = await taken();
  expect(after.objects - before.objects).toBeLessThan(8 * MiB);
  expect(after.resident - before.resident).toBeLessThan(128 * MiB);
}

it('500 machines booted and closed leave nothing behind', async () => {
  const bootAndClose = async (): Promise<void> => {
    const machine = await Machine.boot({ engine: 'core' });
    machine.runFor(10e6);
    machine.close();
  };
  for (let i = 0; i < 50; i++) await bootAndClose();
  const before = await taken();
  for (let i = 0; i < 500; i++) await bootAndClose();
  await expectNearly(before);
});

it('2,000 cycles of load, patch, unpatch and unload do, in one machine', async () => {
  const machine = await Machine.boot({ engine: 'core' });
  machine.addFile('/target.ko', numberedTarget(0));
  machine.addFile('/patch.ko', numberedMember(0));
  const until = (what: () => boolean): void => {
    if (!machine.runUntil(what, LIMIT)) throw new Error(machine.dmesg().slice(-3).join('; '));
  };
  const ended = (task: ReturnType<Machine['insmod']>): void => {
    until(() => machine.exitStatus(task) !== undefined);
    expect(machine.exitStatus(task)).toBe(0);
  };
  const settled = (): void => until(() => !machine.inspect.livepatch.transitionPatch);
  const cycle = (): void => {
    ended(machine.insmod('/target.ko'));
    ended(machine.insmod('/patch.ko'));
    settled();
    ended(machine.spawn('echo', ['0', '/sys/kernel/livepatch/klpbundle_p2_0000/enabled']));
    settled();
    // The patch lets go of its module in a work item.
    until(() => machine.readText('/sys/module/klpbundle_p2_0000/refcnt') === '0\n');
    ended(machine.rmmod('klpbundle_p2_0000'));
    ended(machine.rmmod('klpbundle_0000'));
  };
  for (let i = 0; i < 300; i++) cycle();
  const before = await taken();
  for (let i = 0; i < 2000; i++) cycle();
  await expectNearly(before);
  machine.close();
});
