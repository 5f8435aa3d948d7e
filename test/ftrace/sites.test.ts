// The call sites of the image: made nops at boot, found by address, and what ends ftrace when one does not hold what it should.

import { beforeEach, describe, expect, it } from 'vitest';
import type { FtraceOps } from '../../src/ftrace/ops.ts';
import { dynFtraceTotalInfo } from '../../src/ftrace/report.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { NOP5, newOps, traceOne } from './ops.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

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
    const ops = newOps(world);
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
    const ops = how === 'register' ? newOps(world) : traceOne(world, 'vfs_read');
    const second = how === 'register a second' ? newOps(world) : ops;
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
    const regs = traceOne(world, 'vfs_read', C.FTRACE_OPS_FL_SAVE_REGS);
    const plain = traceOne(world, 'vfs_read');
    const walked = at('ftrace_regs_caller').toString(16);
    expect(broken('vfs_read', plain)).toEqual([' (1) R', ` expected tramp: ${walked}`]);
    const own = traceOne(world, 'do_idle');
    const trampoline = own.trampoline.toString(16);
    expect(broken('do_idle', own)).toEqual([' (0)  ', ` expected tramp: ${trampoline}`]);
    // Of one that nobody had traced the kernel says what most call.
    const begun = world.dmesg.length;
    world.core.mem.pokeText(at('meminfo_proc_show'), Uint8Array.of(0x0f, 0x0b, 0x90, 0x90, 0x90));
    const first = newOps(world);
    world.run(world.ftrace.setFilterIp(first.addr, at('meminfo_proc_show'), false));
    world.run(world.ftrace.registerFunction(first.addr));
    const caller = at('ftrace_caller').toString(16);
    expect(world.dmesg.slice(begun).slice(-2)).toEqual([' (1)  ', ` expected tramp: ${caller}`]);
    expect(regs.has(C.FTRACE_OPS_FL_ENABLED)).toBe(true);
  });

  it('and is in no page is not compared: ftrace_verify_code does not warn', () => {
    const away = 0xffffffffa0000000n;
    world.ftrace.records.add('gone', [away]);
    const ops = traceOne(world, 'vfs_read');
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
    const ops = traceOne(world, 'vfs_read');
    world.run(world.ftrace.moduleInit('broken', [world.sym('notrace_function')]));
    const site = world.sym('do_idle');
    const other = newOps(world);
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
