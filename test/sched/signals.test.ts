// Which signals end a sleep that only a fatal one may end (TASK_KILLABLE).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MS, World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.boot();
});
afterEach(() => world.close());

/** A task asleep in pause(), made killable there. */
function killable() {
  const { machine } = world;
  const { TASK_KILLABLE, TASK_INTERRUPTIBLE } = machine.inspect.core.kernel.constants;
  const task = machine.spawn('pause');
  expect(machine.runUntil(() => task.state === TASK_INTERRUPTIBLE && !task.onCpu, 100 * MS)).toBe(true);
  task.state = TASK_KILLABLE;
  return task;
}

describe('a killable sleep', () => {
  it.each([
    ['SIGKILL', 9],
    ['SIGTERM', 15],
    ['SIGINT', 2],
    ['a real-time signal', 34],
  ])('is ended by %s, and the task with it', (_, sig) => {
    const task = killable();
    world.machine.inspect.exit.sendSignal(task, sig);
    world.machine.runFor(20 * MS);
    expect(world.machine.exitStatus(task)).toBe(128 + sig);
  });

  it.each([
    ['SIGQUIT', 3],
    ['SIGABRT', 6],
    ['SIGSEGV', 11],
  ])('is not ended by %s, which leaves a core', (_, sig) => {
    const task = killable();
    const { TASK_KILLABLE } = world.machine.inspect.core.kernel.constants;
    world.machine.inspect.exit.sendSignal(task, sig);
    world.machine.runFor(20 * MS);
    expect([task.state, world.machine.exitStatus(task)]).toEqual([TASK_KILLABLE, undefined]);
    world.machine.inspect.exit.sendSignal(task, 15);
    world.machine.runFor(20 * MS);
    expect(world.machine.exitStatus(task)).toBe(128 + sig);
  });
});
