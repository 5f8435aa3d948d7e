// /proc/sys/kernel/ftrace_enabled: every site a nop, where no ops has to stay.

import { beforeEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import { FTRACE } from '../../src/ftrace/since.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { NOP5, traceOne } from './ops.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

describe('ftrace_enabled', () => {
  it('cannot be turned off while an ops is registered that must stay', () => {
    const ops = traceOne(world, 'cmdline_proc_show', C.FTRACE_OPS_FL_IPMODIFY | C.FTRACE_OPS_FL_PERMANENT);
    expect(world.run(world.ftrace.setEnabled(0))).toBe(-UAPI.EBUSY);
    world.run(world.ftrace.unregisterFunction(ops.addr));
    expect(world.run(world.ftrace.setEnabled(0))).toBe(0);
    expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(-UAPI.EBUSY);
  });

  it('is any int: what is not 0 is on, and a change from on to on changes nothing', () => {
    const ops = traceOne(world, 'vfs_read');
    for (const value of [1, 2, -1]) {
      expect(world.run(world.ftrace.setEnabled(value))).toBe(0);
      expect(world.ftrace.enabled).toBe(value);
      expect(world.bytesAt(world.sym('vfs_read'))).toMatch(/^e8/);
    }
    world.run(world.ftrace.setEnabled(0));
    // While it is off ops register all the same, and are called from when it is on.
    world.run(world.ftrace.unregisterFunction(ops.addr));
    const other = traceOne(world, 'do_idle');
    expect(world.bytesAt(world.sym('do_idle'))).toBe(NOP5);
    world.run(world.ftrace.setEnabled(1));
    const site = world.sym('do_idle');
    expect(world.core.mem.readBytes(site, 5)).toEqual(callInsn(site, other.trampoline));
  });

  it('turns nothing off any more from some release on, and says so once', async () => {
    world = await World.boot({ kernel: { ...BUILT_IN, release: FTRACE.enabledIsDeprecated.release } });
    traceOne(world, 'vfs_read');
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
    traceOne(world, 'vfs_read');
    expect(world.run(world.ftrace.setEnabled(0))).toBe(0);
    expect(world.bytesAt(world.sym('vfs_read'))).toBe(NOP5);
    expect(world.run(world.ftrace.setEnabled(1))).toBe(0);
    expect(world.bytesAt(world.sym('vfs_read'))).not.toBe(NOP5);
  });
});
