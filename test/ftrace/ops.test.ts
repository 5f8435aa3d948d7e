// struct ftrace_ops as the guest has it: its hash and its list in memory, what registering leaves in it, where it can be made to fail.

import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { newOps, traceOne } from './traced.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;
const { ftrace_ops, ftrace_ops_hash, ftrace_hash, ftrace_func_entry } = BUILT_IN.structs;

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

const u64 = (addr: bigint, field = 0): bigint => world.core.mem.readU64(addr + BigInt(field));
const filterHash = (ops: bigint): bigint =>
  u64(u64(ops, ftrace_ops.fields.func_hash), ftrace_ops_hash.fields.filter_hash);

describe('the filter in guest memory', () => {
  it('is a hash list in which each entry knows what points to it, also when others come and go', () => {
    const ops = newOps(world);
    const links = () => {
      const hash = filterHash(ops.addr);
      const ips: string[] = [];
      let link = u64(hash, ftrace_hash.fields.buckets);
      for (let entry = u64(link); entry !== 0n; entry = u64(link)) {
        expect(u64(entry, ftrace_func_entry.fields.hlist_pprev)).toBe(link);
        ips.push(`${world.core.symbols.nameOf(u64(entry, ftrace_func_entry.fields.ip))}`);
        link = entry + BigInt(ftrace_func_entry.fields.hlist_next);
      }
      expect(u64(hash, ftrace_hash.fields.count)).toBe(BigInt(ips.length));
      return ips;
    };
    const names = ['vfs_read', 'do_idle', 'meminfo_proc_show', 'cmdline_proc_show'];
    const change = (name: string, remove: boolean) =>
      expect(world.run(world.ftrace.setFilterIp(ops.addr, world.sym(name), remove))).toBe(0);
    for (const name of names) change(name, false);
    expect(links()).toEqual([...names].reverse());
    // From the middle, the beginning, the end.
    change('do_idle', true);
    expect(links()).toEqual(['cmdline_proc_show', 'meminfo_proc_show', 'vfs_read']);
    change('cmdline_proc_show', true);
    expect(links()).toEqual(['meminfo_proc_show', 'vfs_read']);
    change('vfs_read', true);
    expect(links()).toEqual(['meminfo_proc_show']);
    change('meminfo_proc_show', true);
    expect(filterHash(ops.addr)).toBe(0n);
  });

  it('is its own hash once, and may be that of another ops from then on', () => {
    const [one, other] = [newOps(world), newOps(world)];
    const hashOf = (ops: { addr: bigint }) => u64(ops.addr, ftrace_ops.fields.func_hash);
    for (const ops of [one, other]) {
      expect(ops.has(C.FTRACE_OPS_FL_INITIALIZED)).toBe(false);
      ops.init();
      expect(ops.has(C.FTRACE_OPS_FL_INITIALIZED)).toBe(true);
      expect(hashOf(ops)).toBe(ops.addr + BigInt(ftrace_ops.fields.local_hash));
    }
    world.core.mem.writeU64(other.addr + BigInt(ftrace_ops.fields.func_hash), hashOf(one));
    other.init();
    world.run(world.ftrace.setFilterIp(one.addr, world.sym('vfs_read'), false));
    expect(other.filterIps()).toEqual([world.sym('vfs_read')]);
  });
});

