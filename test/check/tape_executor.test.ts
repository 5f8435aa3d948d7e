// Many instructions at a run against one at a time: the same verdicts everywhere.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { ObjectCheck, Unwinder } from '../../src/check/verdicts.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';

const MODULES = join(import.meta.dirname, '../../fixtures/modules');
let guest: CheckGuest;

beforeAll(() => {
  guest = new CheckGuest();
});
afterAll(() => guest.close());

/** All but how many instructions could not be executed: that hangs on what memory there is. */
function verdicts(
  path: string,
  unwinder: Unwinder,
  single: boolean,
): Omit<ObjectCheck, 'skipped' | 'skippedBecause'> {
  const elf = parseElf(Uint8Array.from(readFileSync(path)), path, X86_64.elf);
  const { skipped, skippedBecause, ...rest } = new ObjectChecker(guest, elf, { unwinder, single }).check();
  expect(skipped).toBeLessThan(0.1 * rest.instructions + 10);
  expect(Object.values(skippedBecause).reduce((sum, n) => sum + n, 0)).toBe(skipped);
  return rest;
}

describe('each module of the fixtures', () => {
  for (const name of readdirSync(MODULES).filter((file) => file.endsWith('.ko'))) {
    it(`${name} is found to be the same either way`, () => {
      const path = join(MODULES, name);
      const elf = parseElf(Uint8Array.from(readFileSync(path)), path, X86_64.elf);
      const kinds: Unwinder[] = readOrc(elf, X86_64.code.orc) ? ['orc', 'fp'] : ['fp'];
      for (const unwinder of kinds) {
        expect(verdicts(path, unwinder, false)).toEqual(verdicts(path, unwinder, true));
      }
    });
  }
});
