// An ops comes and goes: its trampoline, what its sites call, and the list of those that are registered.

import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import { enabledFunctions, trampolineKallsyms } from '../../src/ftrace/report.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { NOP5, newOps, traceOne } from './ops.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

/** Bytes of a real trampoline of Debian's 6.1 (see the reference), up to the address of its ops. */
const REAL_TRAMPOLINE =
  `48 81 ec a8 00 00 00 48 89 44 24 50 48 89 4c 24 58 48 89 54 24 60 48 89 74 24 68 48 89 7c 24
70 4c 89 44 24 48 4c 89 4c 24 40 48 c7 44 24 78 00 00 00 00 48 89 ea 48 89 54 24 20 48 8b b4 24 b0 00 00 00 48 8b bc
24 a8 00 00 00 48 89 bc 24 80 00 00 00 48 83 ef 05 48 8d 8c 24 b0 00 00 00 48 89 8c 24 98 00 00 00 48 8b 15 59 00 00
00 48 8d 0c 24 48 c7 84 24 88 00 00 00 00 00 00 00 e8 ?? ?? ?? ?? 48 8b 84 24 80 00 00 00 48 89 84 24 a8 00 00 00 48
8b 6c 24 20 4c 8b 4c 24 40 4c 8b 44 24 48 48 8b 7c 24 70 48 8b 74 24 68 48 8b 54 24 60 48 8b 4c 24 58 48 8b 44 24 50
48 81 c4 a8 00 00 00 c3 cc 00 00 00`.split(/\s+/);

const hex = (bytes: Iterable<number>): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

