// System states of bundles: those of their members, told by the callbacks of real modules
// (fixtures/modules/klpbundle_state.h).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { readBundle } from '../../src/bundle/format.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { rest } from './state.ts';
import { bundleOf, World } from './world.ts';

let w: World;
let read = 0;
beforeEach(async () => {
  w = await World.boot();
  read = 0;
});
afterEach(() => w.machine.close());

/** What callbacks said since the last time. */
function said(): string[] {
  const { printk } = w.machine.inspect.core;
  const lines = printk.since(read).map((record) => record.text);
  read = printk.nextSeq;
  return lines.flatMap((line) => /^klpbundle_(s\d_\w+: \w+: state .*)$/.exec(line)?.[1] ?? []);
}
function enable(name: string, members: readonly string[], options = {}): number | undefined {
  const ret = w.enable(bundleOf(name, members, options));
  w.settled();
  return ret;
}
function load(...names: string[]): void {
  for (const name of names) expect(w.insmod(name)).toBe(0);
}

describe('bundle.md 3: system states of bundles that are put on top of each other', () => {
  it('finds the states of a member in its file', () => {
    const { members } = readBundle(bundleOf('v1', ['p1_core', 's2_mid']), X86_64.elf);
    expect(members.map(({ states }) => states)).toEqual([
      [],
      [
        { id: 1n, version: 2 },
        { id: 2n, version: 2 },
      ],
    ]);
  });

  it('gives callbacks the state of the bundle before, on top of it and in its place', () => {
    load('core', 'mid');
    expect(enable('v1', ['s1_core', 's1_mid'])).toBe(0);
    expect(said()).toEqual([
      's1_core: pre_patch: state 1: 1, before 0',
      's1_mid: pre_patch: state 1: 1, before 0',
    ]);
    expect(enable('v2', ['s2_core', 's2_mid'], { replace: true })).toBe(0);
    expect(said()).toEqual([
      's2_core: pre_patch: state 1: 2, before 1',
      's2_mid: pre_patch: state 1: 2, before 1',
    ]);
    expect([w.says('core'), w.says('mid')]).toEqual([200, 200]);
    w.write('v2', 'enabled', '0');
    expect(w.freed('v2')).toBe(true);
    expect(said()).toEqual([
      's2_core: post_unpatch: state 1: 2, before 0',
      's2_mid: post_unpatch: state 1: 2, before 0',
    ]);
  });

  it('finds it in a live member, whatever other members are away', () => {
    load('core', 'mid');
    expect(enable('v1', ['s1_core', 's1_mid'])).toBe(0);
    expect(w.rmmod('mid')).toBe(0);
    expect(w.rmmod('core')).toBe(0);
    said();
    expect(enable('v2', ['s2_core', 's2_mid'])).toBe(0);
    expect(said()).toEqual([]); // nobody is live
    w.write('v2', 'enabled', '0');
    expect(w.freed('v2')).toBe(true);
    load('core');
    said();
    expect(enable('v3', ['s2_core'], { version: '3' })).toBe(0);
    expect(said()).toEqual(['s2_core: pre_patch: state 1: 2, before 1']);
  });

  it.each([
    ['loaded', ['core', 'mid']],
    ['away', []],
  ])('refuses to take a state back, its targets %s', (_, targets) => {
    load(...targets);
    expect(enable('v2', ['s2_core', 's2_mid'])).toBe(0);
    const before = rest(w);
    expect(enable('v1', ['s1_core'])).toBe(UAPI.EINVAL);
    expect(w.has("bundle 'v1' takes state 1 of 'v2' (version 2) back to version 1")).toBe(true);
    expect(enable('v1', ['s1_core', 's1_mid'], { replace: true })).toBe(UAPI.EINVAL);
    expect(rest(w)).toEqual(before);
  });

  it('refuses a replacing bundle that does not know a state in force; one that is not in force may go', () => {
    load('core', 'mid');
    expect(enable('v1', ['s1_core', 's1_mid'])).toBe(0);
    const before = rest(w);
    expect(enable('v2', ['s2_core'], { replace: true })).toBe(UAPI.EINVAL);
    expect(w.has("bundle 'v2' replaces state 2 of 'v1' (version 1) without having it")).toBe(true);
    expect(rest(w)).toEqual(before);
    expect(enable('v3', ['s2_core'])).toBe(0); // on top it need not know all
    w.write('v3', 'enabled', '0');
    expect(w.freed('v3')).toBe(true);
    expect(w.rmmod('mid')).toBe(0);
    expect(enable('v2', ['s2_core'], { replace: true })).toBe(0);
    expect(w.freed('v1')).toBe(true);
    expect(w.says('core')).toBe(200);
  });

  it('holds a patch module that is loaded by itself against them too', () => {
    load('core');
    expect(enable('v2', ['s2_core', 's2_mid'])).toBe(0);
    expect(w.insmod('s1_core')).toBe(UAPI.EINVAL);
    expect(w.has('livepatch: Livepatch patch (klpbundle_s1_core) is not compatible')).toBe(true);
  });

  it('refuses a bundle whose members have a state in two versions', () => {
    expect(() => bundleOf('v1', ['s1_core', 's2_mid'])).toThrow(
      'state 1 is of version 1 in member klpbundle_s1_core.ko and 2 in klpbundle_s2_mid.ko',
    );
  });
});
