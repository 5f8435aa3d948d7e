// When a test run has no end: by what it takes of a processor, never by how late it is.

import { describe, expect, it } from 'vitest';
import { endless, untilOver } from '../../scripts/mutants/until_over.ts';

const MINUTE = 60;
const looks = (count: number, of: (i: number) => { processorMs: number; runs: boolean }) =>
  Array.from({ length: count }, (_, i) => of(i));

describe('what is run until it is over', () => {
  it('ends with its exit code', async () => {
    expect(await untilOver(['-e', 'process.exit(3)'], '.', 60_000)).toMatchObject({ with: 3 });
  });

  it('spins where it, or what it started, takes more of a processor than it may, and is ended', async () => {
    const spins = 'for (;;);';
    const parent = `require('node:child_process').spawnSync(process.execPath, ['-e', '${spins}'])`;
    for (const program of [spins, parent]) {
      const over = await untilOver(['-e', program], '.', 300);
      expect(over.with).toBe('spins');
      expect(over.processorMs).toBeGreaterThan(300);
    }
  });

  it('may take any time of the clock while it is to run and has no processor', () => {
    const starved = looks(100 * MINUTE, () => ({ processorMs: 50, runs: true }));
    expect(endless(starved, 1_000)).toBeUndefined();
    const slow = looks(100 * MINUTE, (i) => ({ processorMs: i, runs: i % 10 === 0 }));
    expect(endless(slow, 10_000)).toBeUndefined();
  });

  it('waits for ever where it had nothing to do for a minute, but for timers that go off', () => {
    const idle = looks(MINUTE, (i) => ({ processorMs: 700 + i, runs: i % 25 === 0 }));
    expect(endless(idle.slice(1), 1_000)).toBeUndefined();
    expect(endless(idle, 1_000)).toBe('waits');
    const busyBefore = looks(MINUTE, () => ({ processorMs: 0, runs: true }));
    expect(endless([...busyBefore, ...idle], 1_000)).toBe('waits');
  });
});
