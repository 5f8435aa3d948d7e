// A task on its way out: from exit_notify() to the switch away, it may be preempted at any instruction.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';

const MS = 1e6;

/** The machine with its task at the instruction that many steps into do_task_dead(). */
async function dyingAt(steps: number) {
  const machine = await Machine.boot({ cpus: 1 });
  const dead = machine.inspect.core.symbols.require('do_task_dead');
  const task = machine.spawn('echo', ['x']);
  machine.spawn('yield');
  const [cpu] = machine.inspect.smp.cpus;
  while (cpu.pc !== dead) {
    if (cpu.halted) machine.step();
    else machine.inspect.loop.runCpu(cpu, 1);
  }
  machine.inspect.loop.runCpu(cpu, steps);
  return { machine, task, place: machine.inspect.core.sym(cpu.pc) };
}

describe('the end of a task', () => {
  it('is the end wherever in do_task_dead() an interrupt comes', async () => {
    const seen = new Set<string>();
    for (let steps = 0; steps < 8; steps++) {
      const { machine, task, place } = await dyingAt(steps);
      if (place.startsWith('do_task_dead+')) seen.add(place);
      machine.inspect.sched.reschedCurr(0);
      machine.inspect.smp.cpus[0].reschedulePending = true;
      machine.runFor(20 * MS);
      expect(machine.inspect.core.tasks.byAddr(task.addr), place).not.toBe(task);
      expect(machine.inspect.core.printk.records.filter((r) => r.level <= 2)).toEqual([]);
      machine.close();
    }
    expect(seen.size).toBeGreaterThan(4);
  });
});
