import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import { recCount } from '../../src/ftrace/dyn_ftrace.ts';
import type { FtraceOps } from '../../src/ftrace/ops.ts';
import {
  availableFilterFunctionsAddrs,
  dynFtraceTotalInfo,
  enabledFunctions,
  trampolineKallsyms,
} from '../../src/ftrace/report.ts';
import { FTRACE } from '../../src/ftrace/since.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

const NOP5 = '0f 1f 44 00 00';

/** Bytes of a real trampoline of Debian's 6.1 (see the reference), up to the address of its ops. */
const REAL_TRAMPOLINE =
  `48 81 ec a8 00 00 00 48 89 44 24 50 48 89 4c 24 58 48 89 54 24 60 48 89 74 24 68 48 89 7c 24
70 4c 89 44 24 48 4c 89 4c 24 40 48 c7 44 24 78 00 00 00 00 48 89 ea 48 89 54 24 20 48 8b b4 24 b0 00 00 00 48 8b bc
24 a8 00 00 00 48 89 bc 24 80 00 00 00 48 83 ef 05 48 8d 8c 24 b0 00 00 00 48 89 8c 24 98 00 00 00 48 8b 15 59 00 00
00 48 8d 0c 24 48 c7 84 24 88 00 00 00 00 00 00 00 e8 ?? ?? ?? ?? 48 8b 84 24 80 00 00 00 48 89 84 24 a8 00 00 00 48
8b 6c 24 20 4c 8b 4c 24 40 4c 8b 44 24 48 48 8b 7c 24 70 48 8b 74 24 68 48 8b 54 24 60 48 8b 4c 24 58 48 8b 44 24 50
48 81 c4 a8 00 00 00 c3 cc 00 00 00`.split(/\s+/);

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

function newOps(flags = 0, handler = 'ftrace_stub'): FtraceOps {
  const ops = world.ftrace.ops(world.core.slab.alloc(LAYOUT.ftrace_ops.size, 'test ops'));
  ops.func = world.sym(handler);
  ops.flags = flags;
  return ops;
}

const hex = (bytes: Iterable<number>): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

function traceOne(name: string, flags = 0): FtraceOps {
  const ops = newOps(flags);
  expect(world.run(world.ftrace.setFilterIp(ops.addr, world.sym(name), false))).toBe(0);
  expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(0);
  return ops;
}

describe('ftrace_init', () => {
  it('turns every fentry call of the image into the five-byte nop', () => {
    expect(world.image.fentrySites.length).toBeGreaterThan(5);
    for (const site of world.image.fentrySites) expect(world.bytesAt(site)).toBe(NOP5);
  });

  it('gives up for good when a site is no call of __fentry__, and says what it found', () => {
    const bad = world.sym('notrace_function');
    expect(world.run(world.ftrace.moduleInit('broken', [bad]))).toBe(-UAPI.EINVAL);
    expect(world.ftrace.disabled).toBe(true);
    expect(world.dmesg.slice(0, 4)).toEqual([
      '------------[ ftrace bug ]------------',
      'ftrace failed to modify ',
      `[<${bad.toString(16)}>] notrace_function+0x0/0x1`,
      ' actual:   c3:cc:cc:cc:cc',
    ]);
    const ops = newOps();
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.ENODEV);
  });
});

