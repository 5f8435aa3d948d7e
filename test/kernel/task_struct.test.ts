import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/index.ts';
import type { KernelDescription } from '../../src/kernel/description.ts';
import { TaskStruct } from '../../src/kernel/task_struct.ts';

describe('a task of a kernel that has on_cpu and on_rq in two bytes side by side', () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.boot({ seed: 1 });
  });
  afterAll(() => machine.close());

  function taskWithBytes(): TaskStruct {
    const { core } = machine.inspect;
    const { task_struct } = core.kernel.structs;
    const fields = { ...task_struct.fields, on_rq: task_struct.fields.on_cpu + 1 };
    const structs = { ...core.kernel.structs, task_struct: { ...task_struct, fields } };
    const kernel: KernelDescription = { ...core.kernel, structs };
    return new TaskStruct({ mem: core.mem, kernel }, core.slab.alloc(task_struct.size, 'task_struct'), 0);
  }

  it('stays on its run queue when it leaves the CPU, which another one may ask at that moment', () => {
    const task = taskWithBytes();
    task.onRq = 1;
    task.onCpu = 1;
    task.onCpu = 0;
    expect([task.onCpu, task.onRq]).toEqual([0, 1]);
  });

  it('is not on a CPU because it is on a run queue', () => {
    const task = taskWithBytes();
    task.onRq = 1;
    expect(task.onCpu).toBe(0);
  });
});
