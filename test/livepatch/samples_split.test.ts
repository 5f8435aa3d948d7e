// The kernel's own livepatch samples and selftests, split: those for several objects do the same in the bundle model.

import { afterEach, describe, expect, it } from 'vitest';
import { splitUber } from '../../src/bundle/split/split.ts';
import { bundleOfSplit, PORT } from '../bundle/split_world.ts';
import { World } from '../bundle/world.ts';
import { kernelModules } from './kernel_modules.ts';

const built = kernelModules();
const modules = typeof built === 'string' ? new Map<string, Uint8Array>() : built;
const without = typeof built === 'string' ? ` (${built})` : '';
if (typeof built === 'string') console.warn(`samples/livepatch are not split: ${built}`);

const bytesOf = (name: string): Uint8Array => modules.get(name) as Uint8Array;
const splitOf = (name: string) => splitUber(bytesOf(name), `${name}.ko`, 'fix', PORT);

/** Patches for several objects, and the modules that they are for, in the order in which these come. */
const SEVERAL: readonly (readonly [string, readonly string[]])[] = [
  ['livepatch_callbacks_demo', ['livepatch_callbacks_mod', 'livepatch_callbacks_busymod']],
  ['test_klp_callbacks_demo', ['test_klp_callbacks_mod']],
  ['test_klp_callbacks_demo', ['test_klp_callbacks_busy', 'test_klp_callbacks_mod']],
];

const worlds: World[] = [];
afterEach(() => {
  for (const { machine } of worlds.splice(0)) machine.close();
});

async function run(
  patch: string,
  targets: readonly string[],
  model: 'classic' | 'bundle',
): Promise<string[]> {
  const w = await World.boot({ model });
  worlds.push(w);
  const insmod = (name: string): void => {
    w.machine.addFile(`/lib/${name}.ko`, bytesOf(name));
    expect(w.wait(w.machine.insmod(`/lib/${name}.ko`, ''))).toBe(0);
  };
  insmod(targets[0]);
  if (model === 'classic') insmod(patch);
  else expect(w.enable(bundleOfSplit(splitOf(patch)))).toBe(0);
  expect(w.settled()).toBe(true);
  for (const target of targets.slice(1)) insmod(target);
  w.machine.runFor(2e9);
  expect(w.wait(w.machine.rmmod(targets[0]))).toBe(0);
  expect(w.write(model === 'classic' ? patch : 'fix', 'enabled', '0')).toBe(0);
  expect(w.settled()).toBe(true);
  return w.machine
    .dmesg()
    .flatMap((line) => /\w+_callback: .*|\w+_callbacks_\w+_init.*|busymod_work.*/.exec(line) ?? []);
}

describe.skipIf(modules.size === 0)(`the kernel's livepatch modules, split${without}`, () => {
  it('are for one object, or for several', () => {
    const patches = [
      'livepatch_sample',
      'livepatch_shadow_fix1',
      'livepatch_shadow_fix2',
      'livepatch_callbacks_demo',
    ];
    const tests = [
      'test_klp_livepatch',
      'test_klp_atomic_replace',
      'test_klp_callbacks_demo',
      'test_klp_callbacks_demo2',
      'test_klp_state',
      'test_klp_state2',
      'test_klp_state3',
    ];
    const sizes = [...patches, ...tests].map((name) => splitOf(name).members.length);
    expect(sizes).toEqual([1, 1, 1, 3, 1, 1, 3, 1, 1, 1, 1]);
  });

  it.each(['classic', 'bundle'] as const)(
    'test_klp_callbacks_busy after its patch waits in its init for ever, as in the kernel: %s',
    async (model) => {
      // Its work completes what init waits for, and the replacement of that does not.
      const w = await World.boot({ model });
      worlds.push(w);
      w.machine.addFile('/lib/demo.ko', bytesOf('test_klp_callbacks_demo'));
      if (model === 'classic') expect(w.wait(w.machine.insmod('/lib/demo.ko', ''))).toBe(0);
      else expect(w.enable(bundleOfSplit(splitOf('test_klp_callbacks_demo')))).toBe(0);
      w.settled();
      w.machine.addFile('/lib/busy.ko', bytesOf('test_klp_callbacks_busy'));
      const load = w.machine.insmod('/lib/busy.ko', '');
      expect(w.wait(load, 10e9)).toBeUndefined();
      expect(w.has('patched_work_func')).toBe(true);
      expect(w.machine.stack(load)[0]).toContain('test_klp_callbacks_busy_init');
    },
  );

  it.each(SEVERAL)('%s calls its callbacks as it does whole', async (patch, targets) => {
    const classic = await run(patch, targets, 'classic');
    expect(classic.length).toBeGreaterThan(7);
    expect(await run(patch, targets, 'bundle')).toEqual(classic);
  });
});
