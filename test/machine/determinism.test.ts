// The same seed gives the same run, event by event; another seed another schedule and the same results.

import { describe, expect, it } from 'vitest';
import { bootWithModules } from '../../src/check/stepper.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { MachineOptions } from '../../src/machine/machine.ts';

const MS = 1e6;
const PATCH = 'klpdemo_patch_both';

interface Run {
  readonly events: readonly string[];
  readonly dmesg: readonly string[];
  readonly instructions: number;
  /** What must not depend on the schedule. */
  readonly outcome: unknown;
}

/** Boots, loads a module and a livepatch over readers, sleepers and forkers, and takes it back. */
async function live(options: MachineOptions): Promise<Run> {
  const machine = await bootWithModules(options);
  const events: string[] = [];
  machine.events.subscribe((event) => events.push(line(event)));
  const end = (task: ReturnType<typeof machine.spawn>) => {
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 5000 * MS);
    return machine.exitStatus(task);
  };
  const said = (text: string) =>
    machine.runUntil(() => machine.dmesg().some((l) => l.endsWith(text)), 30_000 * MS);
  const version = (text: string) => text.split('\n')[0];
  const outcome: unknown[] = [end(machine.insmod('/klpdemo_target.ko'))];
  const others = [
    machine.spawn('reader', ['/proc/klpdemo', '3', '40']),
    machine.spawn('reader', ['/proc/meminfo', '2', '40']),
    machine.spawn('forker', ['4', '15']),
    machine.spawn('sleep', ['7', '20']),
  ];
  outcome.push(end(machine.insmod(`/${PATCH}.ko`)), said(': patching complete'));
  const reader = machine.spawn('cat', ['/proc/klpdemo']);
  outcome.push(end(reader), version(machine.stdout(reader)));
  outcome.push(end(machine.spawn('echo', ['0\n', `/sys/kernel/livepatch/${PATCH}/enabled`])));
  outcome.push(said('unpatching complete'), ...others.map(end));
  outcome.push([...machine.inspect.core.tasks.processes()].filter((t) => !t.isKthread).map(String));
  outcome.push(machine.dmesg().filter((l) => /warn|bug|oops|mixed/i.test(l)));
  const run = {
    events,
    dmesg: machine.dmesg(),
    instructions: machine.inspect.executor.instructions,
    outcome,
  };
  machine.close();
  return run;
}

function line(event: KernelEvent): string {
  return JSON.stringify(event, (_, value) =>
    typeof value === 'bigint' || value instanceof Uint8Array ? String(value) : value,
  );
}

/** The first event that differs, with the ones before it. */
function difference(a: readonly string[], b: readonly string[]): string[] | undefined {
  const at = a.findIndex((event, i) => event !== b[i]);
  if (at < 0 && a.length === b.length) return undefined;
  return [...a.slice(Math.max(0, at - 2), at), `< ${a[at]}`, `> ${b[at]}`];
}

describe.each([1, 3])('on %i CPU(s)', (cpus) => {
  it('one seed gives the same events, log and instructions twice', async () => {
    const [first, second] = [await live({ cpus, seed: 42 }), await live({ cpus, seed: 42 })];
    expect(difference(first.events, second.events)).toBeUndefined();
    expect(second.dmesg).toEqual(first.dmesg);
    expect(second.instructions).toBe(first.instructions);
    expect(second.outcome).toEqual(first.outcome);
    expect(first.events.length).toBeGreaterThan(500);
  });

  it('other seeds give other events and the same outcome', async () => {
    const first = await live({ cpus, seed: 42 });
    for (const seed of [43, 44]) {
      const other = await live({ cpus, seed });
      expect(difference(first.events, other.events)).toBeDefined();
      expect(other.outcome).toEqual(first.outcome);
    }
  });
});

describe('the shadow stack', () => {
  it('changes nothing of what happens', async () => {
    const [without, withIt] = [await live({ shadow: false }), await live({ shadow: true })];
    // What it sees and nobody else: which version each call takes.
    const isCall = (event: string) => JSON.parse(event).type === 'call';
    const seen = withIt.events.filter((event) => !isCall(event));
    expect(difference(without.events, seen)).toBeUndefined();
    expect(withIt.instructions).toBe(without.instructions);
  });
});
