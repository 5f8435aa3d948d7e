import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Narrator } from '../../src/cli/run/narrate.ts';
import type { Colors } from '../../src/cli/terminal.ts';
import { parseScenario } from '../../src/scenario/parse.ts';
import type { RunReport } from '../../src/scenario/report.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import { type Behaviour, FakeMachine } from './fake_machine.ts';

const FILE = join(import.meta.dirname, '../../fixtures/scenarios/test.yaml');

interface Ran {
  report: RunReport;
  machine: FakeMachine;
  /** `path: expected / seen` of the expectations that failed. */
  failed: string[];
}

async function run(text: string, behave: Behaviour = () => ({ ns: 1000 }), options = {}): Promise<Ran> {
  let machine: FakeMachine | undefined;
  const report = await runScenario(parseScenario(text, FILE), {
    boot: async (settings) => {
      machine = new FakeMachine(settings, behave);
      return machine;
    },
    ...options,
  });
  const failed = report.expectations.filter((one) => !one.ok);
  return {
    report,
    machine: machine as FakeMachine,
    failed: failed.map(({ path, expected, seen }) => `${path}: ${expected} / ${seen}`),
  };
}

describe('a run', () => {
  it('does each step when the one above it is done, at its time, or after a while', async () => {
    const { machine, report } = await run(
      `steps:
  - read: /a
  - read: /b
  - { at: 10ms, read: /c }
  - { after: 5ms, read: /d }
`,
      () => ({ ns: 2e6 }),
    );
    expect(machine.spawned).toEqual(['0 cat /a', '2000000 cat /b', '10000000 cat /c', '17000000 cat /d']);
    expect(report.ok).toBe(true);
    expect(machine.closed).toBe(true);
  });

  it('goes on below a step that is put in the background, and waits for it at the end', async () => {
    const { machine, report } = await run(
      'steps: [{ read: /slow, background: true }, { read: /b }]',
      ([, path]) => ({ ns: path === '/slow' ? 50e6 : 1e6 }),
    );
    expect(machine.spawned).toEqual(['0 cat /slow', '0 cat /b']);
    expect(report.endedAt).toBe(50e6);
  });

  it('starts tasks at their times, between steps and within them', async () => {
    const { machine } = await run(`tasks:
  - { program: pause, start: 3ms }
  - { program: spin, count: 2 }
steps: [{ wait: 10ms }]
`);
    expect(machine.spawned).toEqual(['0 spin', '0 spin', '3000000 pause']);
  });

  it('tells which action ended otherwise than it should, and what the kernel said meanwhile', async () => {
    const { failed, report } = await run('steps:\n  - { unload: x }\n  - { unload: y, exit: EBUSY }', () => ({
      ns: 1,
      exit: 16,
    }));
    expect(report.ok).toBe(false);
    expect(failed).toEqual(['steps[0]: rmmod x: exit 0 / EBUSY (16)']);
  });

  it('tells of output that is not as expected', async () => {
    const { failed } = await run(
      'steps: [{ read: /f, output: [one, \'/^t.o$/\'] }, { read: /f, output: [two, one] }, { read: /f, output: "one\\ntwo" }]',
      () => ({ ns: 1, stdout: 'one\ntwo\n' }),
    );
    expect(failed).toEqual(["steps[1].output: 'two', 'one' in the output of cat /f / one\ntwo"]);
  });

  it('is given up at its limit, and says what was not done', async () => {
    const { report } = await run('limit: 20ms\nsteps: [{ read: /never }]', () => ({ ns: 1e12 }));
    expect(report.failure).toEqual({
      code: 'ELIMIT',
      message: "the scenario's limit of 20ms is reached; not done: cat /never",
    });
    expect(report.ok).toBe(false);
  });

  it('stops where it is told to, in the middle of steps or beyond them', async () => {
    const text = 'steps: [{ wait: 10ms }, { read: /a }]';
    const early = await run(text, undefined, { stopAt: 7e6 });
    expect(early.report).toMatchObject({ endedAt: 7e6, ok: true });
    expect(early.machine.spawned).toEqual([]);
    expect((await run(text, undefined, { stopAt: 30e6 })).report.endedAt).toBe(30e6);
  });

  it('says when a step could not begin at its time', async () => {
    const { failed } = await run('steps: [{ wait: 50ms }, { at: 10ms, read: /a }]');
    expect(failed).toEqual(['steps[1]: step begins at 10ms / the steps above it took until 50ms']);
  });

  it('passes on the errors of a machine, and throws those that are mistakes of ours', async () => {
    const thrown = (error: Error) =>
      run('steps: [{ read: /a }]', () => {
        throw error;
      });
    const { report } = await thrown(Object.assign(new Error('panic'), { code: 'EPANIC' }));
    expect(report.failure).toEqual({ code: 'EPANIC', message: 'panic' });
    await expect(thrown(new TypeError('ours'))).rejects.toThrow('ours');
  });

  it('takes the seed of the scenario unless it is given another', async () => {
    const text = 'machine: { seed: 7, tasks: 40, instruction: 2ns }';
    expect((await run(text)).machine.settings).toEqual({ seed: 7, maxTasks: 40, instructionNs: 2 });
    expect((await run(text, undefined, { seed: 9 })).report.machine.seed).toBe(9);
  });
});

