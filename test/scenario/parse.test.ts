import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { ScenarioError } from '../../src/scenario/error.ts';
import { loadScenario, parseScenario } from '../../src/scenario/parse.ts';
import type { ActionStep } from '../../src/scenario/scenario.ts';
import { matches } from '../../src/scenario/values.ts';

/** Where relative module paths start from. */
const FILE = join(import.meta.dirname, '../../fixtures/scenarios/test.yaml');

/** `line:column: path: reason` of everything that is wrong. */
function problems(text: string): string[] {
  try {
    parseScenario(text, FILE);
  } catch (error) {
    expect(error).toBeInstanceOf(ScenarioError);
    return (error as ScenarioError).problems.map(
      ({ place, path, reason }) => `${place.line}:${place.column}: ${path}: ${reason}`,
    );
  }
  return [];
}

const parse = (text: string) => parseScenario(text, FILE);

describe('a regular expression of a scenario', () => {
  const expression = (text: string) => `expect: { dmesg: ${JSON.stringify(text)} }`;

  it('is matched in time that grows with the line, whatever it is', () => {
    const [check] = parse(expression('/^(a+)+$/')).expect;
    const pattern = check.kind === 'dmesg' ? check.lines[0].pattern : undefined;
    expect(pattern && matches(pattern, `${'a'.repeat(30_000)}b`)).toBe(false);
    expect(pattern && matches(pattern, 'aaa')).toBe(true);
  });

  it('is refused, with its place, where only backtracking could match it or it is too large', () => {
    for (const text of ['/(a)\\1/', '/(?=a)/', '/((a{100}){100}){100}/'])
      expect(problems(expression(text)), text).toEqual([
        expect.stringMatching(/^1:\d+: expect.dmesg: not a regular expression of RE2: /),
      ]);
  });
});

describe('a scenario', () => {
  it('gets times in ns, modules by path, and actions as a shell is told', () => {
    const scenario = parse(`
modules: [../modules/klpdemo_target.ko]
machine: { cpus: 3, heap: 32MiB, instruction: 100ns }
tasks: [{ program: reader, args: [/proc/cmdline, 5], start: 1.5s }]
steps:
  - { at: 250ms, load: klpdemo_target, params: { block: true, hold_ms: 10 } }
  - { write: 0, to: /sys/x }
  - { unload: klpdemo-target.ko, exit: EAGAIN }
`);
    expect(scenario.machine).toEqual({ cpus: 3, heap: 32 << 20, instruction: 100 });
    expect(scenario.tasks[0]).toMatchObject({ name: 'reader', args: ['/proc/cmdline', '5'], start: 1.5e9 });
    const steps = scenario.steps as ActionStep[];
    expect(steps[0]).toMatchObject({ at: 250e6, target: '/lib/modules/klpdemo_target.ko' });
    expect(steps.map((step) => step.command)).toEqual([
      'insmod klpdemo_target.ko block=true hold_ms=10',
      'echo 0 > /sys/x',
      'rmmod klpdemo_target',
    ]);
    expect(steps[2].exit).toBe(11);
  });

  it('may write to the files of a patch by short names', () => {
    const { steps } = parse('steps: [{ disable: p }, { enable: p }, { force: p }]');
    expect(steps.map((step) => (step as ActionStep).command)).toEqual([
      'echo 0 > /sys/kernel/livepatch/p/enabled',
      'echo 1 > /sys/kernel/livepatch/p/enabled',
      'echo 1 > /sys/kernel/livepatch/p/force',
    ]);
  });

  it('takes a list of checks of one kind, each with its own place', () => {
    const { expect: checks } = parse(`
expect:
  dmesg: [one, /two/i]
  absent:
    - BUG
    - WARNING
`);
    expect(checks.map(({ kind, path, place }) => [kind, path, place.line])).toEqual([
      ['dmesg', 'expect.dmesg', 3],
      ['absent', 'expect.absent[0]', 5],
      ['absent', 'expect.absent[1]', 6],
    ]);
  });

  it.each([
    'bad_ambiguous',
    'bad_import',
    'bad_init',
    'bad_missing',
    'bad_notrace',
    'bad_null',
    'coming_going',
    'demo',
    'force',
    'posed',
    'replace',
    'reversal',
    'smallest',
    'unwinder_none',
    'vmlinux',
  ])('of ours is good: %s', (name) => {
    const scenario = loadScenario(join(import.meta.dirname, `../../fixtures/scenarios/${name}.yaml`));
    expect(scenario.steps.length).toBeGreaterThan(0);
  });
});

