// The frame pointer unwinder on text that keeps no frame pointers everywhere: as with a kernel built without
// CONFIG_STACK_VALIDATION, nothing is called reliable, and tasks switch where they need no trace.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Machine } from '../../src/machine/machine.ts';
import { StackTrace } from '../../src/unwind/stacktrace.ts';
import { bootWithModules, Stepper } from './stepper.ts';

const MS = 1e6;

let machine: Machine;
beforeEach(async () => {
  machine = await bootWithModules({ cpus: 2, unwinder: 'frame pointer' });
});
afterEach(() => machine.close());

describe('with the frame pointer unwinder', () => {
  it('no trace is called reliable, and user tasks switch at the kernel exit', () => {
    const users = [machine.spawn('sleep', ['20']), machine.spawn('reader', ['/proc/cmdline', '10'])];
    const load = machine.insmod('/klpdemo_patch_vmlinux.ko');
    machine.runUntil(() => machine.exitStatus(load) !== undefined, 1000 * MS);
    expect(machine.exitStatus(load)).toBe(0);
    machine.runFor(1000 * MS);
    const said = machine.dmesg().filter((line) => line.includes('livepatch: '));
    expect(said.join('\n')).toContain('support for the livepatch consistency model');
    expect(said.join('\n')).not.toContain('patching complete');
    expect(users.map((task) => task.patchState)).toEqual([1, 1]);
    expect(machine.traces.compared).toBe(0);
    const reader = machine.spawn('cat', ['/proc/cmdline']);
    machine.runUntil(() => machine.exitStatus(reader) !== undefined, 1000 * MS);
    expect(machine.stdout(reader)).not.toBe(`${machine.options.cmdline}\n`);
  });

  it('a task interrupted in the kernel has no reliable trace at any instruction, validated or not', () => {
    const { unwinder } = machine.traces.stackTrace;
    const validated = new StackTrace({
      arena: { words: machine.core.mem.stackWords },
      lookup: unwinder.lookup,
      unwinder: 'frame-pointer',
      retFromFork: Number(machine.core.symbols.require('ret_from_fork') & 0xffffffffn),
    });
    expect(validated.haveReliableStack).toBe(true);
    const stepper = new Stepper(machine);
    const task = machine.spawn('cat', ['/proc/cmdline']);
    const entries = new Uint32Array(100);
    let walked = 0;
    const reliable: string[] = [];
    const ended = () => {
      for (const cpu of machine.smp.cpus) {
        if (cpu.context.cpl !== 0 || cpu.stackSlot() !== task.stackSlot || task.stackSlot < 0) continue;
        const regs = machine.traces.cpuRegs(cpu);
        const stack = { stackSlot: task.stackSlot, onCpu: 1, spLo: 0 };
        for (const trace of [validated, machine.traces.stackTrace]) {
          if (trace.stackTraceSaveRegsReliable(stack, regs, entries) >= 0)
            reliable.push(machine.core.sym(cpu.rip));
        }
        walked++;
      }
      return machine.exitStatus(task) !== undefined;
    };
    expect(stepper.until(ended)).toBe(true);
    expect(reliable).toEqual([]);
    expect(walked).toBeGreaterThan(2000);
  });
});
