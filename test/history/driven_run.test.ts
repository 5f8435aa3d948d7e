// A run that a debugger stops, looks at and has go on is the run that nobody has touched.

import { afterEach, describe, expect, it } from 'vitest';
import { DrivenRun, scenarioProgram } from '../../src/history/driven_run.ts';
import { runToTime } from '../../src/history/moments.ts';
import { Lookout } from '../../src/history/points.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import { loadScenario } from '../../src/scenario/parse.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import { traceLine } from '../../src/scenario/trace.ts';

const SCENARIO = loadScenario('fixtures/scenarios/explore_gap.yaml');
const SEED = { schedule: 's3' };

let run: DrivenRun | undefined;
afterEach(() => run?.close());

/** Every event of the run as nobody disturbs it. */
async function undisturbed(): Promise<string[]> {
  const lines: string[] = [];
  await runScenario(SCENARIO, { ...SEED, observers: [{ event: (event) => lines.push(traceLine(event)) }] });
  return lines;
}

async function driven(): Promise<{ run: DrivenRun; lines: string[] }> {
  const lines: string[] = [];
  const observers = [{ event: (event: KernelEvent) => lines.push(traceLine(event)) }];
  run = await DrivenRun.boot(scenarioProgram(SCENARIO, { ...SEED, observers }));
  return { run, lines };
}

const position = (one: DrivenRun): number => one.machine.inspect.executor.instructions;

describe('a run that is driven', () => {
  it('has the same trace when it is stopped at some thousand instructions', async () => {
    const expected = await undisturbed();
    const { run, lines } = await driven();
    for (let at = 0; run.over === undefined; at += 3331) await run.go(at);
    expect(lines).toEqual(expected);
    expect(run.over).toMatch(/^the scenario is over: \d+ of \d+ expectations met$/);
  });

  it('has the same trace when it stops at break- and watchpoints', async () => {
    const expected = await undisturbed();
    const { run, lines } = await driven();
    const lookout = new Lookout(run.machine);
    let met = 0;
    lookout.onMet = () => ++met > 0;
    const { symbols } = run.machine.inspect.core;
    const [handler, patched] = ['klp_ftrace_handler', 'cmdline_proc_show'].map((name) =>
      symbols.require(name),
    );
    lookout.set([handler, patched], [{ addr: patched, size: 5, access: 'write' }]);
    while (run.over === undefined) await run.go(Number.POSITIVE_INFINITY);
    expect(met).toBeGreaterThan(50);
    expect(lines).toEqual(expected);
  });

  it('stops at the very instruction that it is told', async () => {
    const { run } = await driven();
    for (const at of [1, 2, 1000, 1001, 54_321]) {
      await run.go(at);
      expect(position(run)).toBe(at);
    }
  });

  it('stops at a moment of virtual time: the instruction before was executed earlier', async () => {
    const { run } = await driven();
    await runToTime(run, 120e6);
    expect(run.machine.now()).toBeGreaterThanOrEqual(120e6);
    const at = position(run);
    run.close();
    const again = (await driven()).run;
    await again.go(at - 1);
    expect(again.machine.now()).toBeLessThan(120e6);
  });
});
