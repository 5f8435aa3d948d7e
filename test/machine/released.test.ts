// What a machine takes of the host natively it gives back: engines, saved contexts, callbacks.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { koffi } from '../../src/arch/x86_64/unicorn/koffi.ts';
import { UnicornEngine } from '../../src/arch/x86_64/unicorn/unicorn.ts';
import type { Lib } from '../../src/arch/x86_64/unicorn/unicorn_api.ts';
import { chooseUnicorn } from '../../src/arch/x86_64/unicorn/unicorn_choice.ts';
import { Machine } from '../../src/machine/machine.ts';
import { NO_UNICORN } from '../guest/unicorn_there.ts';

const PAIRS = [
  ['open', 'close'],
  ['contextAlloc', 'contextFree'],
] as const;
const calls: Partial<Record<keyof Lib, number>> = {};
let callbacks: number;

describe.skipIf(NO_UNICORN)(`on Unicorn (${NO_UNICORN ?? 'here'})`, () => {
  beforeEach(() => {
    const { lib } = chooseUnicorn();
    callbacks = koffi().stats().callbacks;
    for (const name of PAIRS.flat()) {
      const real = lib[name] as (...args: unknown[]) => unknown;
      calls[name] = 0;
      vi.spyOn(lib as unknown as Record<string, (...args: unknown[]) => unknown>, name).mockImplementation(
        (...args) => {
          calls[name] = (calls[name] ?? 0) + 1;
          return real(...args);
        },
      );
    }
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  function expectReleased(engines: number): void {
    for (const [taken, given] of PAIRS) expect(calls[given], given).toBe(calls[taken]);
    expect(calls.open).toBe(engines);
    expect(koffi().stats().callbacks).toBe(callbacks);
  }

  it('a machine that is closed has given back its engine, its contexts and its callback, once', async () => {
    const machine = await Machine.boot({ cpus: 2, engine: 'unicorn' });
    const task = machine.spawn('echo', ['hello', '/tmp/x']);
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 10e9);
    expect(koffi().stats().callbacks).toBe(callbacks + 1);
    expect(calls.contextAlloc).toBeGreaterThan(1);
    machine.close();
    machine.close();
    expectReleased(1);
  });

  it('a machine for which there is no memory leaves no engine behind', async () => {
    const none = vi.spyOn(globalThis, 'ArrayBuffer').mockImplementation(function none() {
      throw new RangeError('Array buffer allocation failed');
    });
    const boot = Machine.boot({ engine: 'unicorn' });
    await expect(boot).rejects.toThrow(/MiB of address space for guest memory/);
    none.mockRestore();
    expectReleased(1);
  });

  it('a machine that fails while it boots leaves no engine behind', async () => {
    vi.spyOn(UnicornEngine.prototype, 'loadSegments').mockImplementation(() => {
      throw new Error('a fault');
    });
    await expect(Machine.boot({ engine: 'unicorn' })).rejects.toThrow('a fault');
    expectReleased(1);
  });
});
