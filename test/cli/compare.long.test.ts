// klpemu compare on the fixtures: the counts that docs/bundle.md argues with.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { tableOf } from '../../src/cli/compare/compare.ts';
import { type Measures, runModel } from '../../src/cli/compare/run.ts';
import { readWorkload } from '../../src/cli/compare/workload.ts';
import { ScenarioError } from '../../src/scenario/error.ts';
import { loadScenario } from '../../src/scenario/parse.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = join(ROOT, 'fixtures/modules');

interface Compared {
  readonly classic: Measures;
  readonly bundle: Measures;
  readonly table: string;
}

const done = new Map<string, Promise<Compared>>();

/** @param stride of workloads in which each call that can fail does: every how many */
function both(name: string, stride = 1): Promise<Compared> {
  const compared = done.get(name) ?? compareBoth(name, stride);
  done.set(name, compared);
  return compared;
}

async function compareBoth(name: string, stride: number): Promise<Compared> {
  const work = readWorkload(join(ROOT, 'fixtures/bundles', `${name}.yaml`));
  const classic = await runModel(work, 'classic', stride);
  const bundle = await runModel(work, 'bundle', stride);
  return { classic, bundle, table: tableOf(work, classic, bundle) };
}

const WORKLOADS = [
  'init',
  'middle',
  'reload',
  'callback',
  'asked',
  'slow_init',
  'faults',
  'late_faults',
] as const;

describe('what the comparison must show', () => {
  it.each(WORKLOADS)(
    'no original code of a patched module and no special path in the bundle model: %s',
    async (name) => {
      const { classic, bundle } = await both(name);
      expect([bundle.originalRuns, bundle.originalInstructions]).toEqual([0, 0]);
      expect(bundle.lateRelocations + bundle.clearedRelocations).toBe(0);
      expect(bundle.notifiers + bundle.besideTransition).toBe(0);
      expect(classic.notifiers).toBeGreaterThan(0);
    },
  );

  it('a module loaded in the middle of a transition is delayed in one model only', async () => {
    const { classic, bundle, table } = await both('middle');
    expect(classic.delays).toEqual([]);
    expect(bundle.delays).toHaveLength(1);
    expect(bundle.delays[0]).toBeGreaterThan(1e8);
    expect([classic.insideTransition, bundle.insideTransition]).toEqual([1, 0]);
    expect(table).toMatch(/^loads and unloads delayed +0 +1$/m);
  });

  it('a transition is delayed by the load of a module in one model only', async () => {
    const { classic, bundle } = await both('slow_init');
    expect(classic.transitionDelays).toEqual([]);
    expect(bundle.transitionDelays).toHaveLength(1);
    expect(bundle.transitionDelays[0]).toBeGreaterThan(1e8);
  });

  it('a thread that has not switched runs original code of a module that came after the patch', async () => {
    const { classic } = await both('asked');
    expect(classic.originalRuns).toBe(1);
    expect(classic.originalInstructions).toBeGreaterThan(0);
  });

  it('a patched module that comes again is relocated late each time in the classic model, and cleared', async () => {
    const { classic, bundle } = await both('reload');
    expect([classic.failed, classic.lateRelocations, classic.clearedRelocations]).toEqual([[], 3, 2]);
    expect([bundle.failed, bundle.lateRelocations, bundle.clearedRelocations]).toEqual([[], 0, 0]);
  });
});

describe('the same faults under both models', () => {
  it('the second of two patches fails: the classic model keeps the first, and cannot enable both again', async () => {
    const { classic, bundle } = await both('faults');
    const fault = 'klp_pre_patch_callback of klpbundle_core';
    expect([classic.injected, bundle.injected]).toEqual([[fault], [fault]]);
    expect(classic.left[0]).toContain('patch klpbundle_p1_vmlinux');
    expect(bundle.left).toEqual([['nothing']]);
    expect(classic.failed).toHaveLength(2);
    expect(bundle.failed).toHaveLength(1);
    expect([classic.modules.length, bundle.modules.length]).toEqual([2, 3]);
  });

  it('a late load that fails leaves nothing in either, and the next one works', async () => {
    for (const { injected, left, failed, modules } of Object.values(await both('late_faults')).slice(0, 2)) {
      expect(injected).toHaveLength(4);
      expect(left).toEqual([['nothing'], ['nothing'], ['nothing'], ['nothing']]);
      expect(failed).toHaveLength(4);
      expect(modules).toContain('klpbundle_core');
    }
  });

  it('every so many failure points of enabling: half of them leave something in one model, none in the other', async () => {
    const { classic, bundle, table } = await both('every_enable', 20);
    expect(classic.points.tried).toBeGreaterThan(4);
    expect(classic.points.leaving).toBeGreaterThan(1);
    expect(classic.points.lasting).toBe(classic.points.leaving);
    expect(classic.points.left[0]).toContain('patch klpbundle_p1_vmlinux');
    expect(bundle.points).toMatchObject({ leaving: 0, lasting: 0, left: [] });
    expect(table).toMatch(/^failure points, each in a run of its own +\d+ +\d+$/m);
  });
});

