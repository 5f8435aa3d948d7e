// A CPU on its way into hlt while a task is started: it must not halt over it.

import { describe, expect, it } from 'vitest';
import type { Cpu } from '../../src/machine/cpu/cpu.ts';
import { Machine } from '../../src/machine/machine.ts';

const MS = 1e6;

/** Takes an idle CPU once through its loop, to every instruction of it, and does something there. */
async function atEveryStep(act: (machine: Machine, cpu: Cpu) => () => boolean): Promise<void> {
  const machine = await Machine.boot({ cpus: 1 });
  const [cpu] = machine.inspect.smp.cpus;
  const places = new Set<string>();
  machine.runFor(10 * MS);
  for (let steps = 1; ; steps++) {
    expect(cpu.halted).toBe(true);
    machine.inspect.sched.wakeUpIfIdle(0);
    for (let i = 0; i < steps && !cpu.halted; i++) machine.inspect.loop.runCpu(cpu, 1);
    if (cpu.halted) break;
    const place = machine.inspect.core.sym(cpu.pc);
    places.add(place);
    const ended = act(machine, cpu);
    expect(machine.runUntil(ended, 20 * MS), place).toBe(true);
    machine.runFor(10 * MS);
  }
  expect([...places].filter((place) => place.startsWith('default_idle')).length).toBeGreaterThan(3);
  machine.close();
}

describe('a CPU on its way into hlt', () => {
  it('runs a task that is started from outside, between two slices', async () => {
    await atEveryStep((machine) => {
      const task = machine.spawn('echo', ['x']);
      return () => machine.exitStatus(task) !== undefined;
    });
  });

  it('runs a task that its timer interrupt starts', async () => {
    await atEveryStep((machine, cpu) => {
      let started: ReturnType<Machine['spawn']> | undefined;
      const run = () => {
        started = machine.spawn('echo', ['x']);
      };
      machine.inspect.timers.add({}, machine.now(), { run });
      cpu.tickPending = true;
      return () => started !== undefined && machine.exitStatus(started) !== undefined;
    });
  });
});
