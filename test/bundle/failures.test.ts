// Every failure point of enabling a bundle and of a late load of a target, one after the other: what failed is undone.

import { describe, expect, it } from 'vitest';
import { numberedBundle, numberedTarget } from '../../bench/lib/numbered_modules.ts';
import { ERROR_INJECTION, type FaultPoint } from '../../src/kernel/fault_inject.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { pictureOf } from '../properties/audit.ts';
import { bundleOf, SECOND, World } from './world.ts';

const POINTS = Object.keys(ERROR_INJECTION) as FaultPoint[];

function rest(w: World): Record<string, unknown> {
  expect(w.settled()).toBe(true);
  w.machine.runFor(2 * SECOND);
  expect(w.machine.bundles?.gate.held).toBe(false);
  expect(w.machine.bundles?.gate.waits).toEqual([]);
  return {
    ...pictureOf(w.machine),
    blobs: w.machine.bundles?.blobBytes(),
    away: w.machine.bundles?.blobBytes(true),
  };
}

/** Fails the first, the second, ... call of a point until there is none left. @returns how many there were. */
function walk(w: World, point: FaultPoint, start: () => TaskStruct, undo: () => void): number {
  for (let nth = 1; nth < 200; nth++) {
    const before = rest(w);
    let doer: TaskStruct | undefined;
    const fault = w.machine.core.faults!.arm({ point, nth, by: (task) => task === doer });
    doer = start();
    const exit = w.wait(doer);
    w.machine.core.faults!.disarm(fault);
    const [injected] = fault.injected;
    if (injected === undefined) {
      expect(exit).toBe(0);
      rest(w);
      undo();
      return nth - 1;
    }
    if (exit === 0) undo();
    expect(rest(w), `${injected} (${point} ${nth}), exit ${exit}`).toEqual(before);
  }
  throw new Error(`no end of ${point}`);
}

describe('bundle.md 3: any failure on the way undoes everything', () => {
  it.each(POINTS)('of enabling a bundle: %s', async (point) => {
    const w = await World.boot();
    w.insmod('core');
    w.insmod('mid');
    const bundle = bundleOf('v1', ['p1_vmlinux', 'p1_core', 'p1_mid', 'p2_top']);
    const undo = (): void => {
      w.settled();
      expect(w.write('v1', 'enabled', '0')).toBe(0);
      w.settled();
      expect(w.freed('v1')).toBe(true);
    };
    // Once first: what is made on first use stays.
    expect(w.enable(bundle)).toBe(0);
    undo();
    const failed = walk(w, point, () => w.startEnable(bundle), undo);
    if (point === 'kmalloc' || point === 'module_alloc') expect(failed).toBeGreaterThan(3);
    w.machine.close();
  });
});

describe('bundle.md 3: any failure on the way undoes everything, of ten members', () => {
  it.each(['module_alloc', 'klp_patch_func', 'klp_pre_patch_callback'] as const)('%s', async (point) => {
    const w = await World.boot();
    for (let n = 0; n < 8; n++) {
      w.machine.addFile('/lib/t.ko', numberedTarget(n));
      expect(w.wait(w.machine.insmod('/lib/t.ko'))).toBe(0);
    }
    const bundle = numberedBundle('ten', 10);
    const undo = (): void => {
      w.settled();
      expect(w.write('ten', 'enabled', '0')).toBe(0);
      w.settled();
      expect(w.freed('ten')).toBe(true);
    };
    expect(w.enable(bundle)).toBe(0);
    undo();
    expect(walk(w, point, () => w.startEnable(bundle), undo)).toBeGreaterThan(7);
    w.machine.close();
  });
});

describe('bundle.md 4: a failing member or target leaves nothing', () => {
  it.each(POINTS)('of a late load: %s', async (point) => {
    const w = await World.boot();
    expect(w.enable(bundleOf('v1', ['p1_core']))).toBe(0);
    w.settled();
    expect(w.insmod('core')).toBe(0);
    expect(w.rmmod('core')).toBe(0);
    walk(
      w,
      point,
      () => w.startInsmod('core'),
      () => expect(w.rmmod('core')).toBe(0),
    );
    w.machine.close();
  });
});
