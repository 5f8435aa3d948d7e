import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FittedColumn, fittedTable } from '../../src/cli/fitted_table.ts';

const COLUMNS: readonly FittedColumn[] = [
  { head: 'object' },
  { head: 'functions', leaveOut: 1 },
  { head: 'insns' },
  { head: 'covered' },
  { head: 'right', leaveOut: 2 },
  { head: 'wrong,\nunreliable' },
  { head: 'wrong,\nreliable' },
];
const IMAGE = [
  ['image, explored', '560', '7,188', '98.14 %', '7,053', '1', '0'],
  ['ftrace and its handlers, interrupted', '8', '380', '85.79 %', '295', '31', '0'],
];

describe('a table', () => {
  it('fits the width whatever the names and numbers of kernels are', () => {
    const number = fc.integer({ min: 0, max: 20_000_000 }).map((n) => n.toLocaleString('en-US'));
    const name = fc.stringMatching(/^[a-z0-9_-]{1,60}(, [a-z]{1,20})?$/);
    const row = fc.tuple(name, number, number, fc.constant('100.00 %'), number, number, number);
    const rows = fc.array(row, { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rows, fc.integer({ min: 60, max: 120 }), (cells, width) => {
        const lines = fittedTable(COLUMNS, cells, width).split('\n');
        expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
        // Nothing is lost of what is not left out.
        for (const [, , insns] of cells) expect(lines.some((line) => line.includes(insns))).toBe(true);
      }),
    );
  });

  it('puts a name in several lines before it leaves a column out', () => {
    expect(fittedTable(COLUMNS, IMAGE, 80)).toBe(
      [
        'object                    functions  insns  covered  right      wrong,    wrong,',
        '                                                            unreliable  reliable',
        'image, explored                 560  7,188  98.14 %  7,053           1         0',
        'ftrace and its handlers,          8    380  85.79 %    295          31         0',
        'interrupted',
      ].join('\n'),
    );
  });

  it('leaves out first what is asked for least', () => {
    const [head] = fittedTable(COLUMNS, IMAGE, 72).split('\n');
    expect(head).toMatch(/^object +insns +covered +right +wrong, +wrong,$/);
    expect(fittedTable(COLUMNS, IMAGE, 60).split('\n')[0]).toMatch(
      /^object +insns +covered +wrong, +wrong,$/,
    );
  });
});
