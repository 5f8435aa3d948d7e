// Which functions and blocks were executed.

import { afterEach, describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import { type Coverage, coverageOf, startCoverage } from '../../src/machine/coverage.ts';
import type { Machine } from '../../src/machine/machine.ts';

let machine: Machine;
afterEach(() => machine.close());

async function covered(run: (machine: Machine) => void): Promise<Coverage> {
  // Unicorn counts nothing.
  machine = await bootWithModules({ engine: 'core', heap: 16 << 20, moduleArea: 4 << 20, maxTasks: 64 });
  startCoverage(machine.inspect);
  run(machine);
  return coverageOf(machine.inspect);
}

const of = ({ functions }: Coverage, name: string) =>
  functions.find((one) => one.name === name)?.blocks ?? [];
const executed = (coverage: Coverage, name: string) =>
  of(coverage, name).filter(({ count }) => count > 0).length;

describe('coverage', () => {
  it('knows the blocks of functions of kernel and modules, and how often each was executed', async () => {
    const coverage = await covered(({ spawn }) => {
      const end = machine.insmod('/klpdemo_patch_vmlinux.ko');
      machine.runUntil(() => machine.exitStatus(end) !== undefined, 1e9);
      machine.runFor(2e9);
      spawn.call(machine, 'reader', ['/proc/cmdline', '1', '3']);
      machine.runFor(50e6);
    });
    expect(coverage.complete).toBe(true);
    const replacement = coverage.functions.find(({ name }) => name === 'klpdemo_new_cmdline_proc_show');
    expect(replacement?.module).toBe('klpdemo_patch_vmlinux');
    expect(replacement?.blocks[0]).toEqual({ offset: 0, count: 3 });
    expect(of(coverage, 'klp_ftrace_handler')[0].count).toBe(3);
    // Nobody recursed, no func_stack was empty: warnings are blocks that nobody came to.
    expect(executed(coverage, 'klp_ftrace_handler')).toBeLessThan(of(coverage, 'klp_ftrace_handler').length);
    expect(executed(coverage, 'klp_handler_warn')).toBe(0);
    // Trampolines are in no function.
    expect(coverage.elsewhere).toBeGreaterThan(20);
    expect(coverage.elsewhere).toBeLessThan(coverage.instructions / 10);
  });

  it('has no block for what only fills room', async () => {
    const coverage = await covered(() => machine.runFor(1e6));
    const [entry, ...rest] = of(coverage, 'klp_sync');
    expect(entry.offset).toBe(0);
    expect(rest).toEqual([]);
  });
});