describe('a site that does not hold what it should', () => {
  const log = (from: number) => world.dmesg.slice(from).filter((line) => !line.includes('ftrace bug'));
  const flags = (ip: bigint) => world.ftrace.records.at(ip)?.flags.toString(16);

  it('of the image ends ftrace at boot', async () => {
    const fresh = await World.boot();
    const bad = fresh.sym('notrace_function');
    expect(fresh.ftrace.init([bad])).toBe(-UAPI.EINVAL);
    expect(fresh.ftrace.disabled).toBe(true);
    expect(fresh.dmesg).toContain('Initializing ftrace call sites');
    expect(world.ftrace.disabled).toBe(false);
  });

  it.each([
    ['Setting ftrace call site to call ftrace function', 'register'],
    ['Setting ftrace call site to NOP', 'unregister'],
    ['Updating ftrace call site to call a different ftrace function', 'register a second'],
  ])("is told of with what was to be done: '%s'", (what, how) => {
    const site = world.sym('vfs_read');
    const ops = how === 'register' ? newOps() : traceOne('vfs_read');
    const second = how === 'register a second' ? newOps() : ops;
    world.run(world.ftrace.setFilterIp(second.addr, site, false));
    world.core.mem.pokeText(site, Uint8Array.of(0x0f, 0x0b, 0x90, 0x90, 0x90));
    if (how === 'unregister') world.run(world.ftrace.unregisterFunction(ops.addr));
    else expect(world.run(world.ftrace.registerFunction(second.addr))).toBe(-UAPI.ENODEV);
    expect(world.ftrace.disabled).toBe(true);
    expect(world.dmesg).toEqual(
      expect.arrayContaining([
        what,
        ' actual:   0f:0b:90:90:90',
        `ftrace record flags: ${flags(site)}`,
        expect.stringMatching(how === 'register' ? /^ expected: 0f:1f:44:00:00$/ : /^ expected: e8:/),
      ]),
    );
    // Nothing was poked.
    expect(world.bytesAt(site)).toBe('0f 0b 90 90 90');
    expect(world.calls.slice(-2)).toEqual(['ftrace_verify_code', 'ftrace_bug']);
  });

  it('is told of with how many trace it, whether all registers are wanted, and what it was to call', () => {
    const at = (name: string) => world.sym(name);
    const broken = (name: string, unregistered: FtraceOps) => {
      const begun = world.dmesg.length;
      world.core.mem.pokeText(at(name), Uint8Array.of(0x0f, 0x0b, 0x90, 0x90, 0x90));
      world.run(world.ftrace.unregisterFunction(unregistered.addr));
      world.ftrace.disabled = false;
      return world.dmesg.slice(begun).slice(-2);
    };
    const regs = traceOne('vfs_read', C.FTRACE_OPS_FL_SAVE_REGS);
    const plain = traceOne('vfs_read');
    const walked = at('ftrace_regs_caller').toString(16);
    expect(broken('vfs_read', plain)).toEqual([' (1) R', ` expected tramp: ${walked}`]);
    const own = traceOne('do_idle');
    const trampoline = own.trampoline.toString(16);
    expect(broken('do_idle', own)).toEqual([' (0)  ', ` expected tramp: ${trampoline}`]);
    // Of one that nobody had traced the kernel says what most call.
    const begun = world.dmesg.length;
    world.core.mem.pokeText(at('meminfo_proc_show'), Uint8Array.of(0x0f, 0x0b, 0x90, 0x90, 0x90));
    const first = newOps();
    world.run(world.ftrace.setFilterIp(first.addr, at('meminfo_proc_show'), false));
    world.run(world.ftrace.registerFunction(first.addr));
    const caller = at('ftrace_caller').toString(16);
    expect(world.dmesg.slice(begun).slice(-2)).toEqual([' (1)  ', ` expected tramp: ${caller}`]);
    expect(regs.has(C.FTRACE_OPS_FL_ENABLED)).toBe(true);
  });

  it('and is in no page is not compared: ftrace_verify_code does not warn', () => {
    const away = 0xffffffffa0000000n;
    world.ftrace.records.add('gone', [away]);
    const ops = traceOne('vfs_read');
    world.run(world.ftrace.setFilter(ops.addr, [away]));
    expect(world.ftrace.disabled).toBe(true);
    expect(world.calls.filter((name) => /^ftrace_(verify|bug)/.test(name))).toEqual(['ftrace_bug']);
    expect(world.dmesg).toContain('ftrace faulted on modifying ');
  });

  it('and cannot be read says that it faulted', () => {
    const away = 0xffffffffa0000000n;
    const begun = world.dmesg.length;
    expect(world.run(world.ftrace.moduleInit('gone', [away]))).toBe(-UAPI.EFAULT);
    expect(log(begun)[0]).toBe('ftrace faulted on modifying ');
    expect(log(begun).filter((line) => line.includes('actual'))).toEqual([]);
  });

  it('leaves nothing that ftrace does any more: all answer -ENODEV, modules come without', () => {
    const ops = traceOne('vfs_read');
    world.run(world.ftrace.moduleInit('broken', [world.sym('notrace_function')]));
    const site = world.sym('do_idle');
    const other = newOps();
    const answers = [
      world.ftrace.setFilterIp(other.addr, site, false),
      world.ftrace.setFilter(other.addr, [site]),
      world.ftrace.registerFunction(other.addr),
      world.ftrace.unregisterFunction(ops.addr),
      world.ftrace.setEnabled(0),
    ].map((call) => world.run(call));
    expect(answers).toEqual(Array(5).fill(-UAPI.ENODEV));
    expect(world.run(world.ftrace.moduleInit('next', [world.sym('notrace_function')]))).toBe(0);
    expect(world.ftrace.records.group('next')).toEqual([]);
    expect(world.load('klpdemo_target')).toMatchObject({ ok: true });
  });
});

