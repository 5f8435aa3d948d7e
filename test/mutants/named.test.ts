// The mistakes that `npm run mutants -- named` makes can be made: code that has changed since takes its mutants along.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guest/package_root.ts';
import { NAMED } from './named.ts';

const at = (path: string): string => join(packageRoot(), path);

describe('a mistake that has a name', () => {
  it.each(NAMED.map((mutant) => [mutant.name, mutant] as const))(
    'can be made: %s',
    (_name, { file, edits, tests }) => {
      let text = readFileSync(at(file), 'utf8');
      for (const [from, to] of edits) {
        expect(text.split(from).length - 1, from).toBe(1);
        text = text.replace(from, () => to);
      }
      expect(tests.length).toBeGreaterThan(0);
      for (const test of tests) expect(existsSync(at(test)), test).toBe(true);
    },
  );
});
