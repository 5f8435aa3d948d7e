// No test depends on how fast the computer is: only what hangs ends by the clock, and one number says when.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const TESTS = join(import.meta.dirname, '..');
const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' }).filter((path) =>
  path.endsWith('.test.ts'),
);
const using = (pattern: RegExp) =>
  files.filter((path) => pattern.test(readFileSync(join(TESTS, path), 'utf8')));

describe('tests', () => {
  it('have no time limit of their own', () => {
    expect(using(/^\s*\},\s*[\d_]{5,},?\s*\);|\btimeout: [\d_]+ \}/m)).toEqual([]);
  });

  it('compare no time of the wall clock with a number', () => {
    expect(using(/performance\.now\(\)|process\.hrtime/)).toEqual([]);
  });

  it('draw from no source of chance that cannot be repeated', () => {
    expect(using(/Math\.random\(\)|randomBytes\(|randomInt\(/)).toEqual([]);
  });
});
