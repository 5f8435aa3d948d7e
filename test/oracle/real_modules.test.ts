// Modules on the real kernel: what insmod of kmod says there, and how the page counts it.

import { describe, expect, it } from 'vitest';
import { modulesPage } from '../../scripts/modules/page.ts';
import { errnoOf, type RealOutcome, realOutcome } from '../../scripts/modules/real.ts';
import type { TriedModule } from '../../scripts/modules/try.ts';

const failed = (words: string): string =>
  `insmod: ERROR: could not insert module /usr/lib/modules/6.1.0-56-amd64/extra/x.ko: ${words}\n`;
const operation = (status: number, stderr = '', stdout = '') => ({ status, stdout, stderr, log: [] });

describe('an insmod of kmod', () => {
  it.each([
    ['No such device', 19],
    ['Invalid parameters', 22],
    ['Unknown symbol in module', 2],
    ['Invalid module format', 8],
    ['Resource temporarily unavailable', 11],
    ['Connection timed out', 110],
  ])('that says "%s" had errno %i', (words, errno) => {
    expect(errnoOf(failed(words))).toBe(errno);
  });

  it('whose words nobody knows has no errno, and is not counted as refused', () => {
    expect(errnoOf(failed('Something else'))).toBeUndefined();
    expect(realOutcome(operation(1, failed('Something else')))).toMatchObject({ kind: 'ended' });
  });

  it('that was killed, stands, or lacks what it needs is told from a refusal', () => {
    expect(realOutcome(operation(137))).toMatchObject({ kind: 'ended' });
    expect(realOutcome(operation(91, '', '[<0>] msleep+0x2d/0x40\n[<0>] x_init+0x10/0x20 [x]\n'))).toEqual({
      kind: 'waits',
      where: 'msleep',
    });
    expect(realOutcome(operation(90, failed('No such device')))).toEqual({ kind: 'needs' });
    expect(realOutcome(operation(0))).toEqual({ kind: 'runs' });
  });
});

describe('the page of modules', () => {
  const refused = (name: string, errno: number): TriedModule => ({
    name,
    folder: 'drivers',
    outcome: { kind: 'refused', errno, said: '' },
  });
  const modules: TriedModule[] = [
    ...['a', 'b', 'c', 'd', 'e'].map((name) => refused(name, 19)),
    { name: 'f', folder: 'drivers', outcome: { kind: 'needs', module: 'a' } },
  ];

  it('splits those that are refused by what the real kernel does, those that need them left out', () => {
    const real = new Map<string, RealOutcome>([
      ['a', { kind: 'refused', errno: 19 }],
      ['b', { kind: 'refused', errno: 19 }],
      ['c', { kind: 'refused', errno: 22 }],
      ['d', { kind: 'runs' }],
    ]);
    expect(modulesPage([{ release: '6.1.0', modules, real }])).toContain(
      '| ENODEV | of its init | 6 | `a`, `b`, `c`, `d` | 2 | 1 | 1 | 1 |',
    );
  });

  it('says of none what nobody asked the real kernel', () => {
    expect(modulesPage([{ release: '6.1.0', modules, real: new Map() }])).toContain(
      '| ENODEV | of its init | 6 | `a`, `b`, `c`, `d` | 0 | 0 | 0 | 5 |',
    );
  });
});
