// Functions of the fixtures' modules on the core and on Unicorn; `node scripts/run.mjs judge --functions DIR` takes any.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { NO_UNICORN } from '../../../guest/unicorn_there.ts';
import { differInNans, type Ended } from './function_known.ts';
import { judgeFunctions, modulesIn } from './functions_main.ts';

const MODULES = fileURLToPath(new URL('../../../../fixtures/modules/', import.meta.url));

it.skipIf(NO_UNICORN)(
  `functions of modules end in one state on both engines${NO_UNICORN ? ` (${NO_UNICORN})` : ''}`,
  () => {
    const { states, instructions, differences, functions } = judgeFunctions(modulesIn(MODULES), 4);
    expect(differences).toEqual([]);
    expect(functions).toBeGreaterThan(150);
    expect(states).toBe(4 * functions);
    expect(instructions).toBeGreaterThan(10 * states);
  },
);

describe('what differs in NaNs alone', () => {
  const end = (rax: bigint, kind: Ended['kind'] = 'halt'): Ended => {
    const regs = new BigUint64Array(18);
    regs[0] = rax;
    return { kind, executed: 7, faultAddr: 0n, regs };
  };
  const memory = (value: bigint): Uint8Array[] => {
    const bytes = new Uint8Array(64);
    new DataView(bytes.buffer).setBigUint64(13, value, true);
    return [bytes];
  };
  const [nan, other] = [0xfff8000000000000n, 0x7ff8123400000000n];

  it('is a number at any address, or in a register, that is one in both', () => {
    expect(differInNans(end(nan), end(other), memory(nan), memory(other))).toBe(true);
    expect(differInNans(end(0x7fc00000n), end(0xffc00001n), memory(0n), memory(0n))).toBe(true);
  });

  it('is not where one of them is a number, or the end is another', () => {
    expect(differInNans(end(nan), end(0x3ff0000000000000n), memory(0n), memory(0n))).toBe(false);
    expect(differInNans(end(0n), end(0n), memory(nan), memory(0x3ff0000000000000n))).toBe(false);
    expect(differInNans(end(nan), end(other, 'page fault'), memory(0n), memory(0n))).toBe(false);
  });
});
