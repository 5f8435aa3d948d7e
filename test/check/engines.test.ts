// Whatever executes: the same verdicts everywhere, the core's with fewer instructions stepped over.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CheckCore } from '../../src/arch/x86_64/check/core.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import type { ObjectCheck, Unwinder } from '../../src/check/verdicts.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { readOrc } from '../../src/objtool/orc_format_of.ts';
import { unicornGuest } from './unicorn_guest.ts';

const MODULES = join(import.meta.dirname, '../../fixtures/modules');
const OBJECTS = join(import.meta.dirname, '../../fixtures/objects');
const PATHS = [
  ...readdirSync(MODULES)
    .filter((file) => file.endsWith('.ko'))
    .map((file) => join(MODULES, file)),
  join(OBJECTS, 'hard/hard.o'),
  join(OBJECTS, 'frames/frames.o'),
];

const core = new CheckGuest(new CheckCore());
const judge = unicornGuest();
afterAll(() => {
  core.close();
  judge?.close();
});

const elfOf = (path: string) => parseElf(Uint8Array.from(readFileSync(path)), path, X86_64.elf);
const check = (guest: CheckGuest, path: string, unwinder: Unwinder, into: boolean): ObjectCheck =>
  new ObjectChecker(guest, elfOf(path), { unwinder, into }).check();

describe.skipIf(!judge)('the core and Unicorn', () => {
  for (const path of PATHS) {
    const kinds: Unwinder[] = readOrc(elfOf(path), X86_64.code.orc) ? ['orc', 'fp'] : ['fp'];
    for (const unwinder of kinds) {
      it(`say the same of ${path.split('/').at(-1)} by ${unwinder}`, () => {
        for (const into of [false, true]) {
          const { skipped, skippedBecause, ...verdicts } = check(core, path, unwinder, into);
          const other = check(judge as CheckGuest, path, unwinder, into);
          expect(verdicts).toEqual({ ...other, skipped: undefined, skippedBecause: undefined });
          expect(skipped).toBeLessThanOrEqual(other.skipped);
          expect(Object.values(skippedBecause).reduce((sum, n) => sum + n, 0)).toBe(skipped);
        }
      });
    }
  }
});

describe('the core', () => {
  it('steps over no more than one of a thousand instructions of the modules', () => {
    const checks = PATHS.filter((path) => path.endsWith('.ko')).map((path) => check(core, path, 'fp', false));
    const sum = (of: (found: ObjectCheck) => number): number => checks.reduce((n, found) => n + of(found), 0);
    expect(sum(({ skipped }) => skipped) / sum(({ reached }) => reached)).toBeLessThan(0.001);
  });
});