describe('ops that trace every function', () => {
  it('have each site, those of a module that comes later, and none when they go', () => {
    const ops = newOps();
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
    const all = newOps();
    world.run(world.ftrace.registerFunction(all.addr));
    const one = traceOne('vfs_read');
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
    const ops = newOps();
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
    const ops = newOps();
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    world.run(world.ftrace.setFilterIp(ops.addr, a, false));
    expect(world.run(world.ftrace.setFilterIp(ops.addr, b, true))).toBe(-UAPI.ENOENT);
    expect(ops.filterIps()).toEqual([a]);
  });

  it('has another address in the place of one, at each place where it stands, and no other', () => {
    const ops = newOps();
    ops.init();
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    ops.renameIp(a, b);
    expect(ops.filterIps()).toBeUndefined();
    world.run(world.ftrace.setFilter(ops.addr, [a, b]));
    ops.renameIp(a, 1n);
    expect(ops.filterIps()).toEqual([b, 1n]);
  });

  it('is another one when it is set anew: the last reset counts, and a site without fentry is refused', () => {
    const ops = newOps();
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
    const ops = traceOne('vfs_read');
    const [a, b] = ['vfs_read', 'do_idle'].map((name) => world.sym(name));
    expect(world.run(world.ftrace.setFilterIp(ops.addr, b, false))).toBe(0);
    expect(world.core.mem.readBytes(b, 5)).toEqual(callInsn(b, ops.trampoline));
    expect(world.run(world.ftrace.setFilterIp(ops.addr, a, true))).toBe(0);
    expect(world.bytesAt(a)).toBe(NOP5);
    expect(enabledFunctions(world.core, world.ftrace)).toMatch(/^do_idle \(1\)[^\n]*\n$/);
  });

  it('of one that changes the ip takes no site that another has, but may take one again that is free', () => {
    traceOne('vfs_read', C.FTRACE_OPS_FL_IPMODIFY);
    const second = traceOne('do_idle', C.FTRACE_OPS_FL_IPMODIFY);
    const add = (name: string, remove = false) =>
      world.run(world.ftrace.setFilterIp(second.addr, world.sym(name), remove));
    expect(add('vfs_read')).toBe(-UAPI.EBUSY);
    expect(add('meminfo_proc_show')).toBe(0);
    expect(add('do_idle', true)).toBe(0);
    const third = newOps(C.FTRACE_OPS_FL_IPMODIFY);
    world.run(world.ftrace.setFilterIp(third.addr, world.sym('meminfo_proc_show'), false));
    expect(world.run(world.ftrace.registerFunction(third.addr))).toBe(-UAPI.EBUSY);
    world.run(world.ftrace.setFilterIp(third.addr, world.sym('do_idle'), false, true));
    expect(world.run(world.ftrace.registerFunction(third.addr))).toBe(0);
  });

  it('is as it was where there is no memory, with the heap as it was', () => {
    const { slab } = world.core;
    const tryAlloc = slab.tryAlloc.bind(slab);
    const ops = newOps();
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

describe('where a function is traced', () => {
  it('is its own first site, asked for by the function or by the site; nothing inside of it', () => {
    const { ftrace } = world;
    const read = world.sym('vfs_read');
    expect(ftrace.location(read)).toBe(read);
    for (const off of [1n, -1n]) expect(ftrace.location(read + off)).toBe(0n);
    expect(ftrace.location(world.sym('notrace_function'))).toBe(0n);
    expect(ftrace.location(0x1000n)).toBe(0n);
    // Behind an instruction of indirect branch tracking.
    const func = world.sym('ftrace_caller');
    ftrace.records.add('endbr', [func + 4n]);
    const { symbols } = world.core;
    const lookup = symbols.lookup.bind(symbols);
    symbols.lookup = (addr) => {
      const found = lookup(addr);
      return found && found.addr === func ? { ...found, module: 'endbr' } : found;
    };
    expect(ftrace.location(func)).toBe(func + 4n);
    expect(ftrace.location(func + 1n)).toBe(0n);
    expect(ftrace.location(func + 4n)).toBe(func + 4n);
  });

  it('is told in pages of 256 sites, and by groups', () => {
    const { records } = world.ftrace;
    const image = records.count;
    expect(dynFtraceTotalInfo(world.ftrace)).toBe(`${image} pages:1 groups: 1\n`);
    const sites = Array.from({ length: 257 - image }, (_, i) => 0xffffffffa0000000n + BigInt(i));
    records.add('many', sites.slice(1));
    expect(dynFtraceTotalInfo(world.ftrace)).toBe('256 pages:1 groups: 2\n');
    records.add('one', [0xffffffffa0000000n]);
    expect(dynFtraceTotalInfo(world.ftrace)).toBe('257 pages:2 groups: 3\n');
  });
});

describe('register_ftrace_function', () => {
  it('makes the site call a trampoline whose bytes are those of the real kernel', () => {
    const ops = traceOne('cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY);
    const site = world.sym('cmdline_proc_show');
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, ops.trampoline));
    const bytes = world.bytesAt(ops.trampoline, REAL_TRAMPOLINE.length).split(' ');
    expect(bytes.map((b, i) => (REAL_TRAMPOLINE[i] === '??' ? '??' : b))).toEqual(REAL_TRAMPOLINE);
    expect(world.core.mem.readU64(ops.trampoline + BigInt(REAL_TRAMPOLINE.length))).toBe(ops.addr);
    expect(ops.trampolineSize).toBe(REAL_TRAMPOLINE.length + 8);
  });

  it('maps the trampoline readable and executable, and names it to the unwinder and to kallsyms', () => {
    const ops = traceOne('cmdline_proc_show');
    expect(() => world.core.mem.writeU8(ops.trampoline, 0)).toThrow('write to executable text');
    const [known] = world.trampolines.values();
    expect(known.template).toBe(Number(world.sym('ftrace_caller') & 0xffffffffn));
    expect(trampolineKallsyms(world.ftrace)).toMatchObject([
      { name: 'ftrace_trampoline', addr: ops.trampoline, module: '__builtin__ftrace' },
    ]);
  });

  it('gives an ops that wants all registers a copy of ftrace_regs_caller without its direct jump', () => {
    const ops = traceOne('vfs_read', C.FTRACE_OPS_FL_SAVE_REGS);
    const jump = world.sym('ftrace_regs_caller_jmp') - world.sym('ftrace_regs_caller');
    expect(world.bytesAt(ops.trampoline + jump, 2)).toBe('66 90');
    expect(enabledFunctions(world.core, world.ftrace)).toContain('vfs_read (1) R    \ttramp:');
  });

  it('refuses a second ops that changes the ip of the same site, and leaves nothing of it', () => {
    traceOne('cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY);
    const used = world.area.used();
    const second = newOps(C.FTRACE_OPS_FL_IPMODIFY);
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
    const ops = traceOne('vfs_read');
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
    const ops = traceOne('vfs_read');
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EBUSY);
    const gone = newOps(C.FTRACE_OPS_FL_DELETED);
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
    const ops = traceOne('vfs_read');
    world.area.alloc = alloc;
    const site = world.sym('vfs_read');
    expect(ops.trampoline).toBe(0n);
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, world.sym('ftrace_caller')));
    expect(world.run(world.ftrace.unregisterFunction(ops.addr))).toBe(0);
    expect(world.bytesAt(site)).toBe(NOP5);
  });

  it('finds a trampoline by any address in it', () => {
    const ops = traceOne('vfs_read');
    const { trampolines } = world.ftrace;
    const end = ops.trampoline + BigInt(ops.trampolineSize);
    const at = [ops.trampoline - 1n, ops.trampoline, end - 1n, end].map((ip) => trampolines.at(ip)?.ops);
    expect(at).toEqual([undefined, ops.addr, ops.addr, undefined]);
    const [symbol] = trampolineKallsyms(world.ftrace);
    expect(symbol).toMatchObject({ size: ops.trampolineSize, type: 't' });
  });

  it('refuses an ops that changes the ip of every function', () => {
    const ops = newOps(C.FTRACE_OPS_FL_IPMODIFY);
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EINVAL);
    expect(ops.flags & (C.FTRACE_OPS_FL_ENABLED | C.FTRACE_OPS_FL_ADDING)).toBe(0);
  });

  it('sends a site with two ops to ftrace_caller, which walks the list; and back when one goes', () => {
    const first = traceOne('vfs_read', C.FTRACE_OPS_FL_IPMODIFY);
    const second = traceOne('vfs_read');
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
    traceOne('vfs_read');
    const regs = traceOne('vfs_read', C.FTRACE_OPS_FL_SAVE_REGS);
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
    const ops = traceOne('vfs_read');
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
      const all = [traceOne('vfs_read'), traceOne('vfs_read'), traceOne('do_idle')];
      const addrs = all.map(({ addr }) => addr).reverse();
      expect(list()).toEqual(addrs);
      world.run(world.ftrace.unregisterFunction(addrs[gone]));
      expect(list()).toEqual(addrs.filter((_, i) => i !== gone));
      for (const addr of list()) world.run(world.ftrace.unregisterFunction(addr));
      expect(list()).toEqual([]);
    }
  });

  it('finds no site in a function without one', () => {
    const ops = newOps();
    const none = world.sym('notrace_function');
    expect(world.run(world.ftrace.setFilterIp(ops.addr, none, false))).toBe(-UAPI.EINVAL);
    expect(world.run(world.ftrace.setFilterIp(ops.addr, world.sym('vfs_read'), true))).toBe(-UAPI.ENOENT);
  });
});

