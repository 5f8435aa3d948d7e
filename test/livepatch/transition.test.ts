import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from '../ftrace/world.ts';

const C = BUILT_IN.constants;

const DIR = '/kernel/livepatch/klpdemo_patch_vmlinux';
const PATCH = 'klpdemo_patch_vmlinux';

let world: World;

beforeEach(async () => {
  world = await World.boot();
});

/** Puts a task in a function of the image, some bytes behind its start. */
function standIn(pid: number, ...names: string[]): void {
  world.stacks.set(
    world.task(pid),
    names.map((n) => world.sym(n) + 5n),
  );
}

const of = <T extends KernelEvent['type']>(type: T) =>
  world.events.filter((e): e is Extract<KernelEvent, { type: T }> => e.type === type);

describe('a task that stands in a function that is replaced', () => {
  it('keeps the transition open, is named, and does not switch', () => {
    standIn(2, 'vfs_read', 'cmdline_proc_show', 'do_idle');
    expect(world.load(PATCH)).toMatchObject({ ok: true });
    expect(world.klpLog.slice(-2)).toEqual([
      `'${PATCH}': starting patching transition`,
      'klp_try_switch_task: task2:2 is sleeping on function cmdline_proc_show',
    ]);
    expect(world.cat(`${DIR}/transition`)).toBe('1\n');
    expect([1, 2, 3].map((pid) => world.task(pid).patchState)).toEqual([1, 0, 1]);
    expect([1, 2, 3].map((pid) => world.task(pid).testTif('TIF_PATCH_PENDING'))).toEqual([
      false,
      true,
      false,
    ]);
    expect(of('blocked')).toMatchObject([{ pid: 2, func: 'cmdline_proc_show' }]);
    expect(of('blocked')[0].stack[0]).toMatch(/^vfs_read\+0x5/);
  });

  it('switches at the retry after it left, and the transition completes', () => {
    standIn(2, 'cmdline_proc_show');
    world.load(PATCH);
    world.stacks.clear();
    world.work(1);
    expect(world.klpLog.slice(-2)).toEqual([
      `'${PATCH}': completing patching transition`,
      `'${PATCH}': patching complete`,
    ]);
    expect(of('patch_state').map((e) => [e.pid, e.way])).toEqual([
      [1, 'stack check'],
      [3, 'stack check'],
      [0, 'stack check'],
      [0, 'stack check'],
      [2, 'stack check'],
    ]);
  });

  it('is looked for in the new function when the patch goes', () => {
    world.load(PATCH);
    const ops = world.livepatch.patching.findOps(world.sym('cmdline_proc_show')) as bigint;
    const [func] = world.livepatch.patching.funcStack(ops);
    world.stacks.set(world.task(3), [func.newFunc + 1n]);
    expect(world.echo('0', `${DIR}/enabled`)).toBe(2);
    expect(world.klpLog.at(-1)).toBe(
      'klp_try_switch_task: task3:3 is sleeping on function cmdline_proc_show',
    );
    expect(world.bytesAt(world.sym('cmdline_proc_show'))).toMatch(/^e8/);
    world.stacks.set(world.task(3), [func.newFunc + BigInt(func.newSize)]);
    world.work();
    expect(world.klpLog.at(-1)).toBe(`'${PATCH}': unpatching complete`);
  });

  it('is looked for in the version before when there are several', () => {
    world.load('klpdemo_target');
    world.load('klpdemo_patch_target');
    const round = world.sym('klpdemo_target:klpdemo_round');
    const ops = world.livepatch.patching.findOps(round) as bigint;
    const [older] = world.livepatch.patching.funcStack(ops);
    // The original function is nobody's hindrance any more; the older version is.
    world.stacks.set(world.task(1), [round + 8n]);
    world.stacks.set(world.task(2), [older.newFunc + 8n]);
    world.load('klpdemo_patch_both');
    expect(of('blocked').map((e) => [e.pid, e.why])).toEqual([[2, 'is sleeping on function klpdemo_round']]);
  });
});

