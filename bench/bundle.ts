// Bundles: how long enabling one of 200 members with 150 blobs takes, what a load of a target costs against the
// classic model's late patching, and what the gate adds to loads when there is no transition.

import type { TaskStruct } from '../src/kernel/task_struct.ts';
import { Machine } from '../src/machine/machine.ts';
import { digits, numberedBundle, numberedMember, numberedTarget } from './lib/numbered_modules.ts';
import { Report } from './lib/report.ts';

const MEMBERS = 200;
const LOADED = 50;
const LATE_LOADS = 200;
const LOADS = 1000;
const ROUND = 10;
const LIMIT = 600e9;
const ENABLE = '/sys/kernel/livepatch_bundle/enable';

type Model = 'classic' | 'bundle';
const MODELS = ['classic', 'bundle'] as const;

interface Cost {
  readonly ms: number;
  readonly instructions: number;
}

function ended(machine: Machine, task: TaskStruct): void {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, LIMIT);
  const status = machine.exitStatus(task);
  if (status !== 0) throw new Error(`${status}: ${machine.dmesg().slice(-3).join('; ')}`);
}

function settled(machine: Machine): void {
  if (!machine.runUntil(() => !machine.inspect.livepatch.transitionPatch, LIMIT))
    throw new Error('no end of a transition');
}

function cost(machine: Machine, work: () => void): Cost {
  const before = machine.inspect.executor.instructions;
  const start = performance.now();
  work();
  return { ms: performance.now() - start, instructions: machine.inspect.executor.instructions - before };
}

const boot = (model: Model): Promise<Machine> => Machine.boot({ model, shadow: false, heap: 32 << 20 });

function load(machine: Machine, name: string, bytes: Uint8Array): void {
  machine.addFile(`/lib/modules/${name}.ko`, bytes);
  ended(machine, machine.insmod(`/lib/modules/${name}.ko`));
}
const unload = (machine: Machine, name: string): void => ended(machine, machine.rmmod(name));

function enable(machine: Machine, count: number): void {
  machine.addFile('/lib/bench.klpb', numberedBundle('bench', count));
  ended(machine, machine.spawn('echo', ['/lib/bench.klpb', ENABLE]));
  settled(machine);
}

async function enabling(): Promise<Cost> {
  const machine = await boot('bundle');
  for (let n = 0; n < LOADED; n++) load(machine, `klpbundle_${digits(n)}`, numberedTarget(n));
  const result = cost(machine, () => enable(machine, MEMBERS));
  machine.close();
  return result;
}

/** A machine on which a patch for the target of each() is enabled before it comes. */
async function withPatch(model: Model): Promise<Machine> {
  const machine = await boot(model);
  if (model === 'bundle') enable(machine, 1);
  else {
    load(machine, 'klpbundle_p2_0000', numberedMember(0));
    settled(machine);
  }
  return machine;
}

const TARGET = numberedTarget(0);

/** Loads and unloads of one module. */
function pairs(machine: Machine, times: number): void {
  for (let i = 0; i < times; i++) {
    load(machine, 'klpbundle_0000', TARGET);
    unload(machine, 'klpbundle_0000');
  }
}

/**
 * What a load and unload costs in each model. The models take turns, and the shortest round counts, since other load
 * only adds; the instructions are those of all.
 */
function inTurns(machines: Readonly<Record<Model, Machine>>, times: number): Record<Model, Cost> {
  const sum = {
    classic: { ms: Number.POSITIVE_INFINITY, instructions: 0 },
    bundle: { ms: Number.POSITIVE_INFINITY, instructions: 0 },
  };
  for (let done = 0; done < times; done += ROUND) {
    for (const model of MODELS) {
      const { ms, instructions } = cost(machines[model], () => pairs(machines[model], ROUND));
      sum[model].ms = Math.min(sum[model].ms, ms / ROUND);
      sum[model].instructions += instructions / times;
    }
  }
  for (const model of MODELS) machines[model].close();
  return sum;
}

const report = new Report('bundles');
const plain = inTurns({ classic: await boot('classic'), bundle: await boot('bundle') }, LOADS);
const late = inTurns({ classic: await withPatch('classic'), bundle: await withPatch('bundle') }, LATE_LOADS);
const whole = [await enabling(), await enabling(), await enabling()];
report.add({
  name: `enabling ${MEMBERS} members, ${MEMBERS - LOADED} of them blobs`,
  value: Math.min(...whole.map(({ ms }) => ms)),
  unit: 'ms',
});
for (const [name, { classic, bundle }] of [
  ['load and unload of a target with a member', late],
  [`load and unload without a transition, of ${LOADS}`, plain],
] as const) {
  for (const [key, unit] of [
    ['ms', 'ms'],
    ['instructions', 'instructions'],
  ] as const) {
    report.add({
      name,
      value: bundle[key],
      unit,
      baseline: { name: 'the classic model', value: classic[key] },
    });
  }
}
report.end();
