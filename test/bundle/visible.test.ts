// What a bundle and the gate show of themselves: sysfs, the log, /proc/modules, the trace. And what is settled for both
// models.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { bundleOf, SECOND, World } from './world.ts';

const LAYOUT = BUILT_IN.structs;

const V1 = ['p1_vmlinux', 'p1_core', 'p1_mid'];
const V1_DIR = '/sys/kernel/livepatch/v1';

let w: World;
beforeEach(async () => {
  w = await World.boot();
});
afterEach(() => w.machine.close());

/** Text of the livepatch core's lines in the log, from here on. */
function log(): () => string[] {
  const { printk } = w.machine.inspect.core;
  const from = printk.nextSeq;
  return () =>
    printk.since(from).flatMap(({ text }) => (text.startsWith('livepatch: ') ? [text.slice(11)] : []));
}

describe('bundle.md, what must be visible', () => {
  it('in sysfs: the bundle, its objects, patched or with the size of the blob', () => {
    w.insmod('core');
    w.enable(bundleOf('v1', V1, { replace: true }));
    w.settled();
    const files = ['enabled', 'transition', 'force', 'replace', 'stack_order'];
    const objects = ['klpbundle_core', 'klpbundle_mid', 'vmlinux'];
    expect(w.machine.inspect.fs.list(V1_DIR)?.toSorted()).toEqual([...files, ...objects].toSorted());
    const text = (file: string): string => w.cat(`${V1_DIR}/${file}`).trim();
    expect(files.filter((file) => file !== 'force').map(text)).toEqual(['1', '0', '1', '1']);
    expect(objects.map((object) => text(`${object}/patched`))).toEqual(['1', '0', '1']);
    expect(w.machine.inspect.fs.list(`${V1_DIR}/klpbundle_core`)).not.toContain('blob');
    expect(Number(text('klpbundle_mid/blob'))).toBeGreaterThan(4096);
    expect(w.insmod('mid')).toBe(0);
    expect(text('klpbundle_mid/patched')).toBe('1');
    expect(w.machine.inspect.fs.list(`${V1_DIR}/klpbundle_mid`)).toContain('klpbundle_mid_step,1');
    expect(w.machine.inspect.fs.list(`${V1_DIR}/klpbundle_mid`)).not.toContain('blob');
  });

  it('in the log: lines in the style of the kernel', () => {
    let lines = log();
    w.enable(bundleOf('v1', V1));
    w.settled();
    expect(lines()).toEqual([
      "enabling patch 'v1'",
      "'v1': starting patching transition",
      "'v1': patching complete",
    ]);
    lines = log();
    w.insmod('core');
    w.rmmod('core');
    expect(lines()).toEqual([
      "applying bundle 'v1' to loading module 'klpbundle_core'",
      "reverting bundle 'v1' on unloading module 'klpbundle_core'",
    ]);
    lines = log();
    w.write('v1', 'enabled', '0');
    w.settled();
    expect(lines()).toEqual(["'v1': starting unpatching transition", "'v1': unpatching complete"]);
  });

  it('in /proc/modules: Paused, for as long as the kernel brings members of a module', () => {
    w.enable(bundleOf('v1', V1));
    w.settled();
    const seen: string[] = [];
    w.machine.events.subscribe(
      (e) => {
        if (e.type !== 'module' || e.state !== 'LIVE') return;
        const core = w.machine.inspect.modules.find('klpbundle_core');
        seen.push(`${e.name} live, klpbundle_core ${core?.paused ? 'Paused' : core?.state}`);
      },
      ['module'],
    );
    w.insmod('core');
    expect(seen).toEqual([
      'klpbundle_p1_core live, klpbundle_core Paused',
      'klpbundle_core live, klpbundle_core LIVE',
    ]);
    expect(w.cat('/proc/modules')).toMatch(/^klpbundle_core .* Live /m);
  });

  it('in the trace: every wait on the gate, with its length and how it ended', () => {
    w.insmod('asker');
    w.enable(bundleOf('slow', ['p1_asker']));
    const task = w.startInsmod('mid');
    const gate = w.machine.inspect.bundles?.gate;
    expect(w.machine.runUntil(() => gate?.why(task) !== undefined, SECOND)).toBe(true);
    const since = gate?.waits[0].since ?? 0;
    w.machine.runUntil(() => gate?.why(task) === undefined, 10 * SECOND);
    const waits = w.gate.filter((e) => e.pid === w.machine.inspect.users.pidOf(task));
    expect(waits).toHaveLength(1);
    const [{ comm, what, waitedNs, result, t }] = waits;
    expect({ comm, what, result }).toEqual({ comm: 'insmod', what: 'load', result: 1 });
    expect(waitedNs).toBe(t - since);
    expect(waitedNs).toBeGreaterThan(0.1 * SECOND);
    w.wait(task);
  });
});

describe('bundle.md, settled by the seed, in both models', () => {
  it('there is no immediate, and force is for each patch', async () => {
    expect(Object.keys(LAYOUT.klp_patch.fields)).not.toContain('immediate');
    expect(Object.keys(LAYOUT.klp_func.fields)).not.toContain('immediate');
    w.insmod('core');
    const classic = await World.boot({ model: 'classic' });
    for (const world of [w, classic]) {
      world.insmod('core');
      expect(world.insmod('p1_core')).toBe(0);
      expect(world.settled()).toBe(true);
      expect(world.machine.inspect.fs.list('/sys/kernel/livepatch/klpbundle_p1_core')).toContain('force');
      expect(world.machine.inspect.fs.list('/sys/kernel/livepatch')).toEqual(['klpbundle_p1_core']);
    }
    classic.machine.close();
  });
});

describe('bundle.md, words: the blob store', () => {
  it('the blob store is memory of the kernel, accounted, and nothing in it can be executed', () => {
    const { slab, mem } = w.machine.inspect.core;
    const used = slab.used();
    w.enable(bundleOf('v1', ['p1_core', 'p1_mid']));
    w.settled();
    const bundle = w.machine.inspect.bundles?.list()[0];
    const size = bundle?.members.reduce((sum, member) => sum + member.size, 0) ?? 0;
    expect(slab.used() - used).toBeGreaterThanOrEqual(size);
    for (const { blob } of bundle?.members ?? []) expect((mem.protectionOf(blob) ?? 4) & 4).toBe(0);
    expect(w.modules()).toEqual([]);
    expect(w.machine.inspect.moduleArena.used()).toBe(0);
  });
});
