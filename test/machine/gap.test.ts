// The gap that the kernel leaves between a version's choice and its taking effect: docs/findings.md.

import { afterEach, describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { Machine } from '../../src/machine/machine.ts';

const CONSTANTS = BUILT_IN.constants;

const MS = 1e6;
const PATCH = 'klpdemo_patch_vmlinux';

let machine: Machine;
afterEach(() => machine.close());

const said = (text: string) => machine.dmesg().some((line) => line.endsWith(text));

/** Runs to where the handler has chosen for the task, and has just let preemption in again. */
function untilChosen(task: TaskStruct): boolean {
  const [cpu] = machine.inspect.smp.cpus;
  const { symbols, percpu } = machine.inspect.core;
  let within = false;
  for (let steps = 0; steps < 400_000; steps++) {
    machine.inspect.loop.runCpu(cpu, 1);
    if (machine.inspect.core.current(0) !== task || symbols.nameOf(cpu.pc) !== 'klp_ftrace_handler') continue;
    const depth = percpu.readU32('__preempt_count', 0) & CONSTANTS.PREEMPT_MASK;
    if (depth > 0) within = true;
    else if (within) return true;
  }
  return false;
}

describe('a task preempted after klp_ftrace_handler chose the new function', () => {
  it('is switched by the stack check, for nothing on its stack tells, and runs what was chosen', async () => {
    machine = await bootWithModules({ cpus: 1 });
    machine.insmod(`/${PATCH}.ko`);
    expect(machine.runUntil(() => said(': patching complete'), 20_000 * MS)).toBe(true);
    const reader = machine.spawn('reader', ['/proc/cmdline', '0']);
    machine.runFor(20 * MS);
    const seen: string[] = [];
    machine.events.subscribe((e) => {
      if (e.type === 'patch_state' && e.pid === reader.pid) seen.push(`${e.way} to ${e.to}`);
      if (e.type === 'gap' && e.pid === reader.pid) seen.push(`gap: ${e.func} ran ${e.version}`);
    });
    expect(untilChosen(reader)).toBe(true);
    const echo = machine.spawn('echo', ['0\n', `/sys/kernel/livepatch/${PATCH}/enabled`]);
    machine.inspect.sched.reschedCurr(0);
    machine.inspect.smp.cpus[0].tickPending = true;
    machine.runUntil(() => machine.exitStatus(echo) !== undefined, 1000 * MS);
    machine.runUntil(() => machine.inspect.versions.gapCalls > 0, 1000 * MS);
    expect(seen).toEqual([
      'stack check to 0',
      `gap: cmdline_proc_show ran klpdemo_new_cmdline_proc_show [${PATCH}]`,
    ]);
  });
});