describe('klp_try_switch_task', () => {
  it("does not look at the stack of a task that runs elsewhere, but does at the caller's own", () => {
    world.running.add(world.task(1)).add(world.task(2));
    world.current = world.task(1);
    world.load(PATCH);
    expect(world.klpLog.at(-1)).toBe('klp_try_switch_task: task2:2 is running');
    expect(world.task(1).patchState).toBe(C.KLP_PATCHED);
  });

  it('does not trust a stack that is unreliable', () => {
    world.stacks.set(world.task(3), -UAPI.EINVAL);
    world.load(PATCH);
    expect(world.klpLog.at(-1)).toBe('klp_try_switch_task: task3:3 has an unreliable stack');
  });

  it('wakes a CPU whose idle task runs', () => {
    world.running.add(world.core.tasks.idle[1]);
    world.load(PATCH);
    expect(world.klpLog.at(-1)).toBe('klp_try_switch_task: swapper/1:0 is running');
    expect(world.signalled).toEqual(['idle 1']);
  });

  it('checks no stack on a machine without reliable stack traces', async () => {
    world = await World.boot({ reliableStacktrace: false });
    world.load(PATCH);
    expect(world.klpLog.slice(0, 2)).toEqual([
      "This architecture doesn't have support for the livepatch consistency model.",
      'The livepatch transition may never complete.',
    ]);
    expect(of('patch_state')).toEqual([]);
    expect(world.cat(`${DIR}/transition`)).toBe('1\n');
  });
});

describe('a stalled transition', () => {
  beforeEach(() => {
    standIn(2, 'cmdline_proc_show');
    world.task(3).flags = C.PF_KTHREAD;
    standIn(3, 'cmdline_proc_show');
    world.load(PATCH);
  });

  it('is tried again once a second, on the second', () => {
    expect(world.queued).toHaveLength(1);
    world.work(1);
    const first = world.now;
    world.work(3);
    expect(world.now - first).toBe(3e9);
    expect(first).toBeLessThanOrEqual(1.5e9);
  });

  it('signals user tasks and wakes kernel threads after fifteen retries, and says so once', () => {
    world.work(15);
    expect(world.signalled).toEqual(['signal task2:2', 'wake task3:3']);
    world.work(15);
    expect(world.signalled).toHaveLength(4);
    expect(world.klpLog.filter((l) => l === 'signaling remaining tasks')).toHaveLength(1);
  });

  it('can be turned round, and then completes the other way', () => {
    expect(world.echo('1', `${DIR}/enabled`)).toBe(-UAPI.EINVAL);
    expect(world.echo('0', `${DIR}/enabled`)).toBe(2);
    expect(world.cat(`${DIR}/enabled`)).toBe('0\n');
    expect(world.klpLog.slice(-2)).toEqual([
      `'${PATCH}': reversing transition from patching to unpatching`,
      `'${PATCH}': starting unpatching transition`,
    ]);
    expect(world.task(2).testTif('TIF_PATCH_PENDING')).toBe(false);
    expect(world.task(1).testTif('TIF_PATCH_PENDING')).toBe(true);
    world.work();
    expect(world.klpLog.slice(-2)).toEqual([
      `'${PATCH}': completing unpatching transition`,
      `'${PATCH}': unpatching complete`,
    ]);
    expect(world.bytesAt(world.sym('cmdline_proc_show'))).toBe('0f 1f 44 00 00');
    expect(world.node(DIR)).toBeUndefined();
    expect(world.unload(PATCH)).toBe(0);
  });

  it('can be turned round twice', () => {
    world.echo('0', `${DIR}/enabled`);
    world.stacks.set(world.task(1), -UAPI.EINVAL);
    expect(world.echo('1', `${DIR}/enabled`)).toBe(2);
    world.stacks.clear();
    world.work();
    expect(world.klpLog.at(-1)).toBe(`'${PATCH}': patching complete`);
    expect(world.cat(`${DIR}/enabled`)).toBe('1\n');
  });

  it('can be forced: every task switches at once, and the next retry completes', () => {
    expect(world.echo('1', `${DIR}/force`)).toBe(2);
    expect(world.klpLog.at(-1)).toBe('forcing remaining tasks to the patched state');
    expect([2, 3].map((pid) => world.task(pid).patchState)).toEqual([1, 1]);
    expect(world.cat(`${DIR}/transition`)).toBe('1\n');
    world.work();
    expect(world.klpLog.at(-1)).toBe(`'${PATCH}': patching complete`);
    world.stacks.clear();
    world.echo('0', `${DIR}/enabled`);
    world.work();
    expect(world.loader.modules.find(PATCH)?.refcount).toBe(0);
  });

  it('keeps the module for ever when it was forced while unpatching', () => {
    world.echo('0', `${DIR}/enabled`);
    world.stacks.set(world.task(1), -UAPI.EINVAL);
    world.echo('1', `${DIR}/force`);
    world.work();
    expect(world.klpLog.at(-1)).toBe(`'${PATCH}': unpatching complete`);
    expect(world.node(DIR)).toBeUndefined();
    expect(world.loader.modules.find(PATCH)?.refcount).toBe(1);
    expect(world.unload(PATCH)).not.toBe(0);
  });

  it('gives a child the state of its parent', () => {
    world.livepatch.copyProcess(world.task(2), world.task(1));
    expect(world.task(1).patchState).toBe(C.KLP_UNPATCHED);
    expect(world.task(1).testTif('TIF_PATCH_PENDING')).toBe(true);
    world.stacks.clear();
    world.work();
    expect(world.klpLog.at(-1)).toBe(`'${PATCH}': patching complete`);
  });

  it('takes a task that switched by itself for switched, and says by which way', () => {
    const task = world.task(2);
    task.clearTif('TIF_PATCH_PENDING');
    task.patchState = C.KLP_PATCHED;
    world.livepatch.transition.updatedPatchState(task, world.sym('exit_to_user_mode_loop') + 5n);
    world.livepatch.transition.updatedPatchState(task, world.sym('do_idle') + 5n);
    expect(
      of('patch_state')
        .slice(-2)
        .map((e) => e.way),
    ).toEqual(['kernel exit', 'idle loop']);
    world.task(3).flags = 0;
    world.stacks.delete(world.task(3));
    world.work();
    expect(world.klpLog.at(-1)).toBe(`'${PATCH}': patching complete`);
  });
});