describe('a workload of packed modules', () => {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-compare-packed-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const steps = '  - load: klpbundle_core\n  - enable: [klpbundle_p1_core]\n  - settle: true\n';
  const read = (modules: string) => {
    writeFileSync(
      join(dir, 'work.yaml'),
      `name: packed\nmodules: ${relative(dir, modules) || '.'}\nsteps:\n${steps}`,
    );
    return readWorkload(join(dir, 'work.yaml'));
  };

  it('measures the same as one of the modules unpacked', async () => {
    const plain = read(MODULES);
    for (const name of ['klpbundle_core', 'klpbundle_p1_core']) {
      const file = `${name.replace('_', '-')}.ko.gz`;
      writeFileSync(join(dir, file), gzipSync(readFileSync(join(MODULES, `${name}.ko`))));
    }
    const packed = read(dir);
    for (const model of ['classic', 'bundle'] as const) {
      const measured = await runModel(packed, model);
      expect(measured.failed).toEqual([]);
      expect(measured).toEqual(await runModel(plain, model));
    }
  });

  it('is refused where one cannot be unpacked, with the line', () => {
    writeFileSync(join(dir, 'klpbundle-p1_core.ko.gz'), gzipSync(Buffer.alloc(1)));
    const cut = gzipSync(readFileSync(join(MODULES, 'klpbundle_core.ko'))).subarray(0, 900);
    writeFileSync(join(dir, 'klpbundle-core.ko.gz'), cut);
    expect(() => read(dir)).toThrow(
      /work\.yaml:4:11: steps\[0\]\.load: .*core\.ko\.gz: cannot be unpacked: /,
    );
  });
});

describe('a workload that is wrong', () => {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-compare-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const problemsIn = (text: string): string => {
    const file = join(dir, 'work.yaml');
    writeFileSync(file, text);
    try {
      readWorkload(file);
    } catch (error) {
      expect(error).toBeInstanceOf(ScenarioError);
      return (error as Error).message.replaceAll(file, 'work.yaml');
    }
    throw new Error('it was read');
  };
  const work = (step: string) => `name: x\nmodules: ${relative(dir, MODULES)}\nsteps:\n  ${step}\n`;

  it.each([
    ['- sleep: 1s', '4:5: steps[0]: a step is one of load, unload, enable, wait, settle'],
    ['- wait: soon', '4:11: steps[0].wait: no duration'],
    [
      '- load: klpbundle_core\n    colour: blue',
      "5:5: steps[0].colour: unknown key 'colour'; known here: load,",
    ],
    ['- load: klpbundle_core\n    faults: [{ fail: everything }]', '5:22: steps[0].faults[0].fail: must be '],
    [
      '- load: klpbundle_core\n    faults: [{ fail: kmalloc, nth: 0 }]',
      '5:36: steps[0].faults[0].nth: must be at least 1',
    ],
    ['- enable: []', '4:13: steps[0].enable: must '],
    [
      '- load: klpbundle_core\n    background: true\n    faults: every',
      '4:5: steps[0]: a step in the background can have no faults',
    ],
    ['- enable: [klpbundle_p1_core, nosuch]', '4:33: steps[0].enable[1]: no such file: '],
  ])('is told with file, line and column: %s', (step, wrong) => {
    expect(problemsIn(work(step))).toContain(`work.yaml:${wrong}`);
  });

  it('compares nothing where no step succeeds, and ends with 1; with 0 where one does', () => {
    spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
    const run = (step: string): number | null => {
      const file = join(dir, 'ends.yaml');
      writeFileSync(file, work(step));
      return spawnSync(process.execPath, ['dist/cli/main.js', 'compare', file], { cwd: ROOT }).status;
    };
    // No such module is loaded.
    expect(run('- unload: klpbundle_core')).toBe(1);
    expect(run('- load: klpbundle_core\n  - unload: klpbundle_mid')).toBe(0);
  });

  it('is told whole: every step that is wrong', () => {
    expect(problemsIn(work('- sleep: 1s\n  - wait: soon')).split('\n')).toHaveLength(2);
  });

  it('is no scenario, and no workload is one: the other command is named', () => {
    expect(problemsIn('modules: [a.ko]\nsteps: []\n')).toBe(
      'work.yaml:1:1: this is a scenario, not a workload of both models: klpemu run work.yaml',
    );
    const workload = join(ROOT, 'fixtures/bundles/asked.yaml');
    expect(() => loadScenario(workload)).toThrow(
      `${workload}:1:1: this is a workload of both models, not a scenario: klpemu compare ${workload}`,
    );
  });
});

describe('docs/bundle.md', () => {
  const text = readFileSync(join(ROOT, 'docs/bundle.md'), 'utf8');
  /** Tables, by the workload that was named last before them. */
  const tables = [
    ...text.matchAll(/`(?:fixtures\/bundles\/)?(\w+)\.yaml`(?:(?!\.yaml`)[\s\S])*?\n\n((?: {4}.*\n)+)/g),
  ]
    .map(([, name, block]) => ({ name, lines: block.split('\n').map(normal).filter(Boolean) }))
    .filter(({ lines }) => lines[0] === 'classic bundle');

  it('has a table of each workload that it argues with', () => {
    expect(tables.length).toBeGreaterThan(6);
  });

  it.each(tables.filter(({ name }) => !name.startsWith('every_')))(
    'prints of $name what klpemu compare prints',
    async ({ name, lines }) => {
      const printed = (await both(name)).table.split('\n').map(normal);
      expect(lines.filter((line) => !printed.some((other) => alike(line, other)))).toEqual([]);
    },
  );
});

function normal(line: string): string {
  return line.trim().replaceAll(/ +/g, ' ');
}

/** Times and sizes move a little with every change of the image; counts do not. */
function alike(line: string, other: string): boolean {
  const words = [line, other].map((text) => text.split(' '));
  return (
    words[0].length === words[1].length &&
    words[0].every((word, i) => word === words[1][i] || near(word, words[1][i]))
  );
}

function near(word: string, other: string): boolean {
  const measured = [word, other].map((text) =>
    Number(/^(\d+(?:ms)?|\d{4,})$/.exec(text)?.[0].replace('ms', '')),
  );
  return /ms$|^\d{4,}$/.test(word) && Math.abs(measured[0] - measured[1]) <= measured[0] / 10;
}
