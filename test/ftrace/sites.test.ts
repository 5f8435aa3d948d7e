// Sites of modules as they come and go, sites that nobody may trace, and where a function's site is looked for.

import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import { ftraceBug } from '../../src/ftrace/bug.ts';
import { dynFtraceTotalInfo } from '../../src/ftrace/report.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { newOps } from './traced.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;
const NOP5 = '0f 1f 44 00 00';

let world: World;
beforeEach(async () => {
  world = await World.boot();
});

describe('a call of __fentry__ in a function that the kernel has without a site', () => {
  it('is a nop from the boot on, and no record', () => {
    const ip = world.sym('notrace_function');
    world.core.mem.pokeText(ip, callInsn(ip, world.sym('__fentry__')));
    expect(world.ftrace.init([], [ip])).toBe(0);
    expect([world.bytesAt(ip), world.ftrace.records.at(ip)]).toEqual([NOP5, undefined]);
  });
});

describe('the sites of a module', () => {
  it('are no group of records where it has none', () => {
    const before = dynFtraceTotalInfo(world.ftrace);
    expect(world.run(world.ftrace.moduleInit('bare', []))).toBe(0);
    expect(dynFtraceTotalInfo(world.ftrace)).toBe(before);
  });

  it('are warned of where ftrace compares bytes and where it has told what it found, on the way there', () => {
    const args: unknown[] = [];
    world.guest.set('ftrace_module_init', ([which]) => void args.push(which));
    world.run(world.ftrace.moduleInit('broken', [world.sym('notrace_function')]));
    expect(args.splice(0)).toEqual([1, 0]);
    // What is in no page is not compared.
    world.ftrace.disabled = false;
    world.run(world.ftrace.moduleInit('gone', [0xffffffffa0000000n]));
    expect(args).toEqual([0]);
  });

  it('stay disabled once ftrace is off', () => {
    const [site] = world.image.fentrySites;
    const [rec] = world.ftrace.records.add('m', [site], C.FTRACE_FL_DISABLED);
    world.ftrace.disabled = true;
    world.ftrace.moduleEnable('m');
    expect(rec.flags).toBe(C.FTRACE_FL_DISABLED);
    world.ftrace.disabled = false;
    world.ftrace.moduleEnable('m');
    expect(rec.flags).toBe(0);
  });

  it('leave the filters of who is registered with the module: the next one at its place is not traced', () => {
    world.load('klpdemo_target');
    const round = world.sym('klpdemo_target:klpdemo_round');
    const ops = newOps(world);
    world.run(world.ftrace.setFilter(ops.addr, [round, world.sym('vfs_read')]));
    world.run(world.ftrace.registerFunction(ops.addr));
    expect(world.bytesAt(round)).not.toBe(NOP5);
    world.unload('klpdemo_target');
    expect(ops.filterIps()).toEqual([world.sym('vfs_read')]);
    world.load('klpdemo_target');
    expect(world.sym('klpdemo_target:klpdemo_round')).toBe(round);
    expect(world.bytesAt(round)).toBe(NOP5);
  });

  it('go with the init text that they are in: from its first byte, up to its end', () => {
    const start = 0xffffffffa0000000n;
    const sites = [-1n, 0n, 15n, 16n].map((offset) => start + offset);
    world.ftrace.records.add('m', sites);
    world.ftrace.freeMem('m', start, start + 16n);
    expect(sites.map((site) => world.ftrace.records.at(site) !== undefined)).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(world.ftrace.records.group('m').map(({ ip }) => ip)).toEqual([sites[0], sites[3]]);
  });
});

describe('ftrace_location() of a function', () => {
  it('is a site up to its last byte, and none of the function behind it', () => {
    const start = 0xffffffffa0000000n;
    const symbol = (name: string, addr: bigint) => ({ name, addr, size: 16, type: 'T' });
    world.core.symbols.add('m', [symbol('first', start), symbol('second', start + 16n)]);
    world.ftrace.records.add('m', [start + 16n]);
    expect([world.ftrace.location(start), world.ftrace.location(start + 16n)]).toEqual([0n, start + 16n]);
    world.ftrace.records.add('m', [start + 15n]);
    expect(world.ftrace.location(start)).toBe(start + 15n);
  });
});

describe('an error of which ftrace does not know what it is', () => {
  it('is told of as one', () => {
    const [rec] = world.ftrace.records.all();
    ftraceBug(world.core, -UAPI.EPERM, rec, new Uint8Array(), 'Initializing ftrace call sites');
    expect(world.dmesg.slice(0, 4)).toEqual([
      '------------[ ftrace bug ]------------',
      'ftrace faulted on unknown error ',
      expect.stringMatching(/^\[<f{8}[0-9a-f]{8}>\] \S+\+0x0\//),
      'Initializing ftrace call sites',
    ]);
  });
});
