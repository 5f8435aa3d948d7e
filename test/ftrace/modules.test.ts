// Sites of modules, from load to unload.

import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import {
  availableFilterFunctionsAddrs,
  dynFtraceTotalInfo,
  enabledFunctions,
} from '../../src/ftrace/report.ts';
import { TraceBuffer } from '../../src/tracing/trace_buffer.ts';
import { NOP5, newOps, traceOne } from './ops.ts';
import { World } from './world.ts';

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

describe('modules', () => {
  it('have their sites turned into nops at load, and are forgotten when they go', () => {
    const before = dynFtraceTotalInfo(world.ftrace);
    expect(world.load('klpdemo_target')).toMatchObject({ ok: true });
    const mod = world.loader.modules.find('klpdemo_target');
    expect(mod?.fentrySites.length).toBeGreaterThan(10);
    const live = (mod?.fentrySites ?? []).filter((site) => world.ftrace.records.at(site));
    // Those of the init text went with it.
    expect(live.length).toBeLessThan(mod?.fentrySites.length ?? 0);
    for (const site of live) expect(world.bytesAt(site)).toBe(NOP5);
    expect(world.unload('klpdemo_target')).toBe(0);
    expect(dynFtraceTotalInfo(world.ftrace)).toBe(before);
  });

  it('leave the names of their init functions behind while something traces, the last function first', () => {
    const load = () => {
      world.load('klpdemo_target');
      return world.ftrace.initFunctions.list().map(({ name, module }) => `${module}:${name}`);
    };
    expect(load()).toEqual([]);
    world.unload('klpdemo_target');
    traceOne(world, 'vfs_read');
    const listed = load();
    expect(listed).toContain('klpdemo_target:klpdemo_target_init');
    const sites = world.ftrace.initFunctions.list().map(({ addr }) => addr);
    expect(sites).toEqual([...sites].sort((a, b) => (a < b ? 1 : -1)));
    world.load('klpdemo_patch_vmlinux');
    const modules = world.ftrace.initFunctions.list().map(({ module }) => module);
    expect(modules[0]).toBe('klpdemo_patch_vmlinux');
    world.unload('klpdemo_target');
    expect(new Set(world.ftrace.initFunctions.list().map(({ module }) => module))).toEqual(
      new Set(['klpdemo_patch_vmlinux']),
    );
  });

  it('have names for addresses in an init function whose text has gone, which nothing but a name is asked for, until they go', () => {
    traceOne(world, 'vfs_read');
    world.load('klpdemo_target');
    const { symbols } = world.core;
    const inits = world.ftrace.initFunctions.list();
    const init = inits.find(({ name }) => name === 'klpdemo_target_init');
    if (!init) throw new Error('klpdemo_target_init is not remembered');
    const inside = init.addr + 5n;
    const size = `0x${init.size.toString(16)}`;
    expect(symbols.format(inside)).toBe(`klpdemo_target_init+0x5/${size} [klpdemo_target]`);
    expect(symbols.formatReturn(inside)).toBe(`klpdemo_target_init+0x5/${size} [klpdemo_target]`);
    expect(new TraceBuffer(world.core).symbol(inside)).toBe('klpdemo_target_init');
    expect([symbols.lookup(inside), symbols.sizeAndOffset(inside)]).toEqual([undefined, undefined]);
    expect(world.ftrace.location(init.addr)).toBe(0n);
    expect(symbols.describe(init.addr + BigInt(init.size))?.name).not.toBe('klpdemo_target_init');
    world.unload('klpdemo_target');
    expect(symbols.format(inside)).toBe(`0x${inside.toString(16)}`);
    expect(new TraceBuffer(world.core).symbol(inside)).toBe(`0x${inside.toString(16)}`);
  });

  it('are listed with their name, and with the address of each site where that is shown', () => {
    const image = [...world.image.fentrySites].sort((a, b) => (a < b ? -1 : 1));
    world.load('klpdemo_target');
    const lines = availableFilterFunctionsAddrs(world.core, world.ftrace).trimEnd().split('\n');
    const [first] = image;
    expect(lines[0]).toBe(`${first.toString(16)} ${world.core.symbols.nameOf(first)}`);
    const round = world.sym('klpdemo_target:klpdemo_round');
    expect(lines.slice(image.length)).toContain(`${round.toString(16)} klpdemo_round [klpdemo_target]`);
  });

  it('are listed with their name', () => {
    world.load('klpdemo_target');
    const addr = world.sym('klpdemo_target:klpdemo_round');
    const ops = newOps(world);
    world.run(world.ftrace.setFilterIp(ops.addr, addr, false));
    world.run(world.ftrace.registerFunction(ops.addr));
    expect(enabledFunctions(world.core, world.ftrace)).toMatch(
      /^klpdemo_round \[klpdemo_target\] \(1\) {6}\ttramp: 0xf/,
    );
  });

  it('are cleared from no filter when they go, but for those of trace arrays: no other is theirs', () => {
    const at = (name: string) => world.sym(name);
    world.load('klpdemo_target');
    const round = at('klpdemo_target:klpdemo_round');
    const [other, array] = [newOps(world), newOps(world)];
    for (const ops of [other, array]) {
      world.run(world.ftrace.setFilter(ops.addr, [round, at('vfs_read')]));
      expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(0);
    }
    const gone: bigint[] = [];
    const releaseMod = world.ftrace.releaseMod.bind(world.ftrace);
    world.ftrace.releaseMod = (name) => {
      const sites = releaseMod(name);
      gone.push(...sites);
      return sites;
    };
    expect(world.unload('klpdemo_target')).toBe(0);
    expect(gone).toContain(round);
    world.ftrace.clearFilter(array.addr, gone);
    expect(other.filterIps()).toEqual([at('vfs_read'), round]);
    // Not shorter, which of the last site would mean every function.
    expect(array.filterIps()).toEqual([at('vfs_read'), 0n]);
    // Whoever comes to that address is traced by the one, and by the other not.
    world.load('klpdemo_target');
    expect(at('klpdemo_target:klpdemo_round')).toBe(round);
    expect(world.core.mem.readBytes(round, 5)).toEqual(callInsn(round, other.trampoline));
    for (const ops of [other, array]) expect(world.run(world.ftrace.unregisterFunction(ops.addr))).toBe(0);
    expect(world.bytesAt(round)).toBe(NOP5);
  });

  it('keep their sites when they go after ftrace has gone off for good', () => {
    world.load('klpdemo_target');
    const sites = () => Number(dynFtraceTotalInfo(world.ftrace).split(' ')[0]);
    const before = sites();
    const round = world.sym('klpdemo_target:klpdemo_round');
    world.run(world.ftrace.moduleInit('broken', [world.sym('notrace_function')]));
    const told = world.ftrace.records.at(round);
    expect(world.unload('klpdemo_target')).toBe(0);
    expect(world.ftrace.records.at(round)).toBe(told);
    expect(sites()).toBe(before + 1); // with the broken one
  });
});
