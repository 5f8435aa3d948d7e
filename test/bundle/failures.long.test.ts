// Every failure point of enabling a bundle and of a late load of a target, one after the other: what failed is undone.
//
// No point is named here: the n-th call of whatever can fail is made to fail, for n from 1 until an operation has run
// through without. What can fail is every allocation and every step of src/kernel/fault_inject.ts. After each, the
// operation is done as well and taken back after every fifth, unless KLPEMU_THOROUGH is set.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { numberedBundle, numberedTarget } from '../../bench/lib/numbered_modules.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import { FAULT_POINTS, type FaultPoint } from '../../src/kernel/fault_inject.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { rest } from './state.ts';
import { bundleOf, ko, World } from './world.ts';

interface Operation {
  readonly start: () => TaskStruct;
  /** Takes back what the operation has done. */
  readonly undo: () => void;
  /** Taking it back makes things anew, which may be at other addresses then. */
  readonly anew?: boolean;
}

/** After every how many failures the operation is done as well. */
const GOOD = process.env.KLPEMU_THOROUGH ? 1 : 5;

/** What was made to fail, in all walks. */
const reached = new Map<FaultPoint, number>();

/** Fails the first, the second, ... call until there is none left. @returns how many failed. */
function walk(w: World, { start, undo, anew = false }: Operation): number {
  const again = (after: string): Record<string, unknown> => {
    expect(w.wait(start()), after).toBe(0);
    undo();
    return rest(w);
  };
  const first = rest(w);
  let before = again('nothing');
  if (!anew) expect(before).toEqual(first);
  for (let nth = 1; nth < 2000; nth++) {
    const { exit, injected } = failing(w, nth, start);
    if (injected === undefined) {
      expect(exit).toBe(0);
      return nth - 1;
    }
    if (exit === 0) undo();
    const what = `${injected} (call ${nth})`;
    expect(rest(w), `${what}, exit ${exit}`).toEqual(before);
    const point = injected.split(' ')[0] as FaultPoint;
    reached.set(point, (reached.get(point) ?? 0) + 1);
    if (nth % GOOD !== 0) continue;
    const after = again(what);
    if (anew) before = after;
    else expect(after, `after ${what}, and a good one`).toEqual(before);
  }
  throw new Error('no end of calls');
}

function failing(
  w: World,
  nth: number,
  start: () => TaskStruct,
): {
  exit: number | undefined;
  injected: string | undefined;
} {
  let doer: TaskStruct | undefined;
  const fault = w.machine.inspect.core.faults.arm({ point: FAULT_POINTS, nth, by: (task) => task === doer });
  doer = start();
  const exit = w.wait(doer);
  w.machine.inspect.core.faults.disarm(fault);
  return { exit, injected: fault.injected[0] };
}

function disable(w: World, name: string): void {
  w.settled();
  expect(w.write(name, 'enabled', '0')).toBe(0);
  w.settled();
  expect(w.freed(name)).toBe(true);
}

/** A machine with the numbered targets. */
async function withTargets(numbers: readonly number[]): Promise<World> {
  const w = await World.boot();
  for (const n of numbers) {
    w.machine.addFile('/lib/t.ko', numberedTarget(n));
    expect(w.wait(w.machine.insmod('/lib/t.ko'))).toBe(0);
  }
  return w;
}

describe('bundle.md 3: any failure on the way undoes everything', () => {
  it('of enabling ten members, of which three are away, on top of a bundle for some of them', async () => {
    const w = await withTargets([0, 1, 2, 3, 4, 5, 6]);
    expect(w.enable(numberedBundle('base', 4, { patch: 1 }))).toBe(0);
    w.settled();
    const bundle = numberedBundle('ten', 10);
    const operation = { start: () => w.startEnable(bundle), undo: () => disable(w, 'ten') };
    expect(walk(w, operation)).toBeGreaterThan(270);
    w.machine.close();
  });

  it('of enabling ten members that replace a bundle with other objects', async () => {
    const w = await withTargets([0, 1, 10, 11]);
    const base = numberedBundle('base', 12, { patch: 1 });
    const enableBase = (): void => {
      expect(w.enable(base)).toBe(0);
      w.settled();
    };
    enableBase();
    const bundle = numberedBundle('ten', 10, { replace: true });
    const undo = (): void => {
      w.settled();
      expect(w.freed('base')).toBe(true);
      disable(w, 'ten');
      enableBase();
    };
    expect(walk(w, { start: () => w.startEnable(bundle), undo, anew: true })).toBeGreaterThan(100);
    w.machine.close();
  });

  it('of enabling one with a member for the kernel, livepatch relocations and callbacks', async () => {
    const w = await World.boot();
    w.insmod('core');
    w.insmod('mid');
    const bundle = bundleOf('v1', ['p1_vmlinux', 'p1_core', 'p1_mid', 'p2_top']);
    const operation = { start: () => w.startEnable(bundle), undo: () => disable(w, 'v1') };
    expect(walk(w, operation)).toBeGreaterThan(100);
    w.machine.close();
  });
});

