// Which sites an ops traces: all, or those of its filter, also while it is registered.

import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import { recCount } from '../../src/ftrace/dyn_ftrace.ts';
import { enabledFunctions } from '../../src/ftrace/report.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { NOP5, newOps, traceOne } from './ops.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

describe('ops that trace every function', () => {
  it('have each site, those of a module that comes later, and none when they go', () => {
    const ops = newOps(world);
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(0);
    for (const site of world.image.fentrySites)
      expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, ops.trampoline));
    world.load('klpdemo_target');
    const round = world.sym('klpdemo_target:klpdemo_round');
    expect(world.core.mem.readBytes(round, 5)).toEqual(callInsn(round, ops.trampoline));
    expect(world.run(world.ftrace.unregisterFunction(ops.addr))).toBe(0);
    expect(world.bytesAt(round)).toBe(NOP5);
    expect(enabledFunctions(world.core, world.ftrace)).toBe('');
  });

  it('leave a site alone that another filter is about', () => {
    const all = newOps(world);
    world.run(world.ftrace.registerFunction(all.addr));
    const one = traceOne(world, 'vfs_read');
    const count = (name: string) => world.ftrace.records.at(world.sym(name));
    expect(recCount(world.core, count('vfs_read') as never)).toBe(2);
    expect(recCount(world.core, count('do_idle') as never)).toBe(1);
    world.run(world.ftrace.unregisterFunction(all.addr));
    expect(world.bytesAt(world.sym('do_idle'))).toBe(NOP5);
    expect(world.core.mem.readBytes(world.sym('vfs_read'), 5)).toEqual(
      callInsn(world.sym('vfs_read'), one.trampoline),
    );
  });
});

describe('the filter of an ops', () => {
  it('has a site once, however often it is added, and is empty again when all is taken out', () => {
    const ops = newOps(world);
    const sites = ['vfs_read', 'do_idle', 'meminfo_proc_show'].map((name) => world.sym(name));
    for (const site of [...sites, ...sites])
      expect(world.run(world.ftrace.setFilterIp(ops.addr, site, false))).toBe(0);
    expect(ops.filterIps()).toEqual([...sites].reverse());
    expect(sites.map((site) => ops.traces(site))).toEqual([true, true, true]);
    expect(ops.traces(world.sym('cmdline_proc_show'))).toBe(false);
    // From the middle, the end, and the last.
    for (const [site, left] of [
      [1, [2, 0]],
      [0, [2]],
      [2, undefined],
    ] as const) {
      expect(world.run(world.ftrace.setFilterIp(ops.addr, sites[site], true))).toBe(0);
      expect(ops.filterIps()).toEqual(left?.map((i) => sites[i]));
    }
    // An empty one means every function.
    expect(ops.traces(sites[0])).toBe(true);
  });

  it('has nothing taken out that is not in it: -ENOENT, and the others stay', () => {
    const ops = newOps(world);
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    world.run(world.ftrace.setFilterIp(ops.addr, a, false));
    expect(world.run(world.ftrace.setFilterIp(ops.addr, b, true))).toBe(-UAPI.ENOENT);
    expect(ops.filterIps()).toEqual([a]);
  });

  it('has another address in the place of one, at each place where it stands, and no other', () => {
    const ops = newOps(world);
    ops.init();
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    ops.renameIp(a, b);
    expect(ops.filterIps()).toBeUndefined();
    world.run(world.ftrace.setFilter(ops.addr, [a, b]));
    ops.renameIp(a, 1n);
    expect(ops.filterIps()).toEqual([b, 1n]);
  });

  it('is another one when it is set anew: the last reset counts, and a site without fentry is refused', () => {
    const ops = newOps(world);
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    world.run(world.ftrace.setFilterIp(ops.addr, a, false));
    world.run(world.ftrace.setFilterIp(ops.addr, b, false, true));
    expect(ops.filterIps()).toEqual([b]);
    expect(world.run(world.ftrace.setFilter(ops.addr, [a, b]))).toBe(0);
    expect(ops.filterIps()).toEqual([b, a]);
    expect(world.run(world.ftrace.setFilter(ops.addr, []))).toBe(0);
    expect(ops.filterIps()).toBeUndefined();
  });

  it('moves a registered ops to its new sites at once', () => {
    const ops = traceOne(world, 'vfs_read');
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    expect(world.run(world.ftrace.setFilterIp(ops.addr, b, false))).toBe(0);
    expect(world.core.mem.readBytes(b, 5)).toEqual(callInsn(b, ops.trampoline));
    expect(world.run(world.ftrace.setFilterIp(ops.addr, a, true))).toBe(0);
    expect(world.bytesAt(a)).toBe(NOP5);
    expect(enabledFunctions(world.core, world.ftrace)).toMatch(/^do_idle \(1\)[^\n]*\n$/);
  });

  it('of one that changes the ip takes no site that another has, but may take one again that is free', () => {
    traceOne(world, 'vfs_read', C.FTRACE_OPS_FL_IPMODIFY);
    const second = traceOne(world, 'do_idle', C.FTRACE_OPS_FL_IPMODIFY);
    const add = (name: string, remove = false) =>
      world.run(world.ftrace.setFilterIp(second.addr, world.sym(name), remove));
    expect(add('vfs_read')).toBe(-UAPI.EBUSY);
    expect(add('meminfo_proc_show')).toBe(0);
    expect(add('do_idle', true)).toBe(0);
    const third = newOps(world, C.FTRACE_OPS_FL_IPMODIFY);
    world.run(world.ftrace.setFilterIp(third.addr, world.sym('meminfo_proc_show'), false));
    expect(world.run(world.ftrace.registerFunction(third.addr))).toBe(-UAPI.EBUSY);
    world.run(world.ftrace.setFilterIp(third.addr, world.sym('do_idle'), false, true));
    expect(world.run(world.ftrace.registerFunction(third.addr))).toBe(0);
  });

  it('is as it was where there is no memory, with the heap as it was', () => {
    const { slab } = world.core;
    const tryAlloc = slab.tryAlloc.bind(slab);
    const ops = newOps(world);
    const site = world.sym('vfs_read');
    for (const failing of ['ftrace_hash', 'ftrace_hash buckets', 'ftrace_func_entry']) {
      const used = slab.used();
      slab.tryAlloc = (size, owner) => (owner === failing ? 0n : tryAlloc(size, owner));
      expect(world.run(world.ftrace.setFilterIp(ops.addr, site, false))).toBe(-UAPI.ENOMEM);
      expect(world.run(world.ftrace.setFilter(ops.addr, [site]))).toBe(-UAPI.ENOMEM);
      slab.tryAlloc = tryAlloc;
      expect(ops.filterIps()).toBeUndefined();
      expect(slab.used()).toBe(used);
    }
    expect(world.run(world.ftrace.setFilterIp(ops.addr, site, false))).toBe(0);
    slab.tryAlloc = () => 0n;
    expect(world.run(world.ftrace.setFilterIp(ops.addr, world.sym('do_idle'), false))).toBe(-UAPI.ENOMEM);
    expect(ops.filterIps()).toEqual([site]);
  });
});
