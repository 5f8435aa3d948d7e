// Functions of the fixtures' modules on the core and on Unicorn.

import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { judgeFunctions, modulesIn } from './functions_main.ts';

const MODULES = fileURLToPath(new URL('../../../../fixtures/modules/', import.meta.url));

it('functions of modules end in the same state on both engines, from random ones', () => {
  const { states, instructions, differences } = judgeFunctions(modulesIn(MODULES), 3);
  expect(differences).toEqual([]);
  expect(states).toBeGreaterThan(500);
  expect(instructions).toBeGreaterThan(10 * states);
});
