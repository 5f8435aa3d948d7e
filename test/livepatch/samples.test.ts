// The kernel's own modules, built unmodified: they load, and do what their comments say.

import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { undefinedSymbols } from '../../src/elf/module_object.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';
import { type KernelModules, kernelModules } from './kernel_modules.ts';

const SECOND = 1e9;
const PATCHES = '/sys/kernel/livepatch';
const SIZEOF_INT = 4;

const built = kernelModules();
const modules: KernelModules = typeof built === 'string' ? new Map() : built;
const without = typeof built === 'string' ? ` (${built})` : '';
if (typeof built === 'string') console.warn(`samples/livepatch are not tried: ${built}`);

let machine: Machine;
const leaks: Extract<KernelEvent, { type: 'leak' }>[] = [];

async function boot(): Promise<void> {
  machine = await Machine.boot();
  leaks.length = 0;
  machine.events.subscribe((e) => e.type === 'leak' && leaks.push(e), ['leak']);
  for (const [name, bytes] of modules) machine.addFile(`/${name}.ko`, bytes);
}

function finish(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 60 * SECOND);
  return machine.exitStatus(task);
}
const load = (name: string, params = '') => finish(machine.insmod(`/${name}.ko`, params));
const unload = (name: string) => finish(machine.rmmod(name));
const echo = (text: string, path: string) => finish(machine.spawn('echo', [`${text}\n`, path]));

function enable(name: string): void {
  expect(load(name)).toBe(0);
  expect(machine.runUntil(() => said(`'${name}': patching complete`), 30 * SECOND)).toBe(true);
}
function disable(name: string): void {
  expect(echo('0', `${PATCHES}/${name}/enabled`)).toBe(0);
  expect(machine.runUntil(() => said(`'${name}': unpatching complete`), 30 * SECOND)).toBe(true);
  machine.runFor(SECOND);
  expect(unload(name)).toBe(0);
}

const log = () => machine.dmesg().map((line) => line.replace(/^\[.*?\] /, ''));
const said = (text: string) => log().some((line) => line.includes(text));
const count = (pattern: RegExp) => log().filter((line) => pattern.test(line)).length;

describe.skipIf(modules.size === 0)(`the kernel's livepatch modules${without}`, () => {
  afterEach(() => machine.close());

  it('import nothing that the machine lacks', async () => {
    await boot();
    const names = [...modules.keys()];
    expect(names.filter((n) => n.startsWith('test_klp_'))).toHaveLength(10);
    expect(names.filter((n) => n.startsWith('livepatch_'))).toHaveLength(7);
    for (const [name, bytes] of modules) {
      const missing = undefinedSymbols(parseElf(bytes, name, X86_64.elf)).filter(
        (symbol) => !machine.inspect.core.symbols.findExport(symbol.name),
      );
      expect(
        missing.map((s) => s.name),
        name,
      ).toEqual([]);
    }
  });

  it('livepatch-sample: /proc/cmdline says that it was patched', async () => {
    await boot();
    const cat = () => {
      const task = machine.spawn('cat', ['/proc/cmdline']);
      finish(task);
      return machine.stdout(task);
    };
    const before = cat();
    enable('livepatch_sample');
    expect(cat()).toBe('this has been live patched\n');
    disable('livepatch_sample');
    expect(cat()).toBe(before);
  });
});

