import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn, NOP5 } from '../../src/arch/x86_64/insn.ts';
import { TextPoke } from '../../src/ftrace/text_poke.ts';
import type { KernelCore } from '../../src/kernel/core.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { EventLog } from '../../src/kernel/events.ts';
import { World } from './world.ts';

const LAYOUT = BUILT_IN.structs;

const REGS = LAYOUT.pt_regs.fields;

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

/** A pt_regs of a trap in kernel mode, with a stack above it. */
function trapAt(ip: bigint): { regs: bigint; sp: bigint } {
  const regs = world.core.slab.alloc(512, 'pt_regs');
  const sp = regs + 400n;
  world.core.mem.writeU64(regs + BigInt(REGS.ip), ip + 1n);
  world.core.mem.writeU64(regs + BigInt(REGS.sp), sp);
  world.core.mem.writeU64(regs + BigInt(REGS.cs), 0x10n);
  return { regs, sp };
}

describe('text_poke_bp_batch', () => {
  it('writes int3, then the tail, then the first byte, with a sync of all CPUs after each', () => {
    const site = world.sym('vfs_read');
    const insn = callInsn(site, world.sym('ftrace_caller'));
    const seen: string[] = [];
    world.during.sync = () => seen.push(world.bytesAt(site));
    world.run(world.ftrace.textPoke.poke(site, insn));
    const tail = world.bytesAt(site).slice(3);
    expect(seen).toEqual(['cc 1f 44 00 00', `cc ${tail}`, `e8 ${tail}`]);
    expect(
      world.events
        .filter((e) => e.type === 'poke')
        .slice(-3)
        .map((e) => 'step' in e && e.step),
    ).toEqual(['int3', 'tail', 'first byte']);
  });

  it('carries a CPU that hits the int3 over to where the new call goes, return address pushed', () => {
    const site = world.sym('vfs_read');
    const target = world.sym('ftrace_caller');
    let carried = 0;
    world.during.sync = () => {
      const { regs, sp } = trapAt(site);
      if (world.core.mem.readU8(site) === 0xcc) {
        expect(world.ftrace.textPoke.breakpointHandler(regs)).toBe(true);
        expect(world.core.mem.readU64(regs + BigInt(REGS.ip))).toBe(target);
        expect(world.core.mem.readU64(regs + BigInt(REGS.sp))).toBe(sp - 8n);
        expect(world.core.mem.readU64(sp - 8n)).toBe(site + 5n);
        carried++;
      }
    };
    world.run(world.ftrace.textPoke.poke(site, callInsn(site, target)));
    expect(carried).toBe(2);
  });

  it('carries it behind the site when that becomes a nop', () => {
    const site = world.sym('vfs_read');
    world.run(world.ftrace.textPoke.poke(site, callInsn(site, world.sym('ftrace_caller'))));
    world.during.sync = () => {
      const { regs, sp } = trapAt(site);
      if (!world.ftrace.textPoke.breakpointHandler(regs)) throw new Error('not carried');
      expect(world.core.mem.readU64(regs + BigInt(REGS.ip))).toBe(site + 5n);
      expect(world.core.mem.readU64(regs + BigInt(REGS.sp))).toBe(sp);
    };
    world.run(world.ftrace.textPoke.poke(site, NOP5 as Uint8Array));
    expect(world.bytesAt(site)).toBe('0f 1f 44 00 00');
  });

  it('tells of a CPU that it carried over: where, and by what, with the function that a call is of', () => {
    const site = world.sym('vfs_read');
    world.during.sync = () => {
      if (world.core.mem.readU8(site) === 0xcc) world.ftrace.textPoke.breakpointHandler(trapAt(site).regs);
    };
    const told = () => world.events.flatMap((e) => (e.type === 'int3' ? [[e.where, e.emulated]] : []));
    const where = world.core.sym(site);
    world.run(world.ftrace.textPoke.poke(site, callInsn(site, world.sym('ftrace_caller'))));
    const call = `call ${world.core.sym(world.sym('ftrace_caller'))}`;
    expect(told()).toEqual([
      [where, call],
      [where, call],
    ]);
    world.run(world.ftrace.textPoke.poke(site, NOP5 as Uint8Array));
    expect(told().slice(2)).toEqual([
      [where, 'nop'],
      [where, 'nop'],
    ]);
  });

  it('is busy from the first step to the last', () => {
    const site = world.sym('vfs_read');
    const { textPoke } = world.ftrace;
    const seen: boolean[] = [];
    world.during.sync = () => seen.push(textPoke.busy);
    expect(textPoke.busy).toBe(false);
    world.run(textPoke.poke(site, callInsn(site, world.sym('ftrace_caller'))));
    expect([...seen, textPoke.busy]).toEqual([true, true, true, false]);
  });

  it('tells of pokes to who listens to them only', () => {
    const told: string[] = [];
    const core = { ...world.core, events: new EventLog(() => ({ t: 0, cpu: 0 })) } as unknown as KernelCore;
    const poke = new TextPoke(core, {
      *syncCores() {
        yield { relax: true };
      },
    });
    poke.early(world.sym('vfs_read'), NOP5 as Uint8Array);
    core.events.subscribe((e) => told.push(e.type), ['poke']);
    poke.early(world.sym('vfs_read'), NOP5 as Uint8Array);
    expect(told).toEqual(['poke']);
  });

  it('needs one store, and one sync, where the hardware has no need of a breakpoint', () => {
    const arch = { ...world.core.arch, poking: { breakpoint: undefined } };
    const seen: string[] = [];
    const site = world.sym('vfs_read');
    const poke = new TextPoke({ ...world.core, arch } as KernelCore, {
      *syncCores() {
        seen.push(world.bytesAt(site));
        yield { relax: true };
      },
    });
    world.run(poke.poke(site, callInsn(site, world.sym('do_idle'))));
    expect(seen).toEqual([world.bytesAt(site)]);
    expect(seen[0].slice(0, 2)).toBe('e8');
    expect(poke.breakpointHandler(trapAt(site).regs)).toBe(false);
    expect(world.events.at(-1)).toMatchObject({ type: 'poke', step: 'whole' });
  });

  it('writes the first bytes of what begins as a breakpoint does, and goes on otherwise', () => {
    const { breakpoint } = world.core.arch.poking;
    const insn = Uint8Array.of(0xcc, 0xcd);
    const arch = { ...world.core.arch, poking: { breakpoint: { ...breakpoint, insn } } };
    const poke = new TextPoke({ ...world.core, arch } as KernelCore, {
      *syncCores() {
        yield { relax: true };
      },
    });
    const site = world.sym('vfs_read');
    const carried = breakpoint as NonNullable<typeof breakpoint>;
    arch.poking.breakpoint.carryOver = () => carried.carryOver(site, NOP5 as Uint8Array);
    const steps = (bytes: Uint8Array): string[] => {
      const begun = world.events.length;
      world.run(poke.poke(site, bytes));
      expect(world.core.mem.readBytes(site, bytes.length)).toEqual(bytes);
      return world.events.slice(begun).flatMap((e) => (e.type === 'poke' ? [e.step] : []));
    };
    expect(steps(Uint8Array.of(0xcc, 0x90, 0x90))).toEqual(['int3', 'tail', 'first byte']);
    expect(steps(Uint8Array.of(0xcc, 0xcd, 0x90))).toEqual(['int3', 'tail']);
  });

  it('pokes more sites than a batch has room for in batches, by address', () => {
    const page = world.area.alloc(4096) as bigint;
    const nop = NOP5 as Uint8Array;
    const pokes = Array.from({ length: 257 }, (_, i) => ({
      addr: page + BigInt(8 * i),
      insn: nop,
    })).reverse();
    for (const { addr } of pokes) world.ftrace.textPoke.early(addr, nop);
    const begun = world.events.length;
    world.run(world.ftrace.textPoke.batch(pokes));
    const first = world.events
      .slice(begun)
      .flatMap((e) => (e.type === 'poke' && e.step === 'int3' ? [e.addr] : []));
    expect(first).toEqual(pokes.map(({ addr }) => addr).reverse());
    const steps = world.events.slice(begun).flatMap((e) => (e.type === 'poke' ? [e.step] : []));
    expect(steps.lastIndexOf('int3')).toBe(3 * 256);
  });

  it('leaves an int3 that is not its own, or from user mode, alone', () => {
    const site = world.sym('vfs_read');
    const other = world.sym('do_idle');
    expect(world.ftrace.textPoke.breakpointHandler(trapAt(site).regs)).toBe(false);
    world.during.sync = () => {
      expect(world.ftrace.textPoke.breakpointHandler(trapAt(other).regs)).toBe(false);
      const { regs } = trapAt(site);
      world.core.mem.writeU64(regs + BigInt(REGS.cs), 0x33n);
      expect(world.ftrace.textPoke.breakpointHandler(regs)).toBe(false);
    };
    world.run(world.ftrace.textPoke.poke(site, callInsn(site, other)));
  });

  it('refuses an instruction that no handler could stand in for', () => {
    const site = world.sym('vfs_read');
    expect(() => world.run(world.ftrace.textPoke.poke(site, Uint8Array.of(0x90, 0x90)))).toThrow(
      'cannot be emulated',
    );
    expect(world.bytesAt(site)).toBe('0f 1f 44 00 00');
  });

  it('never shows a mixture of two instructions, however many sites are in the batch', () => {
    const sites = world.image.fentrySites;
    fc.assert(
      fc.property(fc.subarray([...sites], { minLength: 1 }), (chosen) => {
        const pokes = chosen.map((addr) => ({ addr, insn: callInsn(addr, world.sym('ftrace_caller')) }));
        world.during.sync = () => {
          for (const { addr, insn } of pokes) {
            const now = world.core.mem.readBytes(addr, 5);
            const whole = now.every((b, i) => b === insn[i]);
            expect(now[0] === 0xcc || whole).toBe(true);
          }
        };
        world.run(world.ftrace.textPoke.batch(pokes));
        for (const { addr } of pokes) world.ftrace.textPoke.early(addr, NOP5 as Uint8Array);
        delete world.during.sync;
      }),
      { numRuns: 30 },
    );
  });
});
