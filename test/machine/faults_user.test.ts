// What a user program is killed for: the line in the log, the signal, and everybody else.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { comparable, readObserved, withoutTime } from './observed.ts';

const observed = readObserved('observed-faults-6.1.txt');

let machine: Machine;
beforeAll(async () => {
  machine = await Machine.boot();
});
afterAll(() => machine.close());

function crash(n: number): { status: number | undefined; log: string[] } {
  const from = machine.dmesg().length;
  const task = machine.spawn('crash', [String(n)]);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9);
  return { status: machine.exitStatus(task), log: machine.dmesg().slice(from).map(withoutTime) };
}

/** Addresses and code of another program. */
function inGeneral(lines: readonly string[]): string[] {
  return comparable(lines)
    .map((line) => line.replace(/\b(uf|crash)\b/g, 'program').replace(/ in program\S+/, ''))
    .map((line) => line.replace(/^Code: [0-9a-f].*/, 'Code: *'))
    .map((line) => line.replace(/(ip|sp)[: ]\w+/g, '$1 *').replace(/at [0-9a-f]{6,}/, 'at *'));
}

// Steps of the real run, by the number that `crash` takes.
const CASES = ['null', 'read', 'call', 'nx', 'text', 'ud2', 'div', 'gp', 'hlt', 'cli', 'int3', 'int80'];
/** The real kernel said no more about these: ten messages in five seconds are its limit. */
const SILENT = ['hlt', 'cli', 'int3', 'int80'];

describe('a user program that faults', () => {
  it.each(CASES.map((name, n) => [name, n] as const))(
    '(%s) dies by the signal, with the line, that the kernel has for it',
    (name, n) => {
      const real = observed.get(`user ${name}`);
      const { status, log } = crash(n);
      expect(status).toBe(real?.rc);
      expect(log.length).toBeGreaterThan(0);
      if (!SILENT.includes(name)) expect(inGeneral(log)).toEqual(inGeneral(real?.log ?? []));
    },
  );

  it('is named in the mapping of its code', () => {
    expect(crash(0).log[0]).toMatch(
      / error 6 in crash\[400000\+\w+000\] likely on CPU \d \(core \d, socket 0\)$/,
    );
  });

  it('leaves nothing behind, and the kernel untainted', () => {
    crash(0);
    const used = machine.inspect.core.slab.used();
    const stacks = machine.inspect.core.tasks.processes();
    const before = [...stacks].length;
    for (let n = 0; n < CASES.length; n++) crash(n);
    expect(machine.inspect.core.slab.used()).toBe(used);
    expect([...machine.inspect.core.tasks.processes()]).toHaveLength(before);
    expect(machine.inspect.core.taints).toBe(0);
  });
});