describe('register_ftrace_function', () => {
  it('makes the site call a trampoline whose bytes are those of the real kernel', () => {
    const ops = traceOne(world, 'cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY);
    const site = world.sym('cmdline_proc_show');
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, ops.trampoline));
    const bytes = world.bytesAt(ops.trampoline, REAL_TRAMPOLINE.length).split(' ');
    expect(bytes.map((b, i) => (REAL_TRAMPOLINE[i] === '??' ? '??' : b))).toEqual(REAL_TRAMPOLINE);
    expect(world.core.mem.readU64(ops.trampoline + BigInt(REAL_TRAMPOLINE.length))).toBe(ops.addr);
    expect(ops.trampolineSize).toBe(REAL_TRAMPOLINE.length + 8);
  });

  it('maps the trampoline readable and executable, and names it to the unwinder and to kallsyms', () => {
    const ops = traceOne(world, 'cmdline_proc_show');
    expect(() => world.core.mem.writeU8(ops.trampoline, 0)).toThrow('write to executable text');
    const [known] = world.trampolines.values();
    expect(known.template).toBe(Number(world.sym('ftrace_caller') & 0xffffffffn));
    expect(trampolineKallsyms(world.ftrace)).toMatchObject([
      { name: 'ftrace_trampoline', addr: ops.trampoline, module: '__builtin__ftrace' },
    ]);
  });

  it('gives an ops that wants all registers a copy of ftrace_regs_caller without its direct jump', () => {
    const ops = traceOne(world, 'vfs_read', C.FTRACE_OPS_FL_SAVE_REGS);
    const jump = world.sym('ftrace_regs_caller_jmp') - world.sym('ftrace_regs_caller');
    expect(world.bytesAt(ops.trampoline + jump, 2)).toBe('66 90');
    expect(enabledFunctions(world.core, world.ftrace)).toContain('vfs_read (1) R    \ttramp:');
  });

  it('refuses a second ops that changes the ip of the same site, and leaves nothing of it', () => {
    traceOne(world, 'cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY);
    const used = world.area.used();
    const second = newOps(world, C.FTRACE_OPS_FL_IPMODIFY);
    world.run(world.ftrace.setFilterIp(second.addr, world.sym('cmdline_proc_show'), false));
    expect(world.run(world.ftrace.registerFunction(second.addr))).toBe(-UAPI.EBUSY);
    expect(second.trampoline).toBe(0n);
    expect(world.area.used()).toBe(used);
    expect(enabledFunctions(world.core, world.ftrace)).toContain('cmdline_proc_show (1)   I  \ttramp:');
  });

  it('changes the list and its sites under ftrace_lock, and text under text_mutex', () => {
    const held: string[] = [];
    const seen = new Set<string>();
    const nameOf = (mutex: bigint | number | undefined) => world.core.symbols.nameOf(mutex as bigint) ?? '?';
    world.guest.set('mutex_lock', ([mutex]) => void held.push(nameOf(mutex)));
    world.guest.set('mutex_unlock', ([mutex]) => void expect(held.pop()).toBe(nameOf(mutex)));
    world.during.sync = () => void seen.add(held.join(', '));
    const ops = traceOne(world, 'vfs_read');
    world.run(world.ftrace.setFilter(ops.addr, [world.sym('do_idle')]));
    world.run(world.ftrace.setEnabled(0));
    world.run(world.ftrace.setEnabled(1));
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect([...seen]).toEqual(['ftrace_lock, text_mutex']);
    // Of no ftrace: static calls and jump labels.
    seen.clear();
    const site = world.sym('do_idle');
    world.run(world.ftrace.pokeLive([{ addr: site, insn: callInsn(site, world.sym('ftrace_caller')) }]));
    expect([[...seen], held]).toEqual([['text_mutex'], []]);
  });

  it('refuses an ops that is registered already, or is gone', () => {
    const ops = traceOne(world, 'vfs_read');
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EBUSY);
    const gone = newOps(world, C.FTRACE_OPS_FL_DELETED);
    expect(world.run(world.ftrace.registerFunction(gone.addr))).toBe(-UAPI.EINVAL);
    // Flags that others read while it registers are gone when it has.
    expect(ops.flags & (C.FTRACE_OPS_FL_ADDING | C.FTRACE_OPS_FL_REMOVING)).toBe(0);
    expect(ops.has(C.FTRACE_OPS_FL_ENABLED)).toBe(true);
    expect(ops.savedFunc).toBe(ops.func);
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect(ops.flags & (C.FTRACE_OPS_FL_ENABLED | C.FTRACE_OPS_FL_REMOVING)).toBe(0);
  });

  it("keeps the trampoline of an ops in the image's data for the next time, and waits for nobody", () => {
    const { core, ftrace } = world;
    const waits: string[] = [];
    world.during.rcu = (what) => waits.push(what);
    // The whole of a structure's data is the image's, not only its beginning.
    for (const offset of [0n, BigInt(LAYOUT.ftrace_ops.size)]) {
      const ops = ftrace.ops(world.sym('two_static_ops') + offset);
      ops.func = world.sym('ftrace_stub');
      world.run(ftrace.setFilterIp(ops.addr, world.sym('vfs_read'), false));
      world.run(ftrace.registerFunction(ops.addr));
      const { trampoline } = ops;
      expect(ops.has(C.FTRACE_OPS_FL_DYNAMIC)).toBe(false);
      expect(world.run(ftrace.unregisterFunction(ops.addr))).toBe(0);
      expect([ops.trampoline, core.mem.isMapped(trampoline), waits]).toEqual([trampoline, true, []]);
      world.run(ftrace.registerFunction(ops.addr));
      const site = world.sym('vfs_read');
      expect(core.mem.readBytes(site, 5)).toEqual(callInsn(site, trampoline));
      world.run(ftrace.unregisterFunction(ops.addr));
    }
    // What a module has in its data goes with it: its trampoline must not stay.
    world.load('klpdemo_target');
    const ofModule = ftrace.ops(world.sym('klpdemo_target:__this_module'));
    core.mem.writeBytes(ofModule.addr, new Uint8Array(LAYOUT.ftrace_ops.size));
    ofModule.func = world.sym('ftrace_stub');
    world.run(ftrace.registerFunction(ofModule.addr));
    expect(world.run(ftrace.unregisterFunction(ofModule.addr))).toBe(0);
    expect([ofModule.trampoline, waits]).toEqual([0n, ['rude', 'tasks']]);
  });

  it('goes by the static caller where there is no memory for a trampoline of its own', () => {
    const alloc = world.area.alloc.bind(world.area);
    world.area.alloc = () => undefined;
    const ops = traceOne(world, 'vfs_read');
    world.area.alloc = alloc;
    const site = world.sym('vfs_read');
    expect(ops.trampoline).toBe(0n);
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, world.sym('ftrace_caller')));
    expect(world.run(world.ftrace.unregisterFunction(ops.addr))).toBe(0);
    expect(world.bytesAt(site)).toBe(NOP5);
  });

  it('finds a trampoline by any address in it', () => {
    const ops = traceOne(world, 'vfs_read');
    const { trampolines } = world.ftrace;
    const end = ops.trampoline + BigInt(ops.trampolineSize);
    const at = [ops.trampoline - 1n, ops.trampoline, end - 1n, end].map((ip) => trampolines.at(ip)?.ops);
    expect(at).toEqual([undefined, ops.addr, ops.addr, undefined]);
    const [symbol] = trampolineKallsyms(world.ftrace);
    expect(symbol).toMatchObject({ size: ops.trampolineSize, type: 't' });
  });

  it('refuses an ops that changes the ip of every function', () => {
    const ops = newOps(world, C.FTRACE_OPS_FL_IPMODIFY);
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EINVAL);
    expect(ops.flags & (C.FTRACE_OPS_FL_ENABLED | C.FTRACE_OPS_FL_ADDING)).toBe(0);
  });

  it('sends a site with two ops to ftrace_caller, which walks the list; and back when one goes', () => {
    const first = traceOne(world, 'vfs_read', C.FTRACE_OPS_FL_IPMODIFY);
    const second = traceOne(world, 'vfs_read');
    const site = world.sym('vfs_read');
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, world.sym('ftrace_caller')));
    const call = world.sym('ftrace_call');
    expect(world.core.mem.readBytes(call, 5)).toEqual(callInsn(call, world.sym('arch_ftrace_ops_list_func')));
    expect(enabledFunctions(world.core, world.ftrace)).toBe(
      `vfs_read (2)   I   ->${world.core.sym(world.sym('arch_ftrace_ops_list_func'))}\n`,
    );
    expect(world.run(world.ftrace.unregisterFunction(second.addr))).toBe(0);
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, first.trampoline));
  });

  it('sends a site to ftrace_regs_caller while one of its ops wants all registers, and says so of no other', () => {
    traceOne(world, 'vfs_read');
    const regs = traceOne(world, 'vfs_read', C.FTRACE_OPS_FL_SAVE_REGS);
    const site = world.sym('vfs_read');
    const listFunc = world.core.sym(world.sym('arch_ftrace_ops_list_func'));
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, world.sym('ftrace_regs_caller')));
    expect(enabledFunctions(world.core, world.ftrace)).toBe(`vfs_read (2) R     ->${listFunc}\n`);
    // While both are registered its filter becomes another one: what it wanted of the site goes with it.
    expect(world.run(world.ftrace.setFilter(regs.addr, [world.sym('do_idle')]))).toBe(0);
    expect(enabledFunctions(world.core, world.ftrace)).toMatch(
      /^vfs_read \(1\) {6}\ttramp: .*\ndo_idle \(1\) R {4}\ttramp: .*\n$/,
    );
    expect(world.core.mem.readBytes(site, 5)).not.toEqual(callInsn(site, world.sym('ftrace_regs_caller')));
  });

  it('has the static callers walk the list while anything is registered, and call the stub when nothing is', () => {
    const calls = () =>
      ['ftrace_call', 'ftrace_regs_call'].map((name) => {
        const at = world.sym(name);
        const to = ['ftrace_stub', 'arch_ftrace_ops_list_func'];
        const bytes = world.bytesAt(at);
        return to.find((one) => bytes === hex(callInsn(at, world.sym(one))));
      });
    const ops = traceOne(world, 'vfs_read');
    expect(calls()).toEqual(['arch_ftrace_ops_list_func', 'arch_ftrace_ops_list_func']);
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect(calls()).toEqual(['ftrace_stub', 'ftrace_stub']);
  });

  it('takes any of three ops out of the list, and leaves the others in it', () => {
    const list = () => {
      const addrs: bigint[] = [];
      for (let at = world.core.mem.readU64(world.sym('ftrace_ops_list_head')); at !== end && at !== 0n; ) {
        addrs.push(at);
        at = world.ftrace.ops(at).next;
      }
      return addrs;
    };
    const end = world.sym('ftrace_list_end');
    for (const gone of [0, 1, 2]) {
      const all = [traceOne(world, 'vfs_read'), traceOne(world, 'vfs_read'), traceOne(world, 'do_idle')];
      const addrs = all.map(({ addr }) => addr).reverse();
      expect(list()).toEqual(addrs);
      world.run(world.ftrace.unregisterFunction(addrs[gone]));
      expect(list()).toEqual(addrs.filter((_, i) => i !== gone));
      for (const addr of list()) world.run(world.ftrace.unregisterFunction(addr));
      expect(list()).toEqual([]);
    }
  });

  it('finds no site in a function without one', () => {
    const ops = newOps(world);
    const none = world.sym('notrace_function');
    expect(world.run(world.ftrace.setFilterIp(ops.addr, none, false))).toBe(-UAPI.EINVAL);
    expect(world.run(world.ftrace.setFilterIp(ops.addr, world.sym('vfs_read'), true))).toBe(-UAPI.ENOENT);
  });
});

