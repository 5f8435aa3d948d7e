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

/** What no column of can be left out. */
const TRANSITIONS: readonly FittedColumn[] = [
  { head: 'transition' },
  ...['tasks', 'stack\ncheck', 'kernel\nexit', 'idle\nloop', 'born', 'blocked'].map((head) => ({ head })),
  ...['half\nafter', 'last\nafter', 'ended\nafter'].map((head) => ({ head })),
];
const DONE = [
  ['klpdemo_patch_both patching', '19', '16', '3', '-', '137', '4', '0', '4.3s', '4.3s'],
  ['klpdemo_patch_both unpatching', '20', '17', '1', '2', '26', '3', '0', '758ms', '855ms'],
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

  it('stands closer together before it comes in two', () => {
    expect(fittedTable(TRANSITIONS, DONE, 80)).toBe(
      [
        'transition         tasks stack kernel idle born blocked  half  last ended',
        '                         check   exit loop              after after after',
        'klpdemo_patch_both    19    16      3    -  137       4     0  4.3s  4.3s',
        'patching',
        'klpdemo_patch_both    20    17      1    2   26       3     0 758ms 855ms',
        'unpatching',
      ].join('\n'),
    );
  });

  it('puts below the rest what there is no room for beside it', () => {
    expect(fittedTable(TRANSITIONS, DONE, 60)).toBe(
      [
        'transition          tasks  stack  kernel  idle  born',
        '                           check    exit  loop',
        'klpdemo_patch_both     19     16       3     -   137',
        'patching',
        'klpdemo_patch_both     20     17       1     2    26',
        'unpatching',
        '',
        'transition                     blocked   half   last  ended',
        '                                        after  after  after',
        'klpdemo_patch_both patching          4      0   4.3s   4.3s',
        'klpdemo_patch_both unpatching        3      0  758ms  855ms',
      ].join('\n'),
    );
  });

  it('folds lists item by item', () => {
    const columns = [{ head: '' }, { head: 'classic', text: 16 }, { head: 'bundle', text: 16 }];
    const rows = [['failed steps', 'enable klpbundle_p1_core: 19\nrmmod a: 1', 'none']];
    expect(fittedTable(columns, rows, 40)).toBe(
      [
        '              classic          bundle',
        'failed steps  enable           none',
        '                klpbundle_p1_',
        '                core: 19',
        '              rmmod a: 1',
      ].join('\n'),
    );
  });
});
