// One table of a machine's options: what Machine.boot(), scenarios, the command line and the docs say is the same.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { machineOptions } from '../../src/cli/shell/options.ts';
import { BUILT_IN, tickNs } from '../../src/kernel/description.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { checkedOptions, MACHINE_OPTIONS, type OptionRow } from '../../src/machine/option_table.ts';
import { MODULE_AREA } from '../../src/module/module_alloc.ts';
import { parseScenario } from '../../src/scenario/parse.ts';
import { parseDuration, parseSize } from '../../src/scenario/units.ts';

const TICK_NS = tickNs(BUILT_IN);

const rows = Object.entries(MACHINE_OPTIONS) as [string, OptionRow][];
const numbers = rows.flatMap(([name, row]) => (row.type === 'number' ? [{ name, row }] : []));
/** Values that are not of the option's type or range. */
const bad = (row: OptionRow): unknown[] => {
  switch (row.type) {
    case 'number':
      return [row.min - 1, row.max + 1, row.min + 0.5, Number.NaN, Number.POSITIVE_INFINITY, '2', null, {}];
    case 'boolean':
      return ['false', 0, null];
    case 'choice':
      return ['', 'frame-pointer', row.choices[0].toUpperCase(), 1, null, '__proto__'];
    case 'text':
      return ['x'.repeat(row.max + 1), 'a\nb', 'a\0b', 5, null];
  }
};

describe('options of a machine', () => {
  it.each(rows)('%s takes its default and its limits, and refuses all else by name', async (name, row) => {
    const good = row.type === 'number' ? [row.min, row.max] : row.type === 'choice' ? row.choices : [];
    for (const value of [row.default, undefined, ...good]) {
      expect(checkedOptions({ [name]: value })[name]).toBe(value ?? row.default);
    }
    for (const value of bad(row)) {
      const boot = Machine.boot({ [name]: value } as MachineOptions);
      await expect(boot).rejects.toMatchObject({ code: 'EINVAL', option: name });
      await expect(boot).rejects.toThrow(new RegExp(`^machine option ${name} must be .*, not `));
    }
  });

  it('are those of the table: another one is refused, with what there is', async () => {
    const boot = Machine.boot({ cpu: 2 } as MachineOptions);
    await expect(boot).rejects.toThrow("machine option 'cpu' is not known: there are cpus, seed, unwinder,");
  });

  it('have the defaults that the subsystems speak of', () => {
    expect(MACHINE_OPTIONS.moduleArea.default).toBe(MODULE_AREA);
    expect(MACHINE_OPTIONS.instructionNs.default).toBe(TICK_NS / 10_000);
  });

  it('boot a machine at both ends of the number of CPUs, and with the least heap and tasks', async () => {
    for (const options of [
      { cpus: 1, heap: MACHINE_OPTIONS.heap.min, maxTasks: MACHINE_OPTIONS.maxTasks.min },
      { cpus: 64 },
    ]) {
      const machine = await Machine.boot(options);
      machine.runFor(10e6);
      expect(machine.inspect.smp.cpus).toHaveLength(options.cpus);
      machine.close();
    }
  });
});

/** Keys of a scenario's machine by options, where they differ. */
const KEYS: Record<string, string> = { maxTasks: 'tasks', instructionNs: 'instruction' };
const UNITS: Record<string, string> = { heap: 'B', instructionNs: 'ns' };

describe('a scenario', () => {
  it.each(numbers.filter(({ name }) => name !== 'moduleArea'))('has the range of $name', ({ name, row }) => {
    const key = KEYS[name] ?? name;
    const parse = (value: number) =>
      parseScenario(`machine: { ${key}: ${value}${UNITS[name] ?? ''} }`, '/x.yaml');
    for (const value of [row.min, row.max, row.default])
      expect(parse(value).machine).toMatchObject({ [key]: value });
    for (const value of [row.min - 1, row.max + 1].filter((v) => v >= 0))
      expect(() => parse(value), `${key}: ${value}`).toThrow(new RegExp(`^/x.yaml:1:\\d+: machine.${key}: `));
  });

  it('has its keys, defaults and ranges in docs/scenario.md', () => {
    const docs = readFileSync(join(import.meta.dirname, '../../docs/scenario.md'), 'utf8');
    const lines = new Map([...docs.matchAll(/^\| `(\w+)` \| (.*)$/gm)].map(([, key, rest]) => [key, rest]));
    for (const [name, row] of rows) {
      if (name === 'moduleArea') continue;
      const text = lines.get(KEYS[name] ?? name);
      const number = (word: string) => parseSize(word) ?? parseDuration(word) ?? Number(word);
      expect(text, name).toBeDefined();
      // Of the engine it is that of whoever says nothing, not even to the tests.
      const standard = name === 'engine' ? 'core' : row.default;
      const shown = /^`?([^|`]*)`? \|/.exec(text ?? '')?.[1].trim() ?? '';
      if (row.type !== 'number') expect(shown, name).toBe(String(standard));
      else {
        expect(number(shown), name).toBe(row.default);
        const range = /([\w.]+) to ([\w.]+)/.exec((text ?? '').slice((text ?? '').indexOf('|')));
        expect([number(range?.[1] ?? ''), number(range?.[2] ?? '')], name).toEqual([row.min, row.max]);
      }
    }
  });
});

describe('the command line', () => {
  it('has the ranges and choices of the table', () => {
    const options = machineOptions(new Command()).options;
    const option = (flag: string) => options.find(({ long }) => long === flag);
    const { cpus, seed, unwinder, model } = MACHINE_OPTIONS;
    expect(option('--unwinder')?.argChoices).toEqual(unwinder.choices);
    expect(option('--model')?.argChoices).toEqual(model.choices);
    for (const [flag, row] of [
      ['--cpus', cpus],
      ['--seed', seed],
    ] as const) {
      const parse = option(flag)?.parseArg;
      expect([row.min, row.max].map((value) => parse?.(String(value), undefined))).toEqual([
        row.min,
        row.max,
      ]);
      for (const value of [row.min - 1, row.max + 1])
        expect(() => parse?.(String(value), undefined)).toThrow(/must be/);
    }
    expect(option('--cpus')?.description).toBe('CPUs, 1 to 64');
  });
});