describe('bundle.md 3: disabling', () => {
  it('fails before it begins, or not at all', async () => {
    const w = await withTargets([0, 1, 2]);
    const enable = (): void => {
      expect(w.enable(numberedBundle('ten', 10))).toBe(0);
      w.settled();
    };
    enable();
    const start = (): TaskStruct => w.machine.spawn('echo', ['0', '/sys/kernel/livepatch/ten/enabled']);
    const undo = (): void => {
      w.settled();
      expect(w.freed('ten')).toBe(true);
      enable();
    };
    walk(w, { start, undo, anew: true });
    w.machine.close();
  });
});

describe('bundle.md 4: a failing member or target leaves nothing', () => {
  const twoBundles = async (): Promise<World> => {
    const w = await World.boot();
    expect(w.enable(bundleOf('v1', ['p1_core', 'p1_mid']))).toBe(0);
    w.settled();
    expect(w.enable(bundleOf('v2', ['p2_core', 'p2_top'], { version: '2' }))).toBe(0);
    w.settled();
    return w;
  };
  const unload = (w: World): void => expect(w.rmmod('core')).toBe(0);

  it('of a late load with members of two bundles', async () => {
    const w = await twoBundles();
    const operation = { start: () => w.startInsmod('core'), undo: () => unload(w) };
    expect(walk(w, operation)).toBeGreaterThan(110);
    w.machine.close();
  });

  it('of a late load with a member of many functions', async () => {
    const w = await World.boot();
    const file = (name: string): Uint8Array =>
      new Uint8Array(readFileSync(join(import.meta.dirname, '../../fixtures/modules', `${name}.ko`)));
    const files = [{ file: 'klpdemo_patch_target.ko', bytes: file('klpdemo_patch_target') }];
    expect(
      w.enable(
        createBundle({ name: 'v1', version: '1', replace: false, files, targets: new Map() }, X86_64.elf),
      ),
    ).toBe(0);
    w.machine.addFile('/lib/t.ko', file('klpdemo_target'));
    const operation = {
      start: () => w.machine.insmod('/lib/t.ko'),
      undo: () => expect(w.wait(w.machine.rmmod('klpdemo_target'))).toBe(0),
    };
    expect(walk(w, operation)).toBeGreaterThan(100);
    w.machine.close();
  });

  it('of an unload: nothing of it can fail but the wait at the gate', async () => {
    const w = await twoBundles();
    expect(w.insmod('core')).toBe(0);
    const undo = (): void => expect(w.insmod('core')).toBe(0);
    expect(walk(w, { start: () => w.machine.rmmod('klpbundle_core'), undo, anew: true })).toBe(1);
    w.machine.close();
  });
});

describe('the variation: whatever fails in a load that user space has paused, nothing stays', () => {
  it('of a load by modprobe, of the target and its patch module', async () => {
    const w = await World.boot();
    expect(w.enable(bundleOf('v1', ['p1_core', 'p1_mid']))).toBe(0);
    const paths = ['core', 'p1_core'].map((name) => {
      w.machine.addFile(`/lib/modules/${name}.ko`, ko(name));
      return `/lib/modules/${name}.ko`;
    });
    const operation = {
      start: () => w.machine.spawn('modprobe_paused', [paths[0], '', ...paths.slice(1)]),
      undo: () => expect(w.rmmod('core')).toBe(0),
    };
    expect(walk(w, operation)).toBeGreaterThan(70);
    w.machine.close();
  });
});

it('every point where something can fail was reached', () => {
  // Only a patch module that somebody loads by itself takes a reference to itself.
  expect(FAULT_POINTS.filter((point) => !reached.has(point))).toEqual(['try_module_get']);
});
