// A machine whose engine is observed: it is told of what is met, and lives the same life.

import { describe, expect, it } from 'vitest';
import type { Observer } from '../../src/guest/observer.ts';
import { Machine } from '../../src/machine/machine.ts';

const SECOND = 1e9;
const SMALL = { heap: 16 << 20, moduleArea: 4 << 20, maxTasks: 64, engine: 'core' } as const;

async function life(observe: (observer: Observer, machine: Machine) => void): Promise<string> {
  const machine = await Machine.boot(SMALL);
  observe(machine.inspect.executor.observer as Observer, machine);
  for (const program of ['spin', 'pause']) machine.spawn(program);
  machine.runFor(SECOND / 10);
  const told = [...machine.dmesg(), `${machine.now()} ${machine.inspect.executor.instructions}`].join('\n');
  machine.close();
  return told;
}

describe('a machine that is observed', () => {
  it('tells on which CPU a breakpoint or a watchpoint was met, and goes on as if there were none', async () => {
    const plain = await life(() => {});
    const met: string[] = [];
    const observed = await life((observer, machine) => {
      const { symbols, tasks } = machine.inspect.core;
      const schedule = symbols.require('schedule');
      observer.breakAt([schedule]);
      const addr = tasks.curr[0].addr;
      observer.watch([{ addr, size: 8, access: 'read' }]);
      machine.inspect.executor.onObserved = (cpu, kind) => {
        met.push(kind);
        if (kind === 'breakpoint') expect(cpu.pc).toBe(schedule);
        else expect(observer.hits.length).toBeGreaterThan(0);
      };
    });
    expect(new Set(met)).toEqual(new Set(['breakpoint', 'watchpoint']));
    expect(observed).toBe(plain);
  });

  it('counts every instruction that it executed', async () => {
    let counted = 0;
    let executed = 0;
    await life((observer, machine) => {
      observer.count(true);
      const { executor } = machine.inspect;
      machine.spawn('spin');
      const before = executor.instructions;
      machine.runFor(SECOND / 100);
      executed = executor.instructions - before;
      counted = [...observer.counts().executed.values()].reduce((sum, n) => sum + n, 0);
    });
    expect(executed).toBeGreaterThan(1000);
    // Repetitions of string instructions are counted once.
    expect(counted).toBeLessThanOrEqual(executed);
    expect(counted).toBeGreaterThan(executed * 0.5);
  });
});
