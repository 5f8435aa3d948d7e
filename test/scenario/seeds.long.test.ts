import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadScenario } from '../../src/scenario/parse.ts';
import { runScenario } from '../../src/scenario/runner.ts';

const DIR = join(import.meta.dirname, '../../fixtures/scenarios');

describe('our scenarios', () => {
  it.each(['coming_going', 'replace', 'reversal', 'frame_pointer'])(
    'see what they expect with other seeds too: %s',
    async (name) => {
      for (const seed of [2, 3, 4]) {
        const { expectations } = await runScenario(loadScenario(join(DIR, `${name}.yaml`)), { seed });
        expect(expectations.length).toBeGreaterThan(0);
        expect(expectations.filter((one) => !one.ok)).toEqual([]);
      }
    },
  );
});
