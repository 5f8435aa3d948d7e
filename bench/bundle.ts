// Bundles: how long enabling one of 200 members with 150 blobs takes, what a load of a target costs against the
// classic model's late patching, and what the gate adds to loads when there is no transition.

import type { TaskStruct } from '../src/kernel/task_struct.ts';
import { Machine } from '../src/machine/machine.ts';
import { digits, numberedBundle, numberedMember, numberedTarget } from './lib/numbered_modules.ts';
import { Report } from './lib/report.ts';

const MEMBERS = 200;
const LOADED = 50;
const LATE_LOADS = 50;
const LOADS = 1000;
const LIMIT = 600e9;
const ENABLE = '/sys/kernel/livepatch_bundle/enable';

type Model = 'classic' | 'bundle';

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
  if (!machine.runUntil(() => !machine.livepatch.transitionPatch, LIMIT))
    throw new Error('no end of a transition');
}

function cost(machine: Machine, work: () => void): Cost {
  const before = machine.executor.instructions;
  const start = performance.now();
  work();
  return { ms: performance.now() - start, instructions: machine.executor.instructions - before };
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

async function lateLoad(model: Model): Promise<Cost> {
  const machine = await boot(model);
  if (model === 'bundle') enable(machine, 1);
  else {
    load(machine, 'klpbundle_p2_0000', numberedMember(0));
    settled(machine);
  }
  return each(machine, LATE_LOADS);
}

/** Loads and unloads of one module; what one pair of them costs. */
function each(machine: Machine, times: number): Cost {
  const target = numberedTarget(0);
  const all = cost(machine, () => {
    for (let i = 0; i < times; i++) {
      load(machine, 'klpbundle_0000', target);
      unload(machine, 'klpbundle_0000');
    }
  });
  machine.close();
  return { ms: all.ms / times, instructions: all.instructions / times };
}

const report = new Report('bundles');
// What is measured first would else pay for the compilation of the code that all of them use.
for (const model of ['classic', 'bundle'] as const) each(await boot(model), LOADS / 4);
const whole = await enabling();
report.add({
  name: `enabling ${MEMBERS} members, ${MEMBERS - LOADED} of them blobs`,
  value: whole.ms,
  unit: 'ms',
});
const late = { classic: await lateLoad('classic'), bundle: await lateLoad('bundle') };
const plain = { classic: each(await boot('classic'), LOADS), bundle: each(await boot('bundle'), LOADS) };
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
