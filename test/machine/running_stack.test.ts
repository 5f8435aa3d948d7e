// The stack of a task that is executed, wherever the machine was stopped: what its CPU stands in, then its callers.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';

let machine: Machine;
beforeAll(async () => {
  machine = await Machine.boot({ cpus: 2, instructionNs: 1000 });
  for (let i = 0; i < 2; i++) machine.spawn('reader', ['/proc/cmdline', '0', '0']);
});
afterAll(() => machine.close());

it('is the live frames, in kernel mode, and empty in user mode', () => {
  const { core, traces, smp } = machine.inspect;
  let kernel = 0;
  let user = 0;
  for (let i = 0; i < 200; i++) {
    machine.runFor(37_000 + 1000 * (i % 23));
    for (const { id } of smp.cpus) {
      const task = core.current(id);
      if (!task || task.isIdle) continue;
      const regs = traces.cpuRegs(smp.cpus[id]);
      const trace = traces.stackTrace.explainRegsReliable(task, regs);
      const stack = machine.stack(task);
      if (trace.ok && trace.entries.length === 0) {
        expect(stack).toEqual([]);
        user++;
        continue;
      }
      if (!trace.ok) continue;
      const [pc, ...callers] = trace.entries;
      const names = [core.symbols.format(pc), ...callers.map((addr) => core.symbols.formatReturn(addr))];
      expect(stack).toEqual(names.map((name) => `[<0>] ${name}`));
      kernel++;
    }
  }
  expect(kernel).toBeGreaterThan(100);
  expect(user).toBeGreaterThan(0);
});
