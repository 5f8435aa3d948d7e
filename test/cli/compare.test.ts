// klpemu compare on the fixtures: the counts that docs/bundle.md argues with.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tableOf } from '../../src/cli/compare.ts';
import { type Measures, runModel } from '../../src/cli/compare_run.ts';
import { readWorkload } from '../../src/cli/compare_workload.ts';
import { UsageError } from '../../src/cli/exit.ts';

const ROOT = join(import.meta.dirname, '../..');

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

describe('a workload that is wrong', () => {
  it.each([
    ['- sleep: 1s', 'steps.0: a step is one of load, unload, enable, wait, settle'],
    ['- wait: soon', 'steps.0.wait: no duration'],
    ['- load: klpbundle_core\n    colour: blue', "steps.0: unknown key 'colour'"],
    ['- load: klpbundle_core\n    faults: [{ fail: everything }]', 'steps.0.faults.0.fail: '],
    ['- load: klpbundle_core\n    faults: [{ fail: kmalloc, nth: 0 }]', 'steps.0.faults.0.nth: '],
    ['- enable: []', 'steps.0.enable: '],
    [
      '- load: klpbundle_core\n    background: true\n    faults: every',
      'steps.0: a step in the background can have no faults',
    ],
  ])('is told with its place: %s', (step, wrong) => {
    const dir = mkdtempSync(join(tmpdir(), 'klpemu-compare-'));
    const file = join(dir, 'work.yaml');
    writeFileSync(file, `name: x\nmodules: .\nsteps:\n  ${step}\n`);
    try {
      expect(() => readWorkload(file)).toThrow(UsageError);
      expect(() => readWorkload(file)).toThrow(`${file}: ${wrong}`);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('or asks for a module that is not there', async () => {
    const steps = [{ load: 'nosuch' }];
    const work = { name: 'x', modules: join(ROOT, 'fixtures/modules'), steps };
    await expect(runModel(work, 'bundle')).rejects.toThrow(/nosuch\.ko: it cannot be read \(ENOENT\)/);
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
