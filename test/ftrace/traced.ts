// Ops of a test: made in the heap of a world, with a filter of one function, registered.

import type { FtraceOps } from '../../src/ftrace/ops.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { World } from './world.ts';

export function newOps(world: World, flags = 0, handler = 'ftrace_stub'): FtraceOps {
  const ops = world.ftrace.ops(world.core.slab.alloc(BUILT_IN.structs.ftrace_ops.size, 'test ops'));
  ops.func = world.sym(handler);
  ops.flags = flags;
  return ops;
}

/** @throws where it cannot be registered */
export function traceOne(world: World, name: string, flags = 0): FtraceOps {
  const ops = newOps(world, flags);
  const failed =
    world.run(world.ftrace.setFilterIp(ops.addr, world.sym(name), false)) ||
    world.run(world.ftrace.registerFunction(ops.addr));
  if (failed) throw new Error(`${name} cannot be traced: ${failed}`);
  return ops;
}
