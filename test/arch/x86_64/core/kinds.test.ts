// The operations of the core have a number each, those of several sizes four, and no two have the same.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as KINDS from '../../../../src/arch/x86_64/core/kinds.ts';

const LOOP = join(import.meta.dirname, '../../../../src/arch/x86_64/core/loop.ts');

it('no two operations have one number', () => {
  const cases = [...readFileSync(LOOP, 'utf8').matchAll(/case ([A-Z]\w+)(?: \+ ([BWDQ]|\d+))?:/g)];
  expect(cases.length).toBeGreaterThan(250);
  const kinds = KINDS as Readonly<Record<string, number>>;
  const seen = new Map<number, string>();
  for (const [text, name, more] of cases) {
    const number = kinds[name] + (more === undefined ? 0 : (kinds[more] ?? Number(more)));
    expect(number, text).not.toBeNaN();
    expect(seen.get(number), `${text} and ${seen.get(number)}`).toBeUndefined();
    seen.set(number, text);
  }
});