describe('errors of a scenario', () => {
  it('name file, line, column, path and reason, all at once and in order', () => {
    expect(
      problems(`machine:
  cpus: many
  unwinder: dwarf
  hep: 1MiB
tasks:
  - { progam: reader }
steps:
  - at: 5
    read: /proc/cmdline
`),
    ).toEqual([
      "2:9: machine.cpus: must be a number, not 'many'",
      "3:13: machine.unwinder: must be 'orc', 'frame pointer' or 'none', not 'dwarf'",
      "4:3: machine.hep: unknown key 'hep'; did you mean 'heap'?",
      "6:7: tasks[0].progam: unknown key 'progam'; did you mean 'program'?",
      '8:9: steps[0].at: must be a duration with a unit (250ms, 1.5s, 10us)',
    ]);
  });

  it('tell of YAML that is none', () => {
    expect(problems('steps: [\n')[0]).toMatch(/^[12]:\d+: : .*(flow|sequence)/i);
    expect(problems('')).toEqual(['1:1: : the scenario is empty']);
    expect(problems('a: 1\na: 2')).toEqual([expect.stringContaining('2:1: : Map keys must be unique')]);
    expect(problems('- a')).toEqual(['1:1: : must be a map, not a list']);
  });

  it('have our words, whatever language a program has told the library of schemas to speak', () => {
    const { localeError, ...before } = z.config();
    z.config({ localeError: () => 'quelque chose' });
    try {
      expect(problems('- a')).toEqual(['1:1: : must be a map, not a list']);
      expect(problems('machine: { cpus: many }')[0]).toMatch(/must be a number, not 'many'$/);
    } finally {
      z.config({ ...before, localeError } as Parameters<typeof z.config>[0]);
    }
  });

  it('refuse immediate and name force', () => {
    const [first] = problems('modules: []\nimmediate: true');
    expect(first).toMatch(/^2:1: immediate: .*'force'/);
    expect(problems('steps: [{ load: ../modules/klpdemo_target.ko, immediate: true }]')[0]).toMatch(/force/);
    expect(problems('steps: [{ load: ../modules/klpdemo_target.ko, params: immediate=1 }]')[0]).toMatch(
      /force/,
    );
  });

  it('tell of files that are not there and of modules that nobody named', () => {
    expect(problems('modules: [../modules/nothing.ko, x.o]\nsteps: [{ load: nothing }]')).toEqual([
      expect.stringMatching(/^1:11: modules\[0\]: no such file: .*modules\/nothing\.ko$/),
      "1:34: modules[1]: 'x.o' is not the path of a module (.ko)",
      "2:17: steps[0].load: no module 'nothing' in 'modules', and not the path of one (.ko)",
    ]);
  });

  it('tell what a step lacks and what does not go together', () => {
    expect(
      problems(`steps:
  - { at: 1s, wait: 1ms }
  - { at: 500ms, wait: 1ms }
  - { read: /a, write: b }
  - { after: 1ms }
  - { write: x }
  - { wait: 1ms, exit: 0 }
  - { read: proc }
`),
    ).toEqual(["8:13: steps[6].read: 'proc' is not an absolute path in the guest"]);
    expect(
      problems(`steps:
  - { at: 1s, wait: 1ms }
  - { at: 500ms, wait: 1ms }
  - { read: /a, write: b }
  - { after: 1ms }
  - { write: x }
  - { wait: 1ms, exit: 0 }
`),
    ).toEqual([
      '3:11: steps[1].at: lies before the time of a step above it',
      '4:5: steps[2]: does write and read: a step does one thing',
      expect.stringMatching(/^5:5: steps\[3\]: does nothing: it needs one of load, /),
      "6:5: steps[4]: 'write' needs 'to', the file to write to",
      "7:24: steps[5].exit: 'exit' does not go with 'wait'",
    ]);
  });

  it('point into lists and maps of checks', () => {
    expect(
      problems(`expect:
  site:
    - { at: 'a b', bytes: nop5 }
    - { at: f, bytes: e8 x }
  dmesg: [fine, '/(/']
  exit: { task: t, status: EWHAT }
  blocked: { on: f }
`),
    ).toEqual([
      "3:13: expect.site[0].at: 'a b' is not a place in guest text (SYMBOL, MODULE:SYMBOL+0x10 or an address)",
      "4:23: expect.site[1].bytes: 'e8 x' is not bytes in hex, '??' for any ('e8 ?? ?? ?? ??'), 'nop5' or 'call'",
      expect.stringMatching(/^5:17: expect\.dmesg\[1\]: not a regular expression/),
      "6:28: expect.exit.status: 'EWHAT' is not the name of an errno",
      '7:12: expect.blocked.task: is missing',
    ]);
  });

  it('tell what a posed task lacks, and what does not go with a pose', () => {
    expect(
      problems(`tasks:
  - { pose: [msleep, schedule] }
  - { pose: [msleep, schedule], for: 1s, program: pause }
  - { program: pause, for: 1s }
  - { name: nothing }
`),
    ).toEqual([
      "2:13: tasks[0].pose: needs 'for': how long it stands there",
      "3:51: tasks[1].program: a task has either a 'program' or a 'pose'",
      "4:28: tasks[2].for: belongs to a task with a 'pose'",
      "5:5: tasks[3]: needs a 'program', or a 'pose'",
    ]);
  });

  it('come for a file that cannot be read', () => {
    expect(() => loadScenario('/nothing/here.yaml')).toThrow('/nothing/here.yaml:1:1: no such file');
  });
});
