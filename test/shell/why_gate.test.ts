// why, where modules and transitions wait for each other.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';
import { bundleOf, ko, SECOND, World } from '../bundle/world.ts';

let w: World;
let shell: Shell;
const sh = async (line: string): Promise<string> => (await shell.execute(line)).stdout;

beforeEach(async () => {
  w = new World(await Machine.boot({ model: 'bundle' }));
  shell = new Shell(w.machine);
});
afterEach(() => w.machine.close());

function waiting(task: TaskStruct): void {
  const waits = () => w.machine.inspect.bundles?.gate.why(task) !== undefined;
  expect(w.machine.runUntil(waits, SECOND)).toBe(true);
  expect(w.machine.runUntil(() => w.machine.stack(task)[0]?.includes('klp_gate_lock'), SECOND)).toBe(true);
}

describe('why, in the bundle model', () => {
  it('names the gate, the transition that holds it, and where the load stands', async () => {
    w.insmod('asker');
    w.enable(bundleOf('slow', ['p1_asker']));
    const task = w.startInsmod('mid');
    waiting(task);
    w.machine.runFor(0.1 * SECOND);
    const text = await sh('why');
    expect(text).toMatch(/^slow: patching for \d\.\d s/);
    expect(text).toMatch(/^klpbundle_asker:\d+ .* is sleeping on function klpbundle_asker_step/m);
    const pid = w.machine.inspect.users.pidOf(task);
    expect(text).toMatch(
      new RegExp(
        `\\n\\ninsmod:${pid} \\(user task, S \\(sleeping\\)\\) is to load or unload a module; on the gate for 0\\.\\d s\\n` +
          ' {4}\\[<0>\\] klp_gate_lock\\+.*\\n(    .*\\n)* {4}\\[<0>\\] __do_sys_finit_module\\+.*\\n(    .*\\n)*' +
          "  waits for: the transition of 'slow'\\n" +
          '  released by: the end of that transition\\n' +
          ' {11}or: a signal, .*: its system call starts again\\n$',
      ),
    );
    const { patch, gate } = JSON.parse(await sh('why --json'));
    expect(patch).toBe('slow');
    expect(gate).toHaveLength(1);
    expect(gate[0]).toMatchObject({
      pid,
      comm: 'insmod',
      kind: 'user task',
      wants: 'load or unload a module',
      waitsFor: "the transition of 'slow'",
      loads: [],
    });
    w.wait(task);
    w.settled();
    expect(await sh('why')).toBe('no transition is under way\n');
    expect(await sh('why --json')).toBe('null\n');
  });

  it('names the loads that a transition waits for, with their stacks, and who waits behind it', async () => {
    w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
    w.startInsmod('nested'); // 200 ms in its init
    w.machine.runUntil(() => w.modules().includes('klpbundle_nested'), SECOND);
    w.machine.runFor(0.01 * SECOND);
    waiting(w.startEnable(bundleOf('v1', ['p1_vmlinux'])));
    const behind = w.startInsmod('mid');
    waiting(behind);
    const text = await sh('why');
    expect(text).toMatch(
      /^no transition is under way\n\necho:\d+ \(user task, .*\) is to begin a transition; /,
    );
    expect(text).toMatch(/^ {2}waits for: loads under way: insmod/m);
    expect(text).toMatch(
      /^ {2}insmod:\d+ loads or unloads a module:\n( {4}.*\n)* {4}.*klpbundle_nested_init\+/m,
    );
    expect(text).toMatch(/^ {2}released by: the end of those loads$/m);
    expect(text).toMatch(/^ {2}waits for: a transition that waits for loads under way$/m);
    const { patch, gate } = JSON.parse(await sh('why --json'));
    expect(patch).toBeUndefined();
    expect(gate.map((each: { wants: string }) => each.wants)).toEqual([
      'begin a transition',
      'load or unload a module',
    ]);
    expect(gate[0].loads[0].stack.join()).toContain('klpbundle_nested_init');
    w.wait(behind);
    w.settled();
  });
});
