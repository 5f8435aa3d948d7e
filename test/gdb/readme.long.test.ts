// The session with gdb in README.md is what gdb prints.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { gdb, noGdb } from './gdb.ts';

const README = readFileSync('README.md', 'utf8');

/** Addresses move with any change of the guest's code. */
const masked = (line: string): string => line.trimEnd().replace(/0x[0-9a-f]{16}/g, 'ADDRESS');

describe.skipIf(noGdb)(`README.md${noGdb ? ` (${noGdb})` : ''}`, () => {
  it('shows a session with gdb as it is', () => {
    const [, at = '', block = ''] =
      /\n {4}\$ gdb [^\n]*demo\.yaml ([^\n]*)'\n((?: {4}.*\n)+)/.exec(README) ?? [];
    const steps = block
      .replace(/^ {4}/gm, '')
      .split('(gdb) ')
      .slice(1)
      .map((step) => step.trimEnd().split('\n'));
    expect(steps.length).toBeGreaterThan(3);
    const printed = gdb(
      'demo',
      at,
      steps.map(([command]) => command),
    );
    for (const [i, [command, ...shown]] of steps.entries()) {
      const lines = printed[i].split('\n').map(masked);
      for (const line of shown) if (line !== '...') expect(lines, command).toContain(masked(line));
    }
  });
});