describe('unregister_ftrace_function', () => {
  it('puts the nop back and frees the trampoline only when no task can be on it', () => {
    const ops = traceOne(world, 'cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY);
    const { trampoline } = ops;
    const seen: string[] = [];
    world.during.rcu = (what) => {
      seen.push(`${what}: ${world.bytesAt(world.sym('cmdline_proc_show'))}`);
      expect(world.core.mem.isMapped(trampoline)).toBe(true);
    };
    expect(world.run(world.ftrace.unregisterFunction(ops.addr))).toBe(0);
    expect(seen).toEqual([`rude: ${NOP5}`, `tasks: ${NOP5}`]);
    expect(world.core.mem.isMapped(trampoline)).toBe(false);
    expect(world.trampolines.size).toBe(0);
    expect(enabledFunctions(world.core, world.ftrace)).toBe('');
    expect(world.run(world.ftrace.unregisterFunction(ops.addr))).toBe(-UAPI.EBUSY);
  });

  it('leaves the heap as it was once the filter is empty', () => {
    const before = world.core.slab.used();
    const ops = traceOne(world, 'cmdline_proc_show');
    world.run(world.ftrace.unregisterFunction(ops.addr));
    world.run(world.ftrace.setFilterIp(ops.addr, world.sym('cmdline_proc_show'), true));
    world.core.slab.free(ops.addr);
    expect(world.core.slab.used()).toBe(before);
  });
});
