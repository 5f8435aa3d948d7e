// Scenarios with `models`: what they may say, and how what is wrong with one is told.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readWorkload } from '../../src/compare/comparison.ts';
import { ScenarioError } from '../../src/scenario/error.ts';
import { loadComparison, loadScenario } from '../../src/scenario/parse.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = join(ROOT, 'fixtures/modules');

describe('a workload that is wrong', () => {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-compare-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'work.yaml');
  const problemsIn = (text: string): string => {
    writeFileSync(file, text);
    try {
      readWorkload(file, { allowFiles: true });
    } catch (error) {
      expect(error).toBeInstanceOf(ScenarioError);
      return (error as Error).message.replaceAll(file, 'work.yaml');
    }
    throw new Error('it was read');
  };
  const modules = ['core', 'mid', 'p1_core', 'p1_top']
    .map((name) => relative(dir, join(MODULES, `klpbundle_${name}.ko`)))
    .join(', ');
  const work = (step: string) => `models: [classic, bundle]\nmodules: [${modules}]\nsteps:\n  ${step}\n`;

  it.each([
    ['- sleep: 1s', "4:5: steps[0].sleep: unknown key 'sleep'"],
    ['- wait: soon', "4:11: steps[0].wait: 'soon' is not a duration with a unit"],
    [
      '- load: klpbundle_core\n    fault: []',
      "5:5: steps[0].fault: unknown key 'fault'; did you mean 'faults'?",
    ],
    ['- load: klpbundle_core\n    faults: [{ fail: everything }]', '5:22: steps[0].faults[0].fail: must be '],
    ['- load: klpbundle_core\n    faults: often', "5:13: steps[0].faults: must be 'every', not 'often'"],
    [
      '- load: klpbundle_core\n    faults: [{ fail: kmalloc, nth: 0 }]',
      '5:36: steps[0].faults[0].nth: must be at least 1',
    ],
    ['- patch: []', '4:12: steps[0].patch: must have at least one module'],
    [
      '- patch: klpbundle_p1_core\n    params: a=1',
      "5:13: steps[0].params: 'params' does not go with 'patch'",
    ],
    [
      '- load: klpbundle_core\n    background: true\n    faults: every',
      '6:5: steps[0].faults: a step in the background can have no faults here',
    ],
    [
      '- patch: [klpbundle_p1_core, nosuch]',
      "4:32: steps[0].patch[1]: no module 'nosuch' in 'modules', and not the path of one (.ko)",
    ],
    ['- patch: klpbundle_core', '4:12: steps[0].patch: klpbundle_core.ko is no livepatch module'],
    [
      '- patch: [klpbundle_p1_top]',
      "4:13: steps[0].patch[0]: 'klpbundle_p1_top' is for 'klpbundle_top', which is to be in 'modules'",
    ],
    ['- load: klpbundle_core\n    exit: EBUSY', "5:5: steps[0].exit: 'exit' does not go with 'models': "],
    ['- check: { mixed: 0 }', "4:5: steps[0].check: 'check' does not go with 'models': "],
  ])('is told with file, line and column: %s', (step, wrong) => {
    expect(problemsIn(work(step))).toContain(`work.yaml:${wrong}`);
  });

  it('names two models, and leaves the machine without one', () => {
    expect(problemsIn('models: [bundle]\nsteps: []\n')).toBe(
      'work.yaml:1:9: models: must be two models or more, each once',
    );
    expect(problemsIn('models: [classic, bundel]\n')).toBe(
      "work.yaml:1:19: models[1]: must be 'classic', 'bundle' or 'per-object modules', not 'bundel'",
    );
    expect(problemsIn('models: [classic, bundle]\nmachine: { model: bundle }\n')).toContain(
      "work.yaml:2:12: machine.model: 'model' does not go with 'models'",
    );
  });

  it('is told whole: every step that is wrong', () => {
    expect(problemsIn(work('- load: nosuch\n  - patch: nosuch')).split('\n')).toHaveLength(2);
  });

  it('is run by the one command, and a scenario without models by the other: the right one is named', () => {
    expect(problemsIn('modules: []\nsteps: []\n')).toBe(
      "work.yaml:1:1: this scenario has no 'models' to compare: klpemu run work.yaml",
    );
    const workload = join(ROOT, 'fixtures/bundles/asked.yaml');
    expect(loadComparison(workload).models).toEqual(['classic', 'bundle']);
    expect(() => loadScenario(workload)).toThrow(
      `${workload}:5:9: models: this scenario compares models: klpemu compare ${workload}`,
    );
  });

  it('has steps that a scenario without models has not', () => {
    writeFileSync(file, 'steps:\n  - settle: true\n  - read: /proc/cmdline\n    faults: every\n');
    const why = "is for a scenario with 'models' (klpemu compare)";
    expect(() => loadScenario(file)).toThrow(
      `${file}:2:5: steps[0].settle: 'settle' ${why}\n${file}:4:5: steps[1].faults: 'every' ${why}`,
    );
  });
});
