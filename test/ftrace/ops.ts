// Ops for tests: made in the guest's memory, and registered for one site.

import { expect } from 'vitest';
import type { FtraceOps } from '../../src/ftrace/ops.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { World } from './world.ts';

export const NOP5 = '0f 1f 44 00 00';

export function newOps(world: World, flags = 0, handler = 'ftrace_stub'): FtraceOps {
  const ops = world.ftrace.ops(world.core.slab.alloc(BUILT_IN.structs.ftrace_ops.size, 'test ops'));
  ops.func = world.sym(handler);
  ops.flags = flags;
  return ops;
}

/** Registered for the site of a function. */
export function traceOne(world: World, name: string, flags = 0): FtraceOps {
  const ops = newOps(world, flags);
  expect(world.run(world.ftrace.setFilterIp(ops.addr, world.sym(name), false))).toBe(0);
  expect(world.run(world.ftrace.registerFunction(ops.addr))).toBe(0);
  return ops;
}
