// Both engines run every scenario of the project, and sequences, to the same trace, byte for byte: own address spaces are
// off, since Unicorn has one.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineName } from '../../src/arch/engine.ts';
import { readWorkload } from '../../src/compare/comparison.ts';
import { runModel } from '../../src/compare/run.ts';
import { Machine } from '../../src/machine/machine.ts';
import { loadScenario } from '../../src/scenario/parse.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import type { Model, Scenario } from '../../src/scenario/scenario.ts';
import { traceLine } from '../../src/scenario/trace.ts';
import { NO_UNICORN } from '../guest/unicorn_there.ts';
import { runSequence, type Sequence, sequence } from '../properties/sequences.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');
const filesOf = (folder: string): string[] =>
  readdirSync(join(FIXTURES, folder))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `${folder}/${name}`);
const scenarios = filesOf('scenarios');
const comparisons = ['bundles', 'split'].flatMap(filesOf);
const SEQUENCES = 60;
const SEEDS = [1, 7];
/** Of the calls that are made to fail, each on a machine of its own: so manieth. */
const STRIDE = 100;

/** Every event, and how it ended: expectations, checks, counters. */
async function traceOf(scenario: Scenario, engine: EngineName, seed: number): Promise<string[]> {
  const lines: string[] = [];
  const { expectations, checks, counters, failure } = await runScenario(scenario, {
    seed,
    observers: [{ event: (event) => void lines.push(traceLine(event)) }],
    boot: (options) => Machine.boot({ ...options, engine, protection: false }),
  });
  return [...lines, JSON.stringify({ expectations, checks, counters, failure })];
}

async function eventsOf(one: Sequence, engine: EngineName): Promise<string[]> {
  const lines: string[] = [];
  const tally = await runSequence(one, (event) => void lines.push(traceLine(event)), {
    engine,
    protection: false,
  });
  return [...lines, JSON.stringify(tally)];
}

describe.skipIf(NO_UNICORN)(`the core and Unicorn (${NO_UNICORN ?? 'here'}) have the same trace`, () => {
  it.each(scenarios)('of %s', async (file) => {
    const scenario = loadScenario(join(FIXTURES, file));
    for (const seed of SEEDS) {
      const core = await traceOf(scenario, 'core', seed);
      expect(core.length).toBeGreaterThan(10);
      expect(core).toEqual(await traceOf(scenario, 'unicorn', seed));
    }
  });

  it.each(comparisons)('of %s, under each of its models', async (file) => {
    const work = readWorkload(join(FIXTURES, file), {});
    const measured = (engine: EngineName, model: Model) =>
      runModel({ ...work, machine: { ...work.machine, engine, protection: false } }, model, STRIDE);
    for (const model of work.models)
      expect(await measured('core', model), model).toEqual(await measured('unicorn', model));
  });

  it(`of ${SEQUENCES} sequences`, async () => {
    for (const one of fc.sample(sequence, { seed: 10, numRuns: SEQUENCES }))
      expect(await eventsOf(one, 'core')).toEqual(await eventsOf(one, 'unicorn'));
  });
});
