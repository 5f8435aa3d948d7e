// The gap that the kernel leaves between a version's choice and its taking effect: docs/findings.md.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { Machine } from '../../src/machine/machine.ts';

const CONSTANTS = BUILT_IN.constants;

const MS = 1e6;
const MODULES = join(import.meta.dirname, '../../fixtures/modules');
const PATCH = 'klpdemo_patch_vmlinux';

let machine: Machine;
afterEach(() => machine.close());

const said = (text: string) => machine.dmesg().some((line) => line.endsWith(text));

/** Runs to the handler's first instruction, for the task. */
function untilCalled(task: TaskStruct): boolean {
  const [cpu] = machine.inspect.smp.cpus;
  const { symbols } = machine.inspect.core;
  for (let steps = 0; steps < 400_000; steps++) {
    machine.inspect.loop.runCpu(cpu, 1);
    if (machine.inspect.core.current(0) !== task) continue;
    const at = symbols.lookup(cpu.pc);
    if (at?.name === 'klp_ftrace_handler' && at.offset === 0) return true;
  }
  return false;
}

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

describe('a task preempted before klp_ftrace_handler chose, and behind it', () => {
  it('runs what was due in between, when two patches have come meanwhile: neither is it that of the call nor its own', async () => {
    machine = await bootWithModules({ cpus: 1 });
    for (const name of ['klpdemo_state_a', 'klpdemo_state_b'])
      machine.addFile(`/${name}.ko`, readFileSync(join(MODULES, `${name}.ko`)));
    const comes = (name: string): void => {
      const lines = machine.dmesg().length;
      machine.insmod(`/${name}.ko`);
      const isOver = () =>
        machine
          .dmesg()
          .slice(lines)
          .some((line) => line.endsWith(': patching complete'));
      expect(machine.runUntil(isOver, 20_000 * MS), name).toBe(true);
    };
    comes(PATCH);
    const reader = machine.spawn('reader', ['/proc/cmdline', '0']);
    machine.runFor(20 * MS);
    const seen: string[] = [];
    machine.events.subscribe((e) => {
      if ((e.type === 'call' || e.type === 'gap') && e.pid === reader.pid)
        seen.push(`${e.type}: ${e.version}`);
    });
    /** The task is preempted, and has no CPU until the patch is there. */
    const preemptedWhile = (name: string): void => {
      const { sched, smp } = machine.inspect;
      sched.hold(reader);
      sched.reschedCurr(0);
      smp.cpus[0].reschedulePending = true;
      comes(name);
      sched.letGo(reader);
    };
    expect(untilCalled(reader)).toBe(true);
    seen.length = 0;
    preemptedWhile('klpdemo_state_a');
    expect(untilChosen(reader)).toBe(true);
    expect(seen).toEqual([]);
    preemptedWhile('klpdemo_state_b');
    machine.runUntil(() => seen.length > 0, 5000 * MS);
    expect(seen[0]).toBe('gap: klpdemo_new_cmdline_proc_show [klpdemo_state_a]');
  });
});
