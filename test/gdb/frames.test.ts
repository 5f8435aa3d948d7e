import { describe, expect, it } from 'vitest';
import { compareFrames } from './frames.ts';
import { noGdb } from './gdb.ts';

describe.skipIf(noGdb)(`frames of gdb's own unwinder${noGdb ? ` (${noGdb})` : ''}`, () => {
  it('are those of the reliable trace of every task, before, while and after the demo patches', async () => {
    const { traces, frames } = await compareFrames('demo', [30, 1_809_340, 1_822_590, 5_000_001]);
    expect(traces).toBeGreaterThan(50);
    expect(frames).toBeGreaterThan(300);
  });
});
