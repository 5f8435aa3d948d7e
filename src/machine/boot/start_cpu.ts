// A CPU as it comes up: its idle task, its hardware's first state, and its part of the per-CPU data.
// Mirrors kernel/cpu.c (bringup_cpu); what the architecture adds is its processor's to set up.

import { lo32 } from '../../guest/addr.ts';
import type { Engine } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { tickNs } from '../../kernel/description.ts';
import type { Fork } from '../../sched/fork.ts';
import { Cpu } from '../cpu/cpu.ts';

/**
 * Makes CPU `id` with its idle task.
 * @param interrupted told when an interrupt has pushed registers, of the low half of their address.
 */
export function startCpu(
  id: number,
  core: KernelCore,
  engine: Engine,
  fork: Fork,
  interrupted: (regs: number) => void,
): Cpu {
  const context = engine.newContext();
  const cpu = new Cpu(id, context, core, firstTick(core, id), (regs) => interrupted(lo32(regs)));
  const { task, sp } = fork.createIdle(id);
  core.percpu.writeU32('cpu_number', id, id);
  core.percpu.writeU64('current_task', id, task.addr);
  cpu.processor.start({ sp, top: task.stackTop, makeStack: () => fork.createStack() });
  return cpu;
}

/** Their ticks are spread over a period. */
export const firstTick = (core: KernelCore, id: number): number => tickNs(core.kernel) * (1 + id / core.cpus);