describe('whatever tasks do', () => {
  it('no task switches while it stands in an affected function, and outside a transition all is clear', async () => {
    const step = fc.record({
      stands: fc.array(fc.constantFrom('old', 'new', 'elsewhere', 'unreliable', 'running'), {
        minLength: 4,
        maxLength: 4,
      }),
      action: fc.constantFrom('retry', 'retry', 'disable', 'enable', 'fork'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        world = await World.boot({ tasks: 4, debug: false });
        world.current = world.core.tasks.idle[0];
        const old = world.sym('cmdline_proc_show');
        let fresh = 0n;
        world.beforeEnable = (patch) => {
          fresh = patch.staticObjects()[0].staticFuncs()[0].newFunc;
        };
        const place = (stands: readonly string[]): void => {
          world.stacks.clear();
          world.running.clear();
          stands.forEach((where, i) => {
            const task = world.task(i + 1);
            if (where === 'running') world.running.add(task);
            else if (where === 'unreliable') world.stacks.set(task, -UAPI.EINVAL);
            else if (where !== 'elsewhere') world.stacks.set(task, [(where === 'old' ? old : fresh) + 4n]);
          });
        };
        place(steps[0].stands.map((w) => (w === 'new' ? 'elsewhere' : w)));
        world.load(PATCH);
        for (const { stands, action } of steps) {
          const before = [1, 2, 3, 4].map((pid) => world.task(pid).patchState);
          place(stands);
          if (action === 'disable' && world.node(DIR)) world.echo('0', `${DIR}/enabled`);
          if (action === 'enable' && world.node(DIR)) world.echo('1', `${DIR}/enabled`);
          if (action === 'fork') world.livepatch.copyProcess(world.task(1), world.task(4));
          if (action === 'retry') world.work(1);
          const { targetState } = world.livepatch;
          for (const pid of [1, 2, 3, 4]) {
            const task = world.task(pid);
            if (targetState === C.KLP_UNDEFINED) {
              expect(task.patchState).toBe(C.KLP_UNDEFINED);
              expect(task.testTif('TIF_PATCH_PENDING')).toBe(false);
              continue;
            }
            expect(task.patchState === targetState).toBe(!task.testTif('TIF_PATCH_PENDING'));
            if (action !== 'retry' || before[pid - 1] === task.patchState) continue;
            const stood = stands[pid - 1];
            expect(stood).not.toBe(targetState === C.KLP_PATCHED ? 'old' : 'new');
            expect(['running', 'unreliable']).not.toContain(stood);
          }
        }
        place(['elsewhere', 'elsewhere', 'elsewhere', 'elsewhere']);
        world.work(5);
        expect(world.livepatch.transitionPatch).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });
});
