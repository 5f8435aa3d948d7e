// klpemu compare on the fixtures: the counts that docs/bundle.md argues with.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { type Shown, tableOf } from '../../src/cli/compare/compare.ts';
import { readWorkload } from '../../src/compare/comparison.ts';
import { type Measures, runModel } from '../../src/compare/run.ts';

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
  const folder = name === 'split' ? 'split' : 'bundles';
  const work = readWorkload(join(ROOT, 'fixtures', folder, `${name}.yaml`));
  const classic = await runModel(work, 'classic', stride);
  const bundle = await runModel(work, 'bundle', stride);
  const shown: Shown[] = [
    { model: 'classic', measures: classic },
    { model: 'bundle', measures: bundle },
  ];
  return { classic, bundle, table: tableOf(work, shown) };
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
  'split',
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

  it('what is read of a patch module for several objects is what is read of its split', async () => {
    const { classic, bundle, table } = await both('split');
    expect(classic.said).toHaveLength(3);
    // Of a replacement: originals say less than a hundred.
    for (const text of classic.said) expect(text).toMatch(/^a \d{4}$/m);
    expect(bundle.said).toEqual(classic.said);
    expect(table).toMatch(/^files read \(3\) that say something else than under classic +0 +0$/m);
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
  const steps = 'steps:\n  - load: klpbundle_core\n  - patch: [klpbundle_p1_core]\n  - settle: true\n';
  const read = (modules: readonly string[]) => {
    const file = join(dir, 'work.yaml');
    writeFileSync(
      file,
      `name: packed\nmodels: [classic, bundle]\nmodules: [${modules.join(', ')}]\n${steps}`,
    );
    return readWorkload(file, { allowFiles: true });
  };
  const names = ['klpbundle_core', 'klpbundle_p1_core'];
  const packed = names.map((name) => `${name.replace('_', '-')}.ko.gz`);

  it('measures the same as one of the modules unpacked', async () => {
    const plain = read(names.map((name) => relative(dir, join(MODULES, `${name}.ko`))));
    for (const [i, name] of names.entries())
      writeFileSync(join(dir, packed[i]), gzipSync(readFileSync(join(MODULES, `${name}.ko`))));
    const work = read(packed);
    for (const model of ['classic', 'bundle'] as const) {
      const measured = await runModel(work, model);
      expect(measured.failed).toEqual([]);
      expect(measured).toEqual(await runModel(plain, model));
    }
  });

  it('is refused where one cannot be unpacked, with the line', () => {
    writeFileSync(join(dir, packed[1]), gzipSync(Buffer.alloc(1)));
    const cut = gzipSync(readFileSync(join(MODULES, 'klpbundle_core.ko'))).subarray(0, 900);
    writeFileSync(join(dir, packed[0]), cut);
    expect(() => read(packed)).toThrow(/work\.yaml:3:11: modules\[0\]: .*core\.ko\.gz: cannot be unpacked: /);
  });
});

describe('where it ends', () => {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-compare-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'work.yaml');
  const modules = ['core', 'mid'].map((name) => relative(dir, join(MODULES, `klpbundle_${name}.ko`)));
  const work = (step: string) =>
    `models: [classic, bundle]\nmodules: [${modules.join(', ')}]\nsteps:\n  ${step}\n`;

  it('compares nothing where no step succeeds, and ends with 1; with 0 where one does', () => {
    spawnSync(process.execPath, ['scripts/run.mjs', 'build', '--no-types'], { cwd: ROOT, stdio: 'inherit' });
    const run = (step: string): number | null => {
      writeFileSync(file, work(step));
      const args = ['dist/cli/main.js', 'compare', '--allow-files', file];
      return spawnSync(process.execPath, args, { cwd: ROOT }).status;
    };
    // No such module is loaded.
    expect(run('- unload: klpbundle_core')).toBe(1);
    expect(run('- load: klpbundle_core\n  - unload: klpbundle_mid')).toBe(0);
    expect(run('- load: klpbundle_nowhere')).toBe(2);
  });
});

describe('docs/bundle.md', () => {
  const text = readFileSync(join(ROOT, 'docs/bundle.md'), 'utf8');
  /** Tables, by the workload that was named last before them. */
  const tables = [
    ...text.matchAll(
      /`(?:fixtures\/(?:bundles|split)\/)?(\w+)\.yaml`(?:(?!\.yaml`)[\s\S])*?\n\n((?: {4}.*\n)+)/g,
    ),
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
