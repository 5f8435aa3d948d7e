import { describe, expect, it } from 'vitest';
import * as KINDS from '../../../../src/arch/x86_64/core/kinds.ts';
import * as VECTOR_KINDS from '../../../../src/arch/x86_64/core/vector_kinds.ts';

const namesOf = (all: Record<string, unknown>, which: RegExp): [string, number][] =>
  Object.entries(all).filter((entry): entry is [string, number] => which.test(entry[0]));

function expectDistinct(names: [string, number][]): void {
  const twice = names.filter(([, number], i) => names.findIndex(([, other]) => other === number) !== i);
  expect(twice).toEqual([]);
}

describe('the numbers that the core and the engine share', () => {
  it('tell every reason of a stop from every other', () => {
    const stops = namesOf(KINDS, /^STOP_(?!HERE)/);
    expect(stops.length).toBeGreaterThan(10);
    expectDistinct(stops);
  });

  it('tell every vector operation from every other, in families without gaps', () => {
    const families =
      /^(MOVES|INTEGER|SHUFFLES|CRYPTO|FLOATS|STRINGS|GENERAL)(_END)?$|^(CLEAR|COUNT|ALIGNED|MASKED_\w+)$/;
    const operations = Object.entries(VECTOR_KINDS).filter(([name]) => !families.test(name));
    expectDistinct(operations);
    const numbers = operations.map(([, number]) => number).sort((a, b) => a - b);
    expect(numbers[0]).toBe(KINDS.VECTOR);
    expect(numbers).toEqual(numbers.map((_, i) => KINDS.VECTOR + i));
  });
});