describe('checks', () => {
  it('of the kernel log look for lines in order, and point at the one that is not there', async () => {
    const log = ['[    1.0] one', '[    2.0] two', '[    3.0] three'];
    const text = `steps: [{ read: /a }]
expect:
  - dmesg: [one, three]
  - dmesg: [one, /f.ur/, three]
  - dmesg: [three, one]
  - absent: [five, two]
`;
    const { failed } = await run(text, () => ({ ns: 1 }), {
      boot: async () => Object.assign(new FakeMachine({}, () => ({ ns: 1 })), { log }),
    });
    expect(failed).toEqual([
      "expect[1].dmesg[1]: kernel line /f.ur/ after 'one' / [    2.0] two\n[    3.0] three",
      "expect[2].dmesg[1]: kernel line 'one' after 'three' / it came earlier: [    1.0] one",
      "expect[3].absent[1]: no kernel line 'two' / [    2.0] two",
    ]);
  });

  it('of tasks know the dead ones that the scenario started', async () => {
    const { failed } = await run(
      `tasks: [{ name: a, program: pause }, { name: b, program: spin }]
steps: [{ wait: 1ms }]
expect:
  gone: [a, b]
  alive: [a, b]
  exit: [{ task: a, status: killed }, { task: a, status: 0 }]
  output: [{ task: a, text: hello }, { task: c, text: hello }]
`,
      ([program]) => (program === 'pause' ? { ns: 10, exit: 137, stdout: 'hello\n' } : { ns: 1e9 }),
    );
    expect(failed).toEqual([
      'expect.gone[1]: b is gone / b:11 is there',
      'expect.alive[0]: a is alive / gone; there are b:11',
      'expect.exit[1]: a ends with exit 0 / a:10: killed',
      'expect.output[1]: output of c / no task c; there are b:11',
    ]);
  });

  it('of mixed versions look at everything that was printed', async () => {
    const text = 'steps: [{ read: /a }, { read: /b }]\nexpect: { mixed: 0 }';
    const printing = (mixed: number) => (): ReturnType<Behaviour> => ({
      ns: 1,
      stdout: `rounds 1 2 3\nmixed ${mixed}\n`,
    });
    const good = await run(text, printing(0));
    expect(good.failed).toEqual([]);
    expect(good.report.counters).toMatchObject({ mixed: 0, rows: [{ name: 'rounds', values: [1, 2, 3] }] });
    expect((await run(text, printing(2))).failed).toEqual(['expect.mixed: mixed 0 / mixed 2']);
    expect((await run(text)).failed).toEqual([
      'expect.mixed: mixed 0 / nobody read a file with this counter',
    ]);
  });

  it('of until are looked at again until they hold or it is too late', async () => {
    const { failed, report } = await run(
      `tasks: [{ name: a, program: pause }]
steps:
  - until: { gone: a }
  - { until: { alive: a }, within: 5ms }
`,
      () => ({ ns: 3e6 }),
    );
    expect(failed).toEqual(['steps[1].until.alive: a is alive within 5ms / gone; there are ']);
    expect(report.endedAt).toBeLessThan(10e6);
  });
});

