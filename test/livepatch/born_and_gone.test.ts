// Tasks that are made, and tasks that end, while a transition is under way.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { checkInvariants, heapOf } from '../properties/audit.ts';
import { Session, TARGET_PARAMETERS } from '../properties/session.ts';

const C = BUILT_IN.constants;

const SECOND = 1e9;
let session: Session;

const named = (comm: string): TaskStruct[] =>
  [...session.machine.inspect.core.tasks.processes()].filter((task) => task.comm.startsWith(comm));
const pending = (): string[] =>
  [...session.machine.inspect.core.tasks.processes(), ...session.machine.inspect.core.tasks.idle]
    .filter((task) => task.testTif('TIF_PATCH_PENDING'))
    .map((task) => task.comm);

afterEach(() => {
  expect(session.settled()).toBe(true);
  expect(session.oopses).toEqual([]);
  expect(checkInvariants(session.machine)).toEqual([]);
  session.machine.close();
});

describe('while a thread holds up the transition', () => {
  beforeEach(async () => {
    session = await Session.boot();
    expect(session.insmod('target', 'hold_ms=1 period_ms=50 block=1')).toBe(0);
    session.machine.runFor(SECOND / 2);
    expect(session.insmod('patch_target')).toBe(0);
    session.machine.runFor(2 * SECOND);
    expect(pending()).toEqual(['klpdemo_worker']);
  });
  afterEach(() => expect(session.cat('/proc/klpdemo')).toMatch(/^mixed 0$/m));
  const release = (): void => expect(session.echo('0', `${TARGET_PARAMETERS}/block`)).toBe(0);

  it('children are born with the state of their parents, and read the new version', () => {
    session.machine.spawn('forker', ['300', '3']);
    session.machine.runFor(SECOND / 10);
    expect(named('forker').map((task) => task.patchState)).toEqual([C.KLP_PATCHED, C.KLP_PATCHED]);
    expect(pending()).toEqual(['klpdemo_worker']);
    expect(session.cat('/proc/klpdemo')).toMatch(/^klpdemo version 2/);
    release();
  });

  it('kernel threads are born with the state of kthreadd, and hold up nothing', () => {
    const born: [string, number][] = [];
    const { events, tasks } = session.machine.inspect.core;
    events.subscribe(
      (event) => {
        const task = event.type === 'task' && event.what === 'new' ? tasks.byPid(event.pid) : undefined;
        if (task && (task.flags & C.PF_KTHREAD) !== 0) born.push([task.comm, task.patchState]);
      },
      ['task'],
    );
    expect(session.insmod('locks', 'rounds=2')).toBe(0);
    expect(born.length).toBeGreaterThan(2);
    expect(born).toEqual(born.map(([comm]) => [comm, C.KLP_PATCHED]));
    expect(pending()).toEqual(['klpdemo_worker']);
    release();
    expect(session.settled()).toBe(true);
  });

  it('its end is the end of the transition: unloading the target stops the thread', () => {
    expect(session.rmmod('target')).toBe(0);
    expect(named('klpdemo_worker')).toEqual([]);
    expect(session.settled()).toBe(true);
    expect(session.insmod('target')).toBe(0);
  });
});

describe('a fork that fails for want of memory', () => {
  it('leaves no task, nor anything of one, wherever it fails', async () => {
    session = await Session.boot({ cpus: 1 });
    const { machine } = session;
    const first = machine.spawn('forker', ['1', '1']);
    expect(session.ended(first)).toBe(0);
    machine.runFor(SECOND / 50);
    const before = heapOf(machine);
    let failed = 0;
    for (let nth = 1; ; nth++) {
      const parent = machine.spawn('forker', ['1', '1']);
      const fault = machine.inspect.core.faults.arm({
        point: 'kmalloc',
        nth,
        by: (task) => task === parent,
      });
      session.ended(parent);
      machine.runFor(SECOND / 50);
      expect(named('forker')).toEqual([]);
      expect(heapOf(machine)).toEqual(before);
      if (fault?.injected.length === 0) break;
      failed++;
    }
    expect(failed).toBe(2);
  });
});

describe('without reliable stack traces', () => {
  it('a task that is killed is waited for no longer', async () => {
    session = await Session.boot({ unwinder: 'none' });
    const { machine } = session;
    const sleeper = machine.spawn('sleep', ['1000000']);
    machine.runFor(SECOND / 10);
    expect(session.insmod('patch_vmlinux')).toBe(0);
    machine.runFor(2 * SECOND);
    expect(pending()).toContain('sleep');
    const kill = machine.spawn('kill', [String(sleeper.pid), '9']);
    expect(session.wait(kill)).toBe(0);
    session.ended(sleeper);
    expect(pending()).not.toContain('sleep');
    expect(session.wait(session.startWrite('klpdemo_patch_vmlinux', 'force', '1'))).toBe(0);
  });
});

describe.each(['orc', 'frame pointer'] as const)('with the unwinder %s', (unwinder) => {
  it('tells by which way a task has switched: an idle one in its loop, another at the exit to user mode', async () => {
    session = await Session.boot({ unwinder });
    const ways: [string, string][] = [];
    session.machine.events.subscribe(
      (event) => event.type === 'patch_state' && ways.push([event.comm.replace(/\d+$/, ''), event.way]),
      ['patch_state'],
    );
    session.machine.spawn('spin', []);
    expect(session.insmod('patch_vmlinux')).toBe(0);
    expect(session.settled()).toBe(true);
    expect(ways).toContainEqual(['swapper/', 'idle loop']);
    expect(ways.filter(([comm, way]) => way === 'idle loop' && !comm.startsWith('swapper'))).toEqual([]);
    expect(ways.filter(([comm, way]) => way === 'kernel exit' && comm.startsWith('swapper'))).toEqual([]);
  });
});
