// What fails while a patch comes: memory for what a replacing one adds, a callback; and which of two symbols a position means.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { klpFindObjectSymbol } from '../../src/livepatch/symbol.ts';
import { heapOf } from '../properties/audit.ts';
import { Session } from '../properties/session.ts';

let session: Session;
beforeEach(async () => {
  session = await Session.boot();
});
afterEach(() => session.machine.close());

const come = (name: string, args = ''): number => {
  const exit = session.insmod(name, args);
  expect(session.settled()).toBe(true);
  return exit;
};

describe('a patch that replaces functions it has not itself', () => {
  it('leaves no memory behind, whichever allocation fails', () => {
    expect([come('target'), come('patch_target')]).toEqual([0, 0]);
    const { faults } = session.machine.inspect.core;
    session.machine.runFor(1e9);
    const klp = (): [string, number][] =>
      Object.entries(heapOf(session.machine)).filter(([owner]) => owner.startsWith('klp'));
    const before = klp();
    let failed = 0;
    for (let nth = 1; nth < 400; nth++) {
      const fault = faults.arm({ point: ['kmalloc'], nth, by: (task) => task.comm === 'insmod' });
      const exit = come('patch_sizes', 'replace=1');
      faults.disarm(fault);
      if (!fault.injected.length) break;
      expect(exit, `allocation ${nth}`).not.toBe(0);
      failed++;
      session.machine.runFor(1e9);
      expect(klp(), `allocation ${nth}`).toEqual(before);
    }
    expect(failed).toBeGreaterThan(10);
  });
});

describe('a callback that fails', () => {
  it('keeps the patch from coming', () => {
    session.machine.inspect.core.faults.arm({ point: ['klp_pre_patch_callback'], nth: 1 });
    expect(come('patch_both')).not.toBe(0);
    expect(come('patch_both')).toBe(0);
  });
});

describe('a position among symbols of one name', () => {
  it('is that of one, though there are more behind it', () => {
    expect(come('target')).toBe(0);
    const { context } = session.machine.inspect.livepatch;
    const find = (position: bigint) =>
      klpFindObjectSymbol(context, 'klpdemo_target', 'klpdemo_twin', position);
    const [first, second] = [find(1n), find(2n)];
    expect([typeof first, typeof second, first === second]).toEqual(['bigint', 'bigint', false]);
    expect([find(0n), find(3n)]).toEqual([undefined, undefined]);
  });
});
