// Shadow variables are guest code over guest memory: asm/x86_64/shadow.s, called here as a module calls it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { negErrno } from '../../src/kernel/core.ts';
import { ShadowVariables } from '../../src/livepatch/shadow.ts';
import { World } from '../fs/world.ts';

const GFP_KERNEL = 0xcc0;

let world: World;
let shadows: ShadowVariables;
beforeEach(async () => {
  world = await World.boot();
  shadows = new ShadowVariables(world.core);
});
afterEach(() => world.close());

const alloc = (obj: bigint, id: bigint, size = 8, ctor = 0n, data = 0n): bigint =>
  world.call('klp_shadow_alloc', obj, id, size, GFP_KERNEL, ctor, data);
const getOrAlloc = (obj: bigint, id: bigint, size = 8, ctor = 0n, data = 0n): bigint =>
  world.call('klp_shadow_get_or_alloc', obj, id, size, GFP_KERNEL, ctor, data);
const get = (obj: bigint, id: bigint): bigint => world.call('klp_shadow_get', obj, id);
const lock = (): number => world.core.mem.readU32(world.sym('klp_shadow_lock'));
const preemptCount = (): number => world.core.percpu.readU32('__preempt_count', 0);

describe('a shadow variable', () => {
  it('is found by structure and identifier, zeroed at first, and freed with its memory', () => {
    const used = world.core.slab.used();
    const data = alloc(0x1000n, 1n, 24);
    expect(world.core.mem.readBytes(data, 24)).toEqual(new Uint8Array(24));
    expect(get(0x1000n, 1n)).toBe(data);
    expect(get(0x1000n, 2n)).toBe(0n);
    expect(get(0x2000n, 1n)).toBe(0n);
    world.call('klp_shadow_free', 0x1000n, 1n, 0n);
    expect(get(0x1000n, 1n)).toBe(0n);
    expect(world.core.slab.used()).toBe(used);
  });

  it('exists once: get_or_alloc gives the first, and constructs nothing', () => {
    const built: bigint[] = [];
    const ctor = world.define(([obj]) => {
      built.push(obj);
      return 0;
    });
    const data = getOrAlloc(0x1000n, 1n, 8, ctor);
    expect(getOrAlloc(0x1000n, 1n, 8, ctor)).toBe(data);
    expect(built).toEqual([0x1000n]);
  });

  it('is constructed and destructed under the lock, with preemption off', () => {
    const seen: string[] = [];
    const before = preemptCount();
    const look = (what: string, args: readonly bigint[]): number => {
      seen.push(`${what} ${args[0].toString(16)} lock ${lock()} preempt ${preemptCount() - before}`);
      return 0;
    };
    const ctor = world.define((args) => {
      world.core.mem.writeU64(args[1], args[2]);
      return look('ctor', args);
    });
    const data = alloc(0x1000n, 1n, 8, ctor, 0x77n);
    expect(world.core.mem.readU64(data)).toBe(0x77n);
    world.call(
      'klp_shadow_free',
      0x1000n,
      1n,
      world.define((args) => look('dtor', args)),
    );
    expect(seen).toEqual(['ctor 1000 lock 1 preempt 1', 'dtor 1000 lock 1 preempt 1']);
    expect([lock(), preemptCount()]).toEqual([0, before]);
  });

  it('comes to nothing when its constructor fails', () => {
    const used = world.core.slab.used();
    const fails = world.define(() => negErrno(12));
    expect(alloc(0x1000n, 1n, 8, fails)).toBe(0n);
    expect(world.core.printk.dmesg().at(-1)).toMatch(
      /livepatch: Failed to construct shadow variable <[0-9a-f]{16}, 1> \(-12\)$/,
    );
    expect(get(0x1000n, 1n)).toBe(0n);
    expect([world.core.slab.used(), lock()]).toEqual([used, 0]);
  });

  it('is not made when there is no memory', () => {
    world.core.slab.fault = () => true;
    expect(alloc(0x1000n, 1n)).toBe(0n);
    world.core.slab.fault = undefined;
    expect([get(0x1000n, 1n), lock()]).toEqual([0n, 0]);
  });

  /** Somebody else makes it, while memory for it is had and before the lock is. */
  const raced = (obj: bigint, id: bigint): { readonly theirs: () => bigint } => {
    const { mem, slab, kernel } = world.core;
    const { fields, size } = kernel.structs.klp_shadow;
    let node = 0n;
    slab.fault = () => {
      slab.fault = undefined;
      node = slab.alloc(size + 8, 'theirs');
      mem.writeU64(node + BigInt(fields.obj), obj);
      mem.writeU64(node + BigInt(fields.id), id);
      mem.writeU64(bucketOf(obj), node);
      mem.writeU64(node + BigInt(fields.node_pprev), bucketOf(obj));
      return false;
    };
    return { theirs: () => node + BigInt(fields.data) };
  };
  const bucketOf = (obj: bigint): bigint => {
    const bits = BigInt(world.core.kernel.constants.KLP_SHADOW_HASH_BITS);
    return (
      world.sym('klp_shadow_hash') + 8n * (BigInt.asUintN(64, obj * 0x61c8864680b583ebn) >> (64n - bits))
    );
  };

  it('that somebody else has made meanwhile is the one that get_or_alloc gives, and the memory is given back', () => {
    const { theirs } = raced(0x1000n, 1n);
    const used = world.core.slab.used();
    const built: bigint[] = [];
    const ctor = world.define(([obj]) => {
      built.push(obj);
      return 0;
    });
    expect(getOrAlloc(0x1000n, 1n, 8, ctor)).toBe(theirs());
    expect(built).toEqual([]);
    expect(shadows.list()).toHaveLength(1);
    const { size } = world.core.kernel.structs.klp_shadow;
    expect([lock(), world.core.slab.live().filter((one) => one.size === size + 8).length]).toEqual([0, 1]);
    expect(world.core.slab.used()).toBeGreaterThan(used);
  });

  it('is in a chain whose links lead both ways, wherever one is taken out', () => {
    const { mem, kernel } = world.core;
    const { node_next: next, node_pprev: back, obj: at } = kernel.structs.klp_shadow.fields;
    // The same object in one bucket, by its identifiers.
    const ids = [1n, 2n, 3n, 4n];
    const chain = (): bigint[] => {
      const found: bigint[] = [];
      for (let link = bucketOf(0x1000n), node = mem.readU64(link); node !== 0n; ) {
        expect(mem.readU64(node + BigInt(back))).toBe(link);
        found.push(mem.readU64(node + BigInt(kernel.structs.klp_shadow.fields.id)));
        expect(mem.readU64(node + BigInt(at))).toBe(0x1000n);
        link = node + BigInt(next);
        node = mem.readU64(link);
      }
      return found;
    };
    for (const id of ids) alloc(0x1000n, id);
    expect(chain()).toEqual([4n, 3n, 2n, 1n]);
    for (const [gone, left] of [
      [2n, [4n, 3n, 1n]],
      [4n, [3n, 1n]],
      [1n, [3n]],
      [3n, []],
    ] as const) {
      world.call('klp_shadow_free', 0x1000n, gone, 0n);
      expect(chain()).toEqual(left);
    }
  });

  it('is found by its own key among many in the same buckets', () => {
    const objects = Array.from({ length: 500 }, (_, i) => 0xffff888000100000n + BigInt(i * 64));
    const data = objects.map((obj, i) => alloc(obj, BigInt(i % 3)));
    for (const [i, obj] of objects.entries()) expect(shadows.get(obj, BigInt(i % 3))).toBe(data[i]);
    expect(shadows.list()).toHaveLength(500);
    expect(get(objects[7], 1n)).toBe(data[7]);
  });
});

