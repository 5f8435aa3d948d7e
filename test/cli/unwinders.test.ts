// `klpemu check --unwinder all`: the same object by every unwinder.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

const OBJECTS = 'fixtures/objects/unwinders';

describe('klpemu check --unwinder all', () => {
  let cli: Cli;
  beforeAll(() => {
    cli = new Cli();
  });
  afterAll(() => cli.remove());

  it('prints a row for each unwinder: what it is right and wrong about, its bytes, its time', () => {
    const { status, stdout } = cli.run(['check', '--unwinder', 'all', `${OBJECTS}/compiled-v3.o`]);
    // Frame pointers miss callers in traces that are called reliable.
    expect(status).toBe(1);
    const rows = stdout.split('\n').filter((line) => /^(ORC|frame pointers|SFrame 3|DWARF) /.test(line));
    expect(rows.map((row) => row.replace(/ {2,}[\d,]+$/, '').replace(/ +/g, ' '))).toEqual([
      'ORC 203 96.06 % 195 0 0 4.38',
      'frame pointers 203 96.06 % 50 136 9 0.00',
      'SFrame 3 203 96.06 % 194 1 0 2.58',
      'DWARF 203 96.06 % 194 1 0 2.56',
    ]);
    for (const row of rows) expect(Number(/([\d,]+)$/.exec(row)?.[1].replace(',', ''))).toBeGreaterThan(0);
    expect(stdout).toMatch(/frame pointers: wrong and declared reliable as at \w+\+0x\w+ of compiled-v3.o/);
  });

  it('says of which unwinder an object has no table, and which it could not read', () => {
    const { status, stdout, stderr } = cli.run([
      'check',
      '--unwinder',
      'all',
      '--json',
      `${OBJECTS}/written-v1.o`,
    ]);
    expect(status).toBe(1);
    expect(stderr).toBe('');
    const { objects, summary } = JSON.parse(stdout);
    const found = (unwinder: string) =>
      objects.find((one: { unwinder: string }) => one.unwinder === unwinder);
    expect(found('orc')).toMatchObject({ missing: true });
    expect(found('sframe').error).toMatchObject({
      code: 'ENOEXEC',
      message: expect.stringContaining('SFrame version 1'),
    });
    expect(found('dwarf').check).toMatchObject({ instructions: 64, reached: 64 });
    expect(
      summary.unwinders.map(({ without, failed }: { without: number; failed: number }) => [without, failed]),
    ).toEqual([
      [1, 0],
      [0, 0],
      [0, 1],
      [0, 0],
    ]);
  });

  it('is not asked of the image, which has no such tables', () => {
    const { status, stderr } = cli.run(['check', '--image', '--unwinder', 'dwarf']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/nothing for --unwinder dwarf/);
  });
});