describe('what a command wrote', () => {
  async function told(text: string, behave: Behaviour): Promise<string[]> {
    const lines: string[] = [];
    const colors = new Proxy({}, { get: () => (word: string) => word }) as Colors;
    const narrator = new Narrator({ colors, width: 100, verbose: false, write: (s) => lines.push(s) });
    await run(text, behave, { observers: [narrator] });
    return lines
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^\[ +([\d.]+)\] /, '$1 ').trim());
  }
  const says: Behaviour = ([program, path]) => ({
    ns: path === '/slow' ? 50e6 : 1e6,
    stdout: program === 'cat' ? `${path} was read\n` : '',
  });

  it('stands under it, also where the next step has a time of its own', async () => {
    const text = 'steps: [{ read: /a }, { at: 100ms, read: /b }, { at: 200ms, wait: 10ms }, { read: /c }]';
    expect(await told(text, says)).toEqual([
      '0.000000 $ cat /a',
      '| /a was read',
      '0.100000 $ cat /b',
      '| /b was read',
      '0.210000 $ cat /c',
      '| /c was read',
    ]);
  });

  it('has a line that names it where another command has begun since', async () => {
    const text = 'steps: [{ read: /slow, background: true }, { at: 10ms, read: /b }, { at: 70ms, read: /c }]';
    expect(await told(text, says)).toEqual([
      '0.000000 $ cat /slow',
      '0.010000 $ cat /b',
      '| /b was read',
      '0.050000 $ cat /slow (begun at 0)',
      '| /slow was read',
      '0.070000 $ cat /c',
      '| /c was read',
    ]);
  });

  it('is held against what is expected when the command ends, not when the scenario does', async () => {
    const { report } = await run('steps: [{ read: /a, output: none }, { at: 100ms, read: /b }]', says);
    expect(report.expectations.find(({ ok }) => !ok)).toMatchObject({ t: 1e6, path: 'steps[0].output' });
    expect(report.actions.map(({ endedAt }) => endedAt)).toEqual([1e6, 101e6]);
  });
});

describe('waiting for a transition', () => {
  const modules = 'modules: [../modules/klpdemo_target.ko, ../modules/klpdemo_patch_target.ko]\n';

  it('of a patch that no module has is given up at once, with the name that was meant', async () => {
    const text = `${modules}steps:\n  - wait: 1ms\n  - until: { done: { patch: klpdemo_patch_targt } }\n`;
    const { report, failed } = await run(text);
    expect(report.endedAt).toBe(1e6);
    expect(report.expectations.at(-1)?.place).toMatchObject({ line: 4, column: 20 });
    expect(failed).toEqual([
      'steps[1].until.done: patching of klpdemo_patch_targt complete within 60s / no such transition; there were: none\n' +
        "there is no patch 'klpdemo_patch_targt': a patch has the name of its module; did you mean 'klpdemo_patch_target'?",
    ]);
  });

  it('of a patch that nobody loads says so when the time is over', async () => {
    const { failed } = await run(
      `${modules}steps: [{ until: { done: { patch: klpdemo_patch_target } }, within: 5ms }]`,
    );
    expect(failed[0]).toMatch(
      /'klpdemo_patch_target' was never enabled: its module is not loaded, or its load failed$/,
    );
  });

  it('goes on for a patch that may come from elsewhere', async () => {
    const { report } = await run(
      'machine: { model: bundle }\nsteps: [{ until: { done: { patch: x } }, within: 5ms }]',
    );
    expect(report.endedAt).toBe(5e6);
  });

  it("beyond the scenario's limit fails at its place, with what gives it more", async () => {
    const { report, failed } = await run(
      `limit: 20ms\n${modules}steps: [{ until: { done: { patch: klpdemo_patch_target } }, within: 1s }, { wait: 1s }]`,
    );
    expect(report).toMatchObject({ endedAt: 20e6, ok: false });
    expect(report.failure).toBeUndefined();
    expect(failed).toHaveLength(1);
    expect(failed[0]).toContain(
      "within 1s: the scenario's limit of 20ms came first ('limit' at the top of the file gives more)",
    );
  });

  it('or for a command that does not end is told with its place, too', async () => {
    const { failed } = await run('limit: 20ms\nsteps: [{ read: /never }]', () => ({ ns: 1e12 }));
    expect(failed).toEqual([
      "steps[0]: the step is over by 20ms, the limit of the scenario / not done: cat /never; 'limit' at the top of the file gives more time, 'background' goes on without waiting",
    ]);
  });
});
