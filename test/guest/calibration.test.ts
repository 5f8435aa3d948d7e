// What is found out about a library is the same each time, and is state of the CPU only.

import { expect, it } from 'vitest';
import { chooseUnicorn, tryUnicorn } from '../../src/arch/x86_64/unicorn/unicorn_choice.ts';
import { describeEachLibrary } from './libraries.ts';

describeEachLibrary('calibration', () => {
  it('finds the same again, whatever lies in the memory that contexts are made in', () => {
    const { path, calibration } = chooseUnicorn();
    for (let i = 0; i < 20; i++) expect(tryUnicorn(path).calibration).toEqual(calibration);
  });

  it('takes nothing that stands before the registers for the ring: the library has its pointers there', () => {
    const { registers, ringBytes, gsBase, codeSelector, exception } = chooseUnicorn().calibration;
    for (const at of [...ringBytes, gsBase, codeSelector, exception])
      expect(at).toBeGreaterThanOrEqual(registers + 18 * 8);
    // Segments' selectors, flags and attributes, and the engine's mode flags: no more.
    expect(ringBytes.length).toBeLessThan(60);
  });
});
