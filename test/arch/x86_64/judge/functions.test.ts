// Functions of the fixtures' modules on the core and on Unicorn.

import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { NO_UNICORN } from '../../../guest/unicorn_there.ts';
import { judgeFunctions, modulesIn } from './functions_main.ts';

const MODULES = fileURLToPath(new URL('../../../../fixtures/modules/', import.meta.url));

it.skipIf(NO_UNICORN)(
  `functions of modules end in one state on both engines${NO_UNICORN ? ` (${NO_UNICORN})` : ''}`,
  () => {
    const { states, instructions, differences } = judgeFunctions(modulesIn(MODULES), 3);
    expect(differences).toEqual([]);
    expect(states).toBeGreaterThan(500);
    expect(instructions).toBeGreaterThan(10 * states);
  },
);
