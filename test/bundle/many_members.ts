// A bundle of as many members as wanted, and what putting each on the patch's list costs: accesses to guest memory.

import { vi } from 'vitest';
import { numberedBundle, numberedTarget } from '../../bench/lib/numbered_modules.ts';
import { Members } from '../../src/bundle/members.ts';
import { GuestMemory } from '../../src/guest/memory.ts';
import { World } from './world.ts';

export interface Adoption {
  /** The most accesses for one member. */
  readonly most: number;
  readonly adopted: number;
  /** Numbers of the objects on the patch's list when all are linked. */
  readonly order: readonly number[];
}

/** Every second target is there when the bundle is enabled; the others come later, in the opposite order. */
export async function adoptAll(members: number): Promise<Adoption> {
  const w = await World.boot({ shadow: false, heap: (16 << 20) + members * (32 << 10) });
  const { adopt } = Members.prototype;
  const { readU64, writeU64 } = GuestMemory.prototype;
  let accesses = 0;
  const costs: number[] = [];
  vi.spyOn(GuestMemory.prototype, 'readU64').mockImplementation(function (this: GuestMemory, addr) {
    accesses++;
    return readU64.call(this, addr);
  });
  vi.spyOn(GuestMemory.prototype, 'writeU64').mockImplementation(function (this: GuestMemory, addr, value) {
    accesses++;
    writeU64.call(this, addr, value);
  });
  vi.spyOn(Members.prototype, 'adopt').mockImplementation(function (this: Members, bundle, member) {
    const before = accesses;
    adopt.call(this, bundle, member);
    if (member.object) costs.push(accesses - before);
  });
  const expectZero = (what: string, status: number | undefined): void => {
    if (status !== 0) throw new Error(`${what}: ${status}`);
  };
  const load = (n: number): void => {
    w.machine.addFile('/lib/target.ko', numberedTarget(n));
    expectZero(`target ${n}`, w.wait(w.machine.insmod('/lib/target.ko')));
  };
  try {
    for (let n = 0; n < members; n += 2) load(n);
    expectZero('enabling', w.enable(numberedBundle('many', members)));
    w.settled();
    for (let n = members - 1; n > 0; n -= 2) load(n);
    const [patch] = w.machine.inspect.livepatch.patches();
    const order = patch.objects().map(({ name }) => Number(name?.slice('klpbundle_'.length)));
    return { most: Math.max(...costs), adopted: costs.length, order };
  } finally {
    vi.restoreAllMocks();
    w.machine.close();
  }
}

export const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