describe('unregister_ftrace_function', () => {
  it('puts the nop back and frees the trampoline only when no task can be on it', () => {
    const ops = traceOne('cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY);
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
    const ops = traceOne('cmdline_proc_show');
    world.run(world.ftrace.unregisterFunction(ops.addr));
    world.run(world.ftrace.setFilterIp(ops.addr, world.sym('cmdline_proc_show'), true));
    world.core.slab.free(ops.addr);
    expect(world.core.slab.used()).toBe(before);
  });
});

describe('ftrace_enabled', () => {
  it('cannot be turned off while an ops is registered that must stay', () => {
    const ops = traceOne('cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY | C.FTRACE_OPS_FL_PERMANENT);
    expect(world.run(world.ftrace.setEnabled(0))).toBe(-UAPI.EBUSY);
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect(world.run(world.ftrace.setEnabled(0))).toBe(0);
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EBUSY);
  });

  it('is any int: what is not 0 is on, and a change from on to on changes nothing', () => {
    const ops = traceOne('vfs_read');
    for (const value of [1, 2, -1]) {
      expect(world.run(world.ftrace.setEnabled(value))).toBe(0);
      expect(world.ftrace.enabled).toBe(value);
      expect(world.bytesAt(world.sym('vfs_read'))).toMatch(/^e8/);
    }
    world.run(world.ftrace.setEnabled(0));
    // While it is off ops register all the same, and are called from when it is on.
    world.run(world.ftrace.unregisterFunction(ops.addr));
    const other = traceOne('do_idle');
    expect(world.bytesAt(world.sym('do_idle'))).toBe(NOP5);
    world.run(world.ftrace.setEnabled(1));
    const site = world.sym('do_idle');
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, other.trampoline));
  });

  it('turns nothing off any more from some release on, and says so once', async () => {
    world = await World.boot({ kernel: { ...BUILT_IN, release: FTRACE.enabledIsDeprecated.release } });
    traceOne('vfs_read');
    const begun = world.dmesg.length;
    for (let i = 0; i < 3; i++) {
      expect(world.run(world.ftrace.setEnabled(0))).toBe(-UAPI.EOPNOTSUPP);
      expect(world.dmesg.slice(begun)).toEqual([
        'The ftrace_enabled file is deprecated and no longer disables ftrace',
      ]);
    }
    expect(world.bytesAt(world.sym('vfs_read'))).toMatch(/^e8/);
    expect(world.run(world.ftrace.setEnabled(7))).toBe(0);
    expect(world.ftrace.enabled).toBe(7);
  });

  it('turns other sites into nops, and back', () => {
    traceOne('vfs_read');
    expect(world.run(world.ftrace.setEnabled(0))).toBe(0);
    expect(world.bytesAt(world.sym('vfs_read'))).toBe(NOP5);
    expect(world.run(world.ftrace.setEnabled(1))).toBe(0);
    expect(world.bytesAt(world.sym('vfs_read'))).not.toBe(NOP5);
  });
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
    traceOne('vfs_read');
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
    const ops = newOps();
    world.run(world.ftrace.setFilterIp(ops.addr, addr, false));
    world.run(world.ftrace.registerFunction(ops.addr));
    expect(enabledFunctions(world.core, world.ftrace)).toMatch(
      /^klpdemo_round \[klpdemo_target\] \(1\) {6}\ttramp: 0xf/,
    );
  });
});