describe.skipIf(modules.size === 0)(`livepatch-shadow-mod${without}`, () => {
  beforeAll(boot);

  it('leaks an int for each dummy', () => {
    expect(load('livepatch_shadow_mod')).toBe(0);
    machine.runFor(10 * SECOND);
    expect(unload('livepatch_shadow_mod')).toBe(0);
    expect(leaks.map((e) => e.module)).toEqual(['livepatch_shadow_mod']);
    const lost = leaks[0].objects;
    expect(lost).toHaveLength(count(/dummy_alloc: dummy @/));
    expect(lost.length).toBeGreaterThan(5);
    for (const { size, caller } of lost) {
      expect(size).toBe(SIZEOF_INT);
      expect(caller).toMatch(/^dummy_alloc\+.* \[livepatch_shadow_mod\]$/);
    }
    machine.close();
  });

  it('loses no more once fix1 hangs the int on the dummy; fix2 counts its checks', async () => {
    await boot();
    expect(load('livepatch_shadow_mod')).toBe(0);
    machine.runFor(4 * SECOND);
    enable('livepatch_shadow_fix1');
    const leakedBefore = count(/ dummy_alloc: |^dummy_alloc: /);
    machine.runFor(4 * SECOND);
    // What fix1 allocated is a variable of the dummy now: found by its address.
    const ints = () => machine.inspect.livepatch.shadows.list().filter((s) => s.id === 1n);
    expect(ints().length).toBeGreaterThan(2);
    enable('livepatch_shadow_fix2');
    machine.runFor(20 * SECOND);
    expect(count(/livepatch_fix[12]_dummy_free: dummy @ \w+ leaked!/)).toBe(leakedBefore);
    expect(count(/livepatch_fix2_dummy_leak_dtor: dummy @ \w+, prevented leak @/)).toBeGreaterThan(3);
    expect(count(/livepatch_fix2_dummy_free: dummy @ \w+, check counter = [1-9]/)).toBeGreaterThan(3);
    expect(machine.inspect.livepatch.shadows.list().some((s) => s.id === 2n)).toBe(true);
    disable('livepatch_shadow_fix2');
    expect(machine.inspect.livepatch.shadows.list().some((s) => s.id === 2n)).toBe(false);
    disable('livepatch_shadow_fix1');
    expect(ints()).toEqual([]);
    expect(unload('livepatch_shadow_mod')).toBe(0);
    // Lost for good: what was allocated with no fix in place. The dummies of fix1 were the module's to free.
    expect(leaks.map((e) => e.module)).toEqual(['livepatch_shadow_mod']);
    const lost = leaks[0].objects;
    expect(lost.map((o) => `${o.size} ${o.caller.split('+')[0]}`)).toEqual(lost.map(() => '4 dummy_alloc'));
    expect(lost.length).toBeGreaterThanOrEqual(leakedBefore);
    expect(machine.inspect.livepatch.shadows.list()).toEqual([]);
    machine.close();
  });
});

describe.skipIf(modules.size === 0)(`livepatch-callbacks-demo${without}`, () => {
  afterEach(() => machine.close());
  const DEMO = 'livepatch_callbacks_demo';
  const MOD = 'livepatch_callbacks_mod';
  const BUSY = 'livepatch_callbacks_busymod';
  const LIVE = '[MODULE_STATE_LIVE] Normal state';
  const callbacks = () =>
    log().flatMap(
      (line) => /livepatch_callbacks_demo: ((?:pre|post)_(?:un)?patch_callback: .*)/.exec(line)?.[1] ?? [],
    );

  it('calls back for the kernel and for a module that is there', async () => {
    await boot();
    expect(load(MOD)).toBe(0);
    enable(DEMO);
    disable(DEMO);
    const each = (name: string) => [`${name}: vmlinux`, `${name}: ${MOD} -> ${LIVE}`];
    expect(callbacks()).toEqual(
      ['pre_patch_callback', 'post_patch_callback', 'pre_unpatch_callback', 'post_unpatch_callback'].flatMap(
        each,
      ),
    );
    expect(unload(MOD)).toBe(0);
  });

  it('refuses a module whose pre-patch callback says no', async () => {
    await boot();
    enable(DEMO);
    expect(echo('-19', `/sys/module/${DEMO}/parameters/pre_patch_ret`)).toBe(0);
    expect(load(MOD)).not.toBe(0);
    expect(said(`pre-patch callback failed for object '${MOD}'`)).toBe(true);
    expect(machine.inspect.modules.find(MOD)).toBeUndefined();
    disable(DEMO);
  });

  it('waits for a worker that sleeps in the function it replaces', async () => {
    await boot();
    expect(load(BUSY, 'sleep_secs=8')).toBe(0);
    machine.runFor(SECOND);
    expect(said('busymod_work_func, sleeping 8 seconds')).toBe(true);
    expect(load(DEMO)).toBe(0);
    machine.runFor(5 * SECOND);
    expect(said(`'${DEMO}': patching complete`)).toBe(false);
    expect(machine.runUntil(() => said(`'${DEMO}': patching complete`), 10 * SECOND)).toBe(true);
    const lines = log();
    const at = (text: string) => lines.findIndex((line) => line.includes(text));
    expect(at('busymod_work_func exit')).toBeLessThan(at(`'${DEMO}': patching complete`));
    disable(DEMO);
    expect(unload(BUSY)).toBe(0);
  });

  it('patches the busy module as it is loaded later', async () => {
    await boot();
    enable(DEMO);
    expect(load(BUSY)).toBe(0);
    machine.runFor(SECOND);
    expect(said(`applying patch '${DEMO}' to loading module '${BUSY}'`)).toBe(true);
    expect(said(`${DEMO}: patched_work_func`)).toBe(true);
    expect(said('busymod_work_func, sleeping')).toBe(false);
    disable(DEMO);
    expect(unload(BUSY)).toBe(0);
  });
});
