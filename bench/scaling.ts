// Does an operation cost more the more there were before it? Modules that are loaded, and livepatches that are
// stacked on one function: the host's time for each of the last, against that of early ones of the same run.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../src/guest/package_root.ts';
import { Machine } from '../src/machine/machine.ts';
import { Report } from './lib/report.ts';

const MANY = '--many';
const LIMIT = 600e9;

interface Series {
  readonly name: string;
  /** The module that each is a copy of, under a name of its own. */
  readonly base: string;
  readonly count: number;
  /** How many of the first and of the last are compared. */
  readonly part: number;
}

const SERIES: readonly Series[] = [
  {
    name: 'modules loaded',
    base: 'klpbundle_core',
    count: process.argv.includes(MANY) ? 5000 : 2000,
    part: 500,
  },
  { name: 'livepatches stacked on one function', base: 'klpdemo_patch_vmlinux', count: 1000, part: 200 },
];

interface Cost {
  readonly ms: number;
  readonly instructions: number;
}

/** Copies of the module, with six digits in place of the last letters of its name. */
function copies(base: string): (n: number) => { name: string; bytes: Buffer } {
  const original = readFileSync(join(packageRoot(), 'fixtures/modules', `${base}.ko`)).toString('latin1');
  return (n) => {
    const name = base.slice(0, -6) + String(n).padStart(6, '0');
    return { name, bytes: Buffer.from(original.replaceAll(base, name), 'latin1') };
  };
}

function load(machine: Machine, { name, bytes }: { name: string; bytes: Buffer }): Cost {
  const instructions = machine.inspect.executor.instructions;
  const start = performance.now();
  machine.addFile('/module.ko', bytes);
  const task = machine.insmod('/module.ko');
  machine.runUntil(() => machine.exitStatus(task) !== undefined, LIMIT);
  const status = machine.exitStatus(task);
  if (status !== 0) throw new Error(`${name}: ${status}: ${machine.dmesg().slice(-3).join('; ')}`);
  if (!machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, LIMIT))
    throw new Error(`${name}: no end of its transition`);
  return {
    ms: performance.now() - start,
    instructions: machine.inspect.executor.instructions - instructions,
  };
}

/** Of some operations. Of the times the middle one: other load and the collector add to some of them. */
function middle(costs: readonly Cost[]): Cost {
  const ms = costs.map((cost) => cost.ms).sort((a, b) => a - b)[costs.length >> 1];
  return { ms, instructions: costs.reduce((sum, cost) => sum + cost.instructions, 0) / costs.length };
}

const report = new Report('scaling');
for (const { name, base, count, part } of SERIES) {
  const machine = await Machine.boot({ cpus: 1, shadow: false });
  const copy = copies(base);
  const costs = Array.from({ length: count }, (_, n) => load(machine, copy(n)));
  machine.close();
  const first = middle(costs.slice(0, part));
  const last = middle(costs.slice(-part));
  for (const unit of ['ms', 'instructions'] as const) {
    report.add({
      name: `${name}: one of the last ${part} of ${count}`,
      value: last[unit],
      unit,
      baseline: { name: `one of the first ${part}`, value: first[unit] },
    });
  }
  const seconds = costs.reduce((sum, { ms }) => sum + ms, 0) / 1000;
  report.add({ name: `${name}: all ${count}`, value: seconds, unit: 's' });
}
report.end();