describe('an ops that is registered', () => {
  it('has its handler back when it goes, whatever was called in its place', () => {
    const ops = newOps(world, 0, 'arch_ftrace_ops_list_func');
    world.run(world.ftrace.setFilter(ops.addr, [world.sym('vfs_read')]));
    world.run(world.ftrace.registerFunction(ops.addr));
    ops.func = world.sym('ftrace_stub');
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect(ops.func).toBe(world.sym('arch_ftrace_ops_list_func'));
  });

  it('is in no list after a registration that ended in a bug of ftrace', () => {
    const site = world.sym('vfs_read');
    world.core.mem.pokeText(site, Uint8Array.of(0x0f, 0x0b, 0x90, 0x90, 0x90));
    const ops = newOps(world);
    world.run(world.ftrace.setFilter(ops.addr, [site]));
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.ENODEV);
    expect(u64(world.sym('ftrace_ops_list_head'))).toBe(world.sym('ftrace_list_end'));
  });

  it('has those told who wait for changes, once as it comes and once as it goes', () => {
    let told = 0;
    world.ftrace.onUpdated.push(() => told++);
    const ops = traceOne(world, 'vfs_read');
    expect(told).toBe(1);
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect(told).toBe(2);
  });

  it("pokes the static callers' calls where these are others already, and only there", () => {
    const calls = ['ftrace_call', 'ftrace_regs_call'].map((name) => world.sym(name));
    const pokes = () => world.events.filter((e) => e.type === 'poke' && calls.includes(e.addr)).length;
    const before = pokes();
    const first = traceOne(world, 'vfs_read');
    // A breakpoint, the tail, and the first byte, of two callers.
    expect(pokes()).toBe(before + 6);
    const second = traceOne(world, 'do_idle');
    world.run(world.ftrace.unregisterFunction(first.addr));
    expect(pokes()).toBe(before + 6);
    world.run(world.ftrace.unregisterFunction(second.addr));
    expect(pokes()).toBe(before + 12);
  });

  it('in the data of the image keeps its trampoline when another redirects the site, too', () => {
    traceOne(world, 'vfs_read', C.FTRACE_OPS_FL_IPMODIFY);
    const ops = world.ftrace.ops(world.sym('two_static_ops'));
    ops.func = world.sym('ftrace_stub');
    ops.flags = C.FTRACE_OPS_FL_IPMODIFY;
    world.run(world.ftrace.setFilter(ops.addr, [world.sym('vfs_read')]));
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EBUSY);
    expect(world.core.mem.isMapped(ops.trampoline)).toBe(true);
    world.run(world.ftrace.setFilter(ops.addr, [world.sym('do_idle')]));
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(0);
    const site = world.sym('do_idle');
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, ops.trampoline));
  });
});

describe('a step of ftrace that is made to fail', () => {
  it('is asked for by its name and its functions, answers the error, and leaves all as it was', () => {
    const asked: string[] = [];
    let failing = '';
    const check = (point: string, where: string) => {
      asked.push(`${point}: ${where.replaceAll(/\+\S+/g, '')}`);
      return point === failing ? -UAPI.EINVAL : 0;
    };
    Object.assign(world.core, { faults: { check } });
    const ops = newOps(world);
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    const set = (site: bigint, remove: boolean) =>
      world.run(world.ftrace.setFilterIp(ops.addr, site, remove));
    failing = 'ftrace_set_filter_ip';
    expect([set(a, false), ops.filterIps()]).toEqual([-UAPI.EINVAL, undefined]);
    failing = '';
    expect([set(a, false), set(b, false)]).toEqual([0, 0]);
    failing = 'ftrace_set_filter_ip';
    // To take a site out never fails for this reason.
    expect(set(b, true)).toBe(0);
    failing = 'register_ftrace_function';
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EINVAL);
    expect([ops.has(C.FTRACE_OPS_FL_ENABLED), ops.trampoline]).toEqual([false, 0n]);
    expect(world.run(world.ftrace.registerFunction(newOps(world).addr))).toBe(-UAPI.EINVAL);
    failing = '';
    set(b, false);
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(0);
    expect(asked).toEqual([
      'ftrace_set_filter_ip: vfs_read',
      'ftrace_set_filter_ip: vfs_read',
      'ftrace_set_filter_ip: do_idle',
      'register_ftrace_function: vfs_read',
      'register_ftrace_function: all',
      'ftrace_set_filter_ip: do_idle',
      'register_ftrace_function: do_idle vfs_read',
    ]);
  });
});
