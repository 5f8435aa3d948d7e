import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadScenario, parseScenario } from '../../src/scenario/parse.ts';
import type { RunReport } from '../../src/scenario/report.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import { traceLine } from '../../src/scenario/trace.ts';

const DIR = join(import.meta.dirname, '../../fixtures/scenarios');
const fixture = (name: string) => loadScenario(join(DIR, `${name}.yaml`));
/** It takes seconds: run once for all who look at it. */
let demoReport: Promise<RunReport> | undefined;
const demo = () => {
  demoReport ??= runScenario(fixture('demo'));
  return demoReport;
};

describe('our scenarios', () => {
  const names = readdirSync(DIR).map((file) => file.replace(/\.yaml$/, ''));

  it.each(names)('see what they expect: %s', async (name) => {
    const { ok, expectations, failure } = await (name === 'demo' ? demo() : runScenario(fixture(name)));
    expect(expectations.filter((one) => !one.ok)).toEqual([]);
    expect(failure).toBeUndefined();
    expect(ok).toBe(true);
  });
});

describe('the report of the demo', () => {
  it('has the sites with their bytes, who was blocked where, and each switch with its way', async () => {
    const report = await demo();
    const round = report.sites.filter((site) => site.where.startsWith('klpdemo_round+0x0'));
    expect(round.map((site) => [site.what, site.before[0], site.after[0], site.handler])).toEqual([
      ['register', 0x0f, 0xe8, 'klp_ftrace_handler'],
      ['unregister', 0xe8, 0x0f, 'klp_ftrace_handler'],
    ]);
    const [patching, unpatching] = report.transitions;
    expect(patching).toMatchObject({ target: 1, outcome: 'complete', forced: false });
    expect(unpatching).toMatchObject({ target: 0, outcome: 'complete' });
    const worker = patching.blocked.find((one) => one.comm === 'klpdemo_worker');
    expect(worker).toMatchObject({ func: 'klpdemo_round', why: 'is sleeping on function klpdemo_round' });
    expect(
      worker?.stack.some((line) => /^\[<0>\] klpdemo_round\+0x\w+\/0x\w+ \[klpdemo_target\]$/.test(line)),
    ).toBe(true);
    const ways = new Set(report.transitions.flatMap((one) => one.switches.map((s) => s.way)));
    expect([...ways].sort()).toEqual(['idle loop', 'kernel exit', 'stack check']);
    expect(patching.switches).toHaveLength(patching.tasks);
    expect(report.counters?.mixed).toBe(0);
    expect(report.checks.find((check) => check.name.includes('no task in replaced code'))?.count).toBe(2);
  });
});

describe('a run with one seed', () => {
  async function trace(seed: number): Promise<string[]> {
    const lines: string[] = [];
    const observer = { event: (event: Parameters<typeof traceLine>[0]) => void lines.push(traceLine(event)) };
    await runScenario(fixture('coming_going'), { seed, observers: [observer] });
    return lines;
  }

  it('gives the same trace each time, and another seed another', async () => {
    const first = await trace(11);
    expect(first.length).toBeGreaterThan(500);
    expect(await trace(11)).toEqual(first);
    expect(await trace(12)).not.toEqual(first);
  });

  it('goes the same way whoever observes it', async () => {
    const plain = await runScenario(fixture('coming_going'), { seed: 11 });
    const observed = await runScenario(fixture('coming_going'), {
      seed: 11,
      observers: [{ event: () => {}, flush: () => new Promise((resolve) => setImmediate(resolve)) }],
    });
    expect(observed.dmesg).toEqual(plain.dmesg);
    expect(observed.endedAt).toBe(plain.endedAt);
  });
});

describe('a check of a site', () => {
  it('that looks at the endbr64 of a function says where its fentry site is', async () => {
    const text = `steps:
  - load: ../modules/ibt/klpdemo_cold.ko
  - check: { site: { at: 'klpdemo_cold:klpdemo_step', calls: klp_ftrace_handler } }
`;
    const { expectations } = await runScenario(parseScenario(text, join(DIR, 'test.yaml')));
    expect(expectations.at(-1)?.seen).toBe(
      'f3 0f 1e fa 0f: an endbr64, the fentry site is behind it, at +0x4',
    );
  });
});

describe('what goes wrong in the guest', () => {
  const run = (text: string) => runScenario(parseScenario(text, join(DIR, 'test.yaml')));

  it('fails the run when it is an oops that nobody expects', async () => {
    const report = await run('steps: [{ load: ../modules/klpdemo_bad_null.ko, exit: killed }]');
    expect(report.failure?.code).toBe('EOOPS');
    expect(report.failure?.message).toMatch(
      /^kernel oops in insmod:\d+ at klpdemo_store\+0x5\/0x15 \[klpdemo_bad_null\]: Oops: 0002/,
    );
  });

  it('is found before it when a program is asked for that there is none of, or whose arguments are wrong', () => {
    const problem = (task: string) => {
      try {
        parseScenario(`tasks: [{ ${task} }]`, 'x.yaml');
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(problem('program: emacs')).toMatch(/^x\.yaml:1:20: .*no program 'emacs'; there are: cat .*reader/);
    expect(problem('program: readr')).toMatch(/no program 'readr'; did you mean 'reader'\?$/);
    expect(problem('program: reader, args: [/proc/cmdline]')).toMatch(
      /MS is missing; usage: reader PATH MS \[ROUNDS\]$/,
    );
    expect(problem('program: sleep, args: [a]')).toMatch(/MS must be a whole number, not 'a'/);
    expect(problem('program: spin, args: [1]')).toMatch(/'1' is one argument too many; usage: spin$/);
    expect(problem('program: sleep, args: [1000, 3]')).toBeUndefined();
  });

  it('ends tasks that are killed', async () => {
    const report = await run(`
tasks: [{ name: s, program: sleep, args: [10000] }, { name: hog, program: spin, count: 2 }]
steps: [{ at: 20ms, kill: s }, { at: 40ms, kill: hog, signal: 15 }, { wait: 50ms }]
expect:
  exit: [{ task: s, status: killed }, { task: hog, status: killed }]
`);
    expect(report.expectations).toEqual([
      expect.objectContaining({ ok: true }),
      expect.objectContaining({ ok: true }),
    ]);
  });
});