describe('a shadow variable that points to itself, as the head of a list does', () => {
  it('is constructed where it stays', () => {
    const ctor = world.define(([, data]) => {
      world.core.mem.writeU64(data, data);
      world.core.mem.writeU64(data + 8n, data);
      return 0;
    });
    for (const make of [alloc, getOrAlloc]) {
      const data = make(0x1000n, 1n, 16, ctor);
      expect([world.core.mem.readU64(data), world.core.mem.readU64(data + 8n)]).toEqual([data, data]);
      world.call('klp_shadow_free', 0x1000n, 1n, 0n);
    }
  });

  it('is destructed where it is, and before its memory is gone', () => {
    const data = alloc(0x1000n, 1n, 16);
    const seen: bigint[] = [];
    world.call(
      'klp_shadow_free_all',
      1n,
      world.define((args) => {
        seen.push(...args.slice(0, 2), BigInt(world.core.slab.used()));
        return 0;
      }),
    );
    expect(seen.slice(0, 2)).toEqual([0x1000n, data]);
    expect(world.core.slab.used()).toBeLessThan(Number(seen[2]));
  });
});

describe('klp_shadow_free_all', () => {
  it('frees all of an identifier, each through the destructor, and leaves the others', () => {
    const gone: bigint[] = [];
    for (const obj of [0x1000n, 0x2000n, 0x3000n]) alloc(obj, obj === 0x2000n ? 7n : 8n);
    const dtor = world.define(([obj]) => {
      gone.push(obj);
      return 0;
    });
    world.call('klp_shadow_free_all', 8n, dtor);
    expect(new Set(gone)).toEqual(new Set([0x1000n, 0x3000n]));
    expect(gone).toHaveLength(2);
    expect(shadows.list().map((s) => [s.obj, s.id])).toEqual([[0x2000n, 7n]]);
    expect(lock()).toBe(0);
  });
});
