// A million strings of random bytes and every two-byte opcode, in both rings.

import { expect, it } from 'vitest';
import { anything, EVERY_OPCODE, everyTwoByteOpcode, execute } from './random_code.ts';

it('random bytes end within their budget, each for a reason that the CPU port knows', () => {
  const { kinds, over } = execute(500_000, 1, anything);
  expect(over).toBe(0);
  expect(Object.values(kinds).reduce((sum, n) => sum + n)).toBe(1_000_000);
  expect(Object.keys(kinds)).toEqual(
    expect.arrayContaining(['budget', 'page fault', 'undefined instruction', 'exception', 'trap', 'halt']),
  );
});

it('every two-byte opcode does', () => {
  const { kinds, over } = execute(EVERY_OPCODE, 2, everyTwoByteOpcode);
  expect(over).toBe(0);
  expect(kinds.halt).toBeGreaterThan(0);
});
