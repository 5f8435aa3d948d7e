// klpemu compare on the fixtures: the counts that docs/bundle.md argues with.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readWorkload, tableOf } from '../../src/cli/compare.ts';
import { runModel } from '../../src/cli/compare_run.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/bundles');

async function both(name: string) {
  const work = readWorkload(join(FIXTURES, `${name}.yaml`));
  const classic = await runModel(work, 'classic');
  const bundle = await runModel(work, 'bundle');
  return { classic, bundle, table: tableOf(work, classic, bundle) };
}

describe('what the comparison must show', () => {
  it.each(['init', 'middle', 'reload', 'callback', 'asked'])(
    'no original code of a patched module and no special path in the bundle model: %s',
    async (name) => {
      const { classic, bundle } = await both(name);
      expect(bundle.originalInstructions).toBe(0);
      expect(bundle.lateRelocations + bundle.notifiers + bundle.besideTransition).toBe(0);
      expect(classic.notifiers).toBeGreaterThan(0);
    },
  );

  it('a module loaded in the middle of a transition is delayed in one model only', async () => {
    const { classic, bundle, table } = await both('middle');
    expect(classic.delays).toEqual([]);
    expect(bundle.delays).toHaveLength(1);
    expect(table).toContain('loads and unloads delayed');
  });

  it('a thread that has not switched runs original code of a module that came after the patch', async () => {
    const { classic } = await both('asked');
    expect(classic.originalInstructions).toBeGreaterThan(0);
  });

  it('a patched module that comes again is relocated late each time in the classic model, never in bundles', async () => {
    const { classic, bundle } = await both('reload');
    expect(classic.failed).toEqual([]);
    expect(classic.lateRelocations).toBe(3);
    expect(bundle.failed).toEqual([]);
    expect(bundle.lateRelocations).toBe(0);
  });
});
