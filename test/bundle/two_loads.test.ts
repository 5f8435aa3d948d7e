// Two loads at the same time, the second of which waits for the first, whose init begins a transition, which waits for
// loads under way. Nobody may wait for ever, or for as long as waits in the kernel last.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { SECOND, World } from './world.ts';

const SIGINT = 2;

let w: World;
afterEach(() => w.machine.close());

interface Moment {
  readonly instruction: number;
  readonly cpu: number;
}

const load = (name: string): TaskStruct => {
  const file = join(import.meta.dirname, '../../fixtures/modules', `${name}.ko`);
  w.machine.addFile(`/lib/${name}.ko`, new Uint8Array(readFileSync(file)));
  return w.machine.insmod(`/lib/${name}.ko`);
};

/** A load, until the module is on its way; by which CPU and when. */
async function begin(name: string, schedule: string) {
  w = await World.boot({ cpus: 2, engine: 'core', schedule });
  const { machine } = w;
  if (w.insmod('core') !== 0) throw new Error('what one of the patches is for cannot be loaded');
  const task = load(name);
  let moment: Moment | undefined;
  machine.events.subscribe(
    (e) => {
      if (e.type === 'module' && e.name === name && e.state === 'COMING')
        moment ??= { instruction: machine.inspect.executor.instructions, cpu: e.cpu };
    },
    ['module'],
  );
  machine.runUntil(() => moment !== undefined, SECOND);
  if (!moment) throw new Error(`nobody loads ${name}`);
  return { task, moment };
}

/** The first has no CPU from there on: the second comes to the gate before any transition is asked for. */
async function meet(one: string, other: string): Promise<[TaskStruct, TaskStruct]> {
  const { moment } = await begin(one, 'q');
  w.machine.close();
  const { task } = await begin(one, `q,p${moment.cpu}@${moment.instruction + 1}`);
  return [task, load(other)];
}

/** In its system call, and not on the gate. */
const waitsForTheOther = (task: TaskStruct): boolean => {
  const stack = w.machine.stack(task).join();
  return stack.includes('finit_module') && !stack.includes('klp_gate_lock');
};
const loading = (): string => w.machine.inspect.bundles?.gate.loading.join() ?? '';

/** Until the second waits for the first, and keeps nobody waiting. */
const waits = (first: TaskStruct, second: TaskStruct): boolean =>
  w.machine.runUntil(() => waitsForTheOther(second) && loading() === `${first}`, SECOND);

describe('of two loads of one livepatch', () => {
  const NAME = 'klpdemo_patch_vmlinux';

  it('the first gets on with its transition while the second waits for it, and the second is told that it is there', async () => {
    const [first, second] = await meet(NAME, NAME);
    expect(waits(first, second)).toBe(true);
    expect([w.wait(first, 10 * SECOND), w.wait(second, 10 * SECOND)]).toEqual([0, UAPI.EEXIST]);
    expect(w.machine.unmetSchedule()).toEqual([]);
    expect(w.settled()).toBe(true);
    expect(loading()).toBe('');
    expect(w.machine.inspect.livepatch.patches().map(({ name }) => name)).toEqual([NAME]);
  });

  it('the second can be ended while it waits, and leaves nothing of it', async () => {
    const [first, second] = await meet(NAME, NAME);
    expect(waits(first, second)).toBe(true);
    w.machine.inspect.exit.sendSignal(second, SIGINT);
    expect(w.wait(second, SECOND)).toBe(128 + SIGINT);
    expect(loading()).toBe(`${first}`);
    expect(w.wait(first, 10 * SECOND)).toBe(0);
    expect(w.settled()).toBe(true);
    expect(loading()).toBe('');
  });
});

describe('a load that needs a symbol of a livepatch whose init still runs', () => {
  const PATCHES = ['klpbundle_y_vmlinux', 'klpbundle_y_core'] as const;

  it('lets the init begin its transition, and goes on when that is over', async () => {
    const [first, second] = await meet(...PATCHES);
    expect(waits(first, second)).toBe(true);
    expect([w.wait(first, 10 * SECOND), w.wait(second, 10 * SECOND)]).toEqual([0, 0]);
    expect(w.has('gave up waiting')).toBe(false);
    expect(w.settled()).toBe(true);
    expect(loading()).toBe('');
    expect(w.machine.inspect.livepatch.patches().map(({ name }) => name)).toEqual(PATCHES);
  });

  it('is ended by a signal, with nothing left of it', async () => {
    const [first, second] = await meet(...PATCHES);
    expect(waits(first, second)).toBe(true);
    w.machine.inspect.exit.sendSignal(second, SIGINT);
    expect(w.wait(second, SECOND)).toBe(128 + SIGINT);
    expect(w.has('klpbundle_y_core: gave up waiting for init of module klpbundle_y_vmlinux.')).toBe(true);
    expect(w.wait(first, 10 * SECOND)).toBe(0);
    expect(w.settled()).toBe(true);
    expect(w.modules()).toEqual(['klpbundle_core', PATCHES[0]]);
    expect(loading()).toBe('');
  });
});
