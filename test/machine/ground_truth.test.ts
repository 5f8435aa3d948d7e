// The ground truth finds faults: each is planted here, and stops the machine with an error that names the
// task and the function.

import { afterEach, describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import { lo32 } from '../../src/guest/addr.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { loadKernelImage } from '../../src/machine/boot/image.ts';
import type { Machine, MachineOptions } from '../../src/machine/machine.ts';

const CONSTANTS = BUILT_IN.constants;

const MS = 1e6;
const { KLP_PATCHED, KLP_UNPATCHED } = CONSTANTS;

let machine: Machine;
let repair = (): void => {};
afterEach(() => {
  repair();
  repair = () => {};
  machine.close();
});

async function boot(options: MachineOptions = {}): Promise<void> {
  machine = await bootWithModules(options);
}
function load(name: string, params = ''): void {
  const task = machine.insmod(`/${name}.ko`, params);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1000 * MS);
  expect(machine.exitStatus(task)).toBe(0);
}
function comm(name: string): TaskStruct {
  return [...machine.inspect.core.tasks.processes()].find((t) => t.comm === name) as TaskStruct;
}

/** Makes the ORC entry behind the call of `callee` in `func` say that its frame is larger. */
async function spoilOrc(func: string, bytes: number): Promise<void> {
  const { orc } = await loadKernelImage();
  const start = lo32(machine.inspect.core.symbols.require(func));
  const size = machine.inspect.core.symbols.lookup(machine.inspect.core.symbols.require(func))
    ?.size as number;
  const spoiled = [...orc.ip.keys()].filter((i) => orc.ip[i] >= start && orc.ip[i] < start + size);
  const before = spoiled.map((i) => orc.spOffset[i]);
  for (const i of spoiled) orc.spOffset[i] += bytes;
  repair = () => {
    spoiled.forEach((at, i) => {
      orc.spOffset[at] = before[i];
    });
  };
}

/** A thread asleep in msleep(), whose frame is a saved rbx and the return address. */
function sleeper(): TaskStruct {
  const task = machine.inspect.kthreads.create(
    machine.inspect.core.symbols.require('msleep'),
    60_000n,
    'sleeper',
  );
  machine.inspect.sched.wakeUpProcess(task);
  machine.runFor(20 * MS);
  expect(machine.stack(task)[0]).toContain('msleep');
  return task;
}

describe('a wrong ORC entry', () => {
  it('that makes a reliable trace skip a frame is found at the first stack check', async () => {
    await boot();
    const { pid } = sleeper();
    await spoilOrc('schedule_timeout', 16);
    expect(() => load('klpdemo_patch_vmlinux')).toThrow(
      expect.objectContaining({
        code: 'ETRUTH',
        message: expect.stringMatching(`^reliable trace of sleeper:${pid}: frame 3: trace misses msleep\\+`),
      }),
    );
  });

  it('goes unnoticed without the shadow stack, as it would in the kernel', async () => {
    await boot({ shadow: false });
    sleeper();
    await spoilOrc('schedule_timeout', 16);
    load('klpdemo_patch_vmlinux');
    expect(machine.inspect.traces.compared).toBe(0);
  });
});

describe('a stack check that lets a task through', () => {
  it('is found when the transition completes over it', async () => {
    await boot();
    load('klpdemo_target', 'block=1');
    machine.runFor(200 * MS);
    const worker = comm('klpdemo_worker');
    expect(machine.stack(worker).join()).toContain('klpdemo_round');
    // As if klp_check_stack() had ignored the functions of the module.
    machine.events.subscribe((e) => {
      if (e.type !== 'transition' || e.what !== 'starting') return;
      worker.patchState = KLP_PATCHED;
      worker.clearTif('TIF_PATCH_PENDING');
    });
    expect(() => {
      load('klpdemo_patch_target');
      machine.runFor(20_000 * MS);
    }).toThrow(
      expect.objectContaining({
        code: 'ETRUTH',
        message: expect.stringMatching(
          `'klpdemo_patch_target' is complete while klpdemo_worker:${worker.pid} stands in klpdemo_`,
        ),
      }),
    );
  });

  it('is no fault when the transition is forced', async () => {
    await boot();
    load('klpdemo_target', 'block=1');
    machine.runFor(200 * MS);
    load('klpdemo_patch_target');
    machine.runFor(3000 * MS);
    expect(comm('klpdemo_worker').patchState).toBe(KLP_UNPATCHED);
    machine.spawn('echo', ['1\n', '/sys/kernel/livepatch/klpdemo_patch_target/force']);
    const complete = () => machine.dmesg().some((l) => l.endsWith(': patching complete'));
    expect(machine.runUntil(complete, 3000 * MS)).toBe(true);
  });
});

describe('with nothing planted', () => {
  it('the same runs are counted as held against the truth', async () => {
    await boot();
    sleeper();
    load('klpdemo_patch_vmlinux');
    machine.runFor(3000 * MS);
    const counts = Object.fromEntries(machine.checks().map((c) => [c.name, c.count]));
    expect(counts['reliable traces equal to the live frames']).toBeGreaterThan(4);
    expect(counts['transitions completed with no task in replaced code']).toBe(1);
  });
});
