// A CPU as it comes up: its registers at secondary_startup_64, its idle task, and its part of the per-CPU data.
// Mirrors what arch/x86/kernel/smpboot.c and cpu/common.c set up for it.

import { REG } from '../../arch/x86_64/context.ts';
import { lo32 } from '../../guest/addr.ts';
import type { Engine } from '../../guest/engine.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { CONSTANTS } from '../../kernel/layout.ts';
import type { Fork } from '../../sched/fork.ts';
import { TICK_NS } from '../../sched/timer.ts';
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
  // Their ticks are spread over a period.
  const cpu = new Cpu(id, context, core, TICK_NS * (1 + id / core.cpus), (_cpu, regs) =>
    interrupted(lo32(regs)),
  );
  const { task, sp } = fork.createIdle(id);
  context.regs.fill(0n);
  context.regs[REG.rip] = core.symbols.require('secondary_startup_64');
  context.regs[REG.rsp] = sp;
  context.regs[REG.rflags] = BigInt(CONSTANTS.X86_EFLAGS_FIXED);
  context.perCpuBase = core.percpu.base[id];
  context.touch();
  const { percpu } = core;
  percpu.writeU64('this_cpu_off', id, percpu.base[id]);
  percpu.writeU32('cpu_number', id, id);
  percpu.writeU64('current_task', id, task.addr);
  percpu.writeU64('cpu_current_top_of_stack', id, task.stackTop);
  core.mem.writeU64(percpu.address('cpu_tss_rw', id) + 4n, task.stackTop);
  percpu.writeU64('double_fault_stack', id, fork.createStack());
  return cpu;
}
