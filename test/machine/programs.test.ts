// The table of user programs, held to the image.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { programNames, programProblem, programUsage } from '../../src/machine/user/programs.ts';

let machine: Machine;
beforeAll(async () => {
  machine = await Machine.boot({ cpus: 1 });
});
afterAll(() => machine.close());

describe('user programs', () => {
  it('are those of the image, each with its usage', () => {
    expect(programNames().sort()).toEqual(machine.programs());
    expect(programUsage('reader')).toBe('reader PATH MS [ROUNDS]');
    expect(programUsage('spin')).toBe('spin');
  });

  it('take no less and no more arguments than they read, and numbers where they count', () => {
    expect(programProblem('insmod', ['/m.ko', 'a=1 b=2', '3'])).toBeUndefined();
    expect(programProblem('insmod', ['/m.ko', '', 'x'])).toMatch(/FLAGS must be a whole number, not 'x'/);
    expect(programProblem('modprobe_paused', ['/m.ko', '', '/a', '/b', '/c'])).toBeUndefined();
    expect(programProblem('constructor', [])).toMatch(/^no program 'constructor'/);
  });
});
