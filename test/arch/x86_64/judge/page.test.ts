// docs/processor.md is of the forms of today.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { FORMS } from './forms.ts';
import { oneRingList, unjudgedList } from './page.ts';
import { unjudgedBecause } from './scope.ts';

const PAGE = readFileSync(fileURLToPath(new URL('../../../../docs/processor.md', import.meta.url)), 'utf8');

/** The columns of a mnemonic's row: forms, states by Unicorn and the host, known cases, differences. */
const ROWS = new Map(
  [...PAGE.matchAll(/^\| ([a-z]\w*) \|((?: [\d,]+ \|){5})$/gm)].map(
    ([, mnemonic, columns]): [string, number[]] => [
      mnemonic,
      columns
        .split('|')
        .slice(0, 5)
        .map((column) => Number(column.replaceAll(',', ''))),
    ],
  ),
);
const NOT_EXECUTED = new Set((PAGE.split('## Forms that are not executed')[1] ?? '').split(/[\s:]+/));

it('the page names every form that random states judge, and says what the judges found', () => {
  const forms = new Map<string, number>();
  for (const form of FORMS) {
    if (!unjudgedBecause(form)) forms.set(form.mnemonic, (forms.get(form.mnemonic) ?? 0) + 1);
  }
  for (const [mnemonic, count] of forms) {
    if (NOT_EXECUTED.has(mnemonic)) continue;
    expect(ROWS.get(mnemonic)?.[0], mnemonic).toBe(count);
  }
  expect([...ROWS.keys()].filter((mnemonic) => !forms.has(mnemonic))).toEqual([]);
});

it('the page has no difference that is of no known case', () => {
  expect([...ROWS].filter(([, columns]) => columns[4] !== 0)).toEqual([]);
  expect(ROWS.size).toBeGreaterThan(300);
});

it('the page gives the reason of every form that random states say nothing of', () => {
  expect(PAGE).toContain(unjudgedList());
  expect(PAGE).toContain(oneRingList());
});
