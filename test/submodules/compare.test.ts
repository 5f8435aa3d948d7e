// The scenarios of docs/submodules.md, under the model of per-object modules and the kernel's own.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readWorkload } from '../../src/compare/comparison.ts';
import { runModel } from '../../src/compare/run.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');

describe('klpemu compare with per-object modules', () => {
  it('an uber module that is split says what it says whole, with state that its modules share', async () => {
    const work = readWorkload(join(FIXTURES, 'split/submodules.yaml'));
    expect(work.models).toEqual(['classic', 'bundle', 'per-object modules']);
    const [whole, split] = [await runModel(work, 'classic'), await runModel(work, 'per-object modules')];
    expect(split.said).toEqual(whole.said);
    expect(split.failed).toEqual([]);
    expect(split.originalRuns).toBe(0);
    expect([split.lateRelocations, whole.lateRelocations]).toEqual([0, 12]);
    expect(split.modules).toEqual(
      expect.arrayContaining(['patch1', 'patch1__klpsplit_t1', 'patch1__klpsplit_t3']),
    );
  });

  it.each([
    ['asked', ['load klpbundle_core: 17']],
    ['callback', ['load klpbundle_mid: 22']],
    ['reload', []],
  ])('submodules_%s.yaml', async (name, failed) => {
    const work = readWorkload(join(FIXTURES, `bundles/submodules_${name}.yaml`));
    const run = await runModel(work, 'per-object modules');
    expect(run.failed).toEqual(failed);
    expect(run.originalRuns).toBe(0);
  });
});
