import { beforeEach, describe, expect, it } from 'vitest';
import type { HostGenerator } from '../../src/guest/hostcall.ts';
import { World } from '../ftrace/world.ts';

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

function shadow(name: string, ...args: bigint[]): bigint {
  const result = world.core.host.get(`klp_shadow_${name}`)?.(world.call(...args));
  return typeof result === 'object' ? world.run(result as HostGenerator<bigint>) : ((result as bigint) ?? 0n);
}

describe('shadow variables', () => {
  it('are found by structure and identifier, zeroed at first, and freed with their memory', () => {
    const used = world.core.slab.used();
    const data = shadow('alloc', 0x1000n, 1n, 24n, 0n, 0n, 0n);
    expect(world.core.mem.readBytes(data, 24)).toEqual(new Uint8Array(24));
    expect(shadow('get', 0x1000n, 1n)).toBe(data);
    expect(shadow('get', 0x1000n, 2n)).toBe(0n);
    expect(shadow('get', 0x2000n, 1n)).toBe(0n);
    shadow('free', 0x1000n, 1n, 0n);
    expect(shadow('get', 0x1000n, 1n)).toBe(0n);
    expect(world.core.slab.used()).toBe(used);
  });

  it('exist once: a second alloc warns and fails, get_or_alloc gives the first', () => {
    const data = shadow('alloc', 0x1000n, 1n, 8n, 0n, 0n, 0n);
    expect(shadow('alloc', 0x1000n, 1n, 8n, 0n, 0n, 0n)).toBe(0n);
    expect(world.dmesg.at(-1)).toBe('Duplicate shadow variable <1000, 1>');
    expect(shadow('get_or_alloc', 0x1000n, 1n, 8n, 0n, 0n, 0n)).toBe(data);
  });

  it('come to nothing when their constructor fails', () => {
    const used = world.core.slab.used();
    world.returns.set('vfs_read', BigInt.asUintN(64, -12n));
    expect(shadow('alloc', 0x1000n, 1n, 8n, 0n, world.sym('vfs_read'), 0n)).toBe(0n);
    expect(world.dmesg.at(-1)).toBe('livepatch: Failed to construct shadow variable <1000, 1> (-12)');
    expect(world.core.slab.used()).toBe(used);
  });

  it('go all at once by identifier, each through the destructor', () => {
    for (const obj of [1n, 2n, 3n]) shadow('alloc', obj * 64n, obj === 2n ? 7n : 8n, 8n, 0n, 0n, 0n);
    shadow('free_all', 8n, world.sym('vfs_read'));
    expect(world.livepatch.shadows.list().map((s) => s.obj)).toEqual([128n]);
    expect(world.calls.filter((c) => c === 'vfs_read')).toHaveLength(2);
  });
});
