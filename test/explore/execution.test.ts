// One run under a plan: its points, what is done there, and the schedule that does it again.

import { describe, expect, it } from 'vitest';
import { type Execution, execute, learnPoints } from '../../src/explore/execution.ts';
import { QUIET } from '../../src/explore/plan.ts';
import { shrink } from '../../src/explore/shrink.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import { fixture } from './explore.ts';

const scenario = fixture('explore_gap');
const { points } = await learnPoints(scenario);
const first = await execute(scenario, points, { base: QUIET, decisions: [] }, { hash: true });

/** The last time that the reader comes to a point before the patch is disabled. */
function lastBeforeDisable(pattern: RegExp): number {
  const disabled = first.visits.findIndex(({ point }) => point === 'enabled_store');
  const reader = first.visits.find(({ point }) => point.startsWith('klp_ftrace_handler'))?.pid;
  return first.visits.findLastIndex(
    (one, i) => i < disabled && one.pid === reader && pattern.test(one.point),
  );
}

describe('points', () => {
  it('are where livepatch data is accessed, found by running', () => {
    const byPoint = new Set(first.visits.map(({ point }) => point.replace(/\+.*/, '')));
    for (const name of [
      'klp_ftrace_handler',
      'klp_update_patch_state',
      'ftrace_trampoline',
      'klp_enable_patch',
    ])
      expect(byPoint).toContain(name);
    const touched = [...points.text.values()].flatMap((one) => Object.keys(one));
    expect(new Set(touched)).toEqual(
      new Set(['klp_func', 'klp_ops', 'klp_target_state', 'patch_state', 'thread_info.flags']),
    );
    expect(Object.keys(points.host.get('enabled_store') ?? {})).toContain('livepatch');
  });
});

describe('an execution', () => {
  it('without decisions is the run of the quiet choices, and finds nothing', async () => {
    const report = await runScenario(scenario, { schedule: QUIET });
    expect(report.ok).toBe(true);
    expect(first.problems).toEqual([]);
    expect(first.schedule).toBe(QUIET);
    const again = await execute(scenario, points, first.plan, { hash: true });
    expect(again.hash).toBe(first.hash);
  });

  it('that preempts a task behind the choice of its version finds the gap; its schedule runs it again', async () => {
    const visit = lastBeforeDisable(/^klp_ftrace_handler/);
    const found = await execute(scenario, points, { base: QUIET, decisions: [{ visit, kind: 'p' }] });
    expect(found.problems).toMatchObject([{ kind: 'gap' }]);
    expect(found.problems[0].text).toMatch(
      /^reader:\d+ runs klpdemo_new_cmdline_proc_show \[klpdemo_patch_vmlinux\] for cmdline_proc_show\(\): chosen before/,
    );
    const report = await runScenario(scenario, { schedule: found.schedule });
    expect(report.gaps).toMatchObject([{ comm: 'reader', func: 'cmdline_proc_show' }]);
    const replayed = await execute(scenario, points, { base: found.schedule, decisions: [] });
    expect(replayed.problems).toEqual(found.problems);
  });

  it('in which a CPU stands still while no other has anything to do is not run to its end', async () => {
    const small = fixture('explore_coming');
    const learnt = await learnPoints(small);
    const whole = await execute(small, learnt.points, first.plan);
    const runs: Execution[] = [];
    for (let visit = 0; visit < whole.visits.length && !runs.at(-1)?.pointless; visit++)
      runs.push(await execute(small, learnt.points, { base: QUIET, decisions: [{ visit, kind: 'h' }] }, {}));
    expect(runs.at(-1)).toMatchObject({ pointless: true, problems: [] });
    expect(runs.at(-1)?.instructions).toBeLessThan(whole.instructions);
  });

  it('does not end while a task is kept from the CPU: what it does next is seen, and its schedule says so to who runs it', async () => {
    const machines: Machine[] = [];
    const visit = first.visits.findLastIndex(({ point }) => !point.includes('klp_'));
    const plan = { base: QUIET, decisions: [{ visit, kind: 'p' as const }] };
    const late = await execute(scenario, points, plan, { prepare: (machine) => void machines.push(machine) });
    expect(late.schedule).not.toBe(QUIET);
    expect(late.instructions).toBeGreaterThan(first.instructions);
    expect(machines.map((machine) => machine.holds())).toEqual([false]);
    const report = await runScenario(scenario, { schedule: late.schedule });
    expect(
      report.expectations.filter(({ ok, expected = '' }) => !ok && expected.includes('schedule')),
    ).toEqual([]);
  });

  it('is made small: what it does not need goes', async () => {
    const run = (plan: Execution['plan']) => execute(scenario, points, plan);
    const needed = { visit: lastBeforeDisable(/^klp_ftrace_handler/), kind: 'p' as const };
    const one = await run({ base: QUIET, decisions: [needed] });
    const late = { visit: one.visits.length - 1, kind: 'p' as const };
    const both = await run({ base: QUIET, decisions: [needed, late] });
    expect(both.problems.map(({ kind }) => kind)).toEqual(['gap']);
    expect((await shrink(both, run)).plan.decisions).toEqual([needed]);
  });
});
