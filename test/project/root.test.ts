// The root of a machine, which says what is built from what: it is read in one glance.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const text = readFileSync(join(import.meta.dirname, '../../src/machine/machine.ts'), 'utf8');
const lines = /\n {2}private constructor\([\s\S]*?\n {2}\}\n/.exec(text)?.[0].trim().split('\n') ?? [];

describe('the constructor of a machine', () => {
  it('fits a screen', () => {
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.length).toBeLessThanOrEqual(50);
  });

  it('closes over nothing that comes later: it makes no functions', () => {
    expect(lines.filter((line) => /=>|\bfunction\b|\bget \w+\(/.test(line))).toEqual([]);
  });

  it('makes each part once: what is declared is a constant', () => {
    expect(lines.filter((line) => /^ {4}let\b/.test(line))).toEqual([]);
  });
});
