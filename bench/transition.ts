// A transition over thousands of tasks that sleep in the kernel, about ten frames deep: reads of /proc/klpdemo
// that msleep() in its show function. How long they take to make, how fast their stacks are checked against
// the bare read of the same return addresses, how long the whole transition takes, and what a task costs.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { THREAD_SIZE } from '../src/guest/addr.ts';
import type { HostCall } from '../src/guest/hostcall.ts';
import { packageRoot } from '../src/guest/package_root.ts';
import type { TaskStruct } from '../src/kernel/task_struct.ts';
import { Machine } from '../src/machine/machine.ts';
import { MAX_STACK_ENTRIES } from '../src/unwind/stacktrace.ts';
import { answer, askPart, wantedPart } from './lib/child.ts';
import { number, Report } from './lib/report.ts';

const COUNTS = [100, 1_000, 10_000, 32_000];
const AIMED = 10_000;
const SECOND = 1e9;
const HEAP_A_TASK = 24 << 10;
const HEAP_BESIDES = 64 << 20;
/** How long the tasks sleep: as good as for ever. */
const SHOW_MS = 100_000_000;
const ROUNDS = 12;
const TURNS = 3;

/** What one process measured with so many tasks. Times in ms. */
interface Measured {
  readonly create: number;
  readonly sleep: number;
  /** The whole set walked, and the same return addresses read from places known beforehand. */
  readonly walk: number;
  readonly read: number;
  readonly frames: number;
  /** From the start of the transition until the last of the tasks had switched, and until it was complete. */
  readonly pass: number;
  readonly transition: number;
  /** The same pass by the processor time of its thread: on a computer with other work to do, the fairer figure. */
  readonly passOnCpu: number;
  /** Bytes a task. */
  readonly rss: number;
  readonly heap: number;
}

const moduleBytes = (name: string): Uint8Array =>
  readFileSync(join(packageRoot(), 'fixtures/modules', `${name}.ko`));

/** Processor time of this thread in ms: Linux's own account, since Node 20 has that of all threads only. */
const onCpu = (): number => Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6;

async function boot(count: number, shadow: boolean): Promise<Machine> {
  const heap = HEAP_BESIDES + count * HEAP_A_TASK;
  const machine = await Machine.boot({ maxTasks: count + 64, heap, shadow });
  for (const name of ['klpdemo_target', 'klpdemo_patch_vmlinux'])
    machine.addFile(`/${name}.ko`, moduleBytes(name));
  const insmod = machine.insmod('/klpdemo_target.ko', `show_ms=${SHOW_MS}`);
  machine.runUntil(() => machine.exitStatus(insmod) !== undefined, SECOND);
  return machine;
}

async function measure(count: number, shadow: boolean): Promise<Measured> {
  const machine = await boot(count, shadow);
  const before = { rss: process.memoryUsage().rss, heap: machine.inspect.core.slab.used() };
  let start = performance.now();
  const lap = (): number => {
    const now = performance.now();
    const ms = now - start;
    start = now;
    return ms;
  };
  const tasks = Array.from({ length: count }, () => machine.spawn('cat', ['/proc/klpdemo']));
  const create = lap();
  if (!machine.runUntil(() => asleep(tasks), 1000 * SECOND)) throw new Error('the tasks do not fall asleep');
  const sleep = lap();
  const rss = (process.memoryUsage().rss - before.rss) / count;
  const heap = (machine.inspect.core.slab.used() - before.heap) / count;
  const walked = walkAndRead(machine, tasks);
  return { create, sleep, rss, heap, ...walked, ...transition(machine, tasks) };
}

/** The last ones first: they are the last to sleep. */
function asleep(tasks: readonly TaskStruct[]): boolean {
  for (let i = tasks.length - 1; i >= 0; i--) if (tasks[i].onRq) return false;
  return true;
}

function walkAndRead(
  machine: Machine,
  tasks: readonly TaskStruct[],
): Pick<Measured, 'walk' | 'read' | 'frames'> {
  const entries = new Uint32Array(MAX_STACK_ENTRIES);
  const words = machine.inspect.core.mem.stackWords;
  const call: HostCall = { cpu: 0, args: [], sp: 0n, caller: 0n };
  const places: number[] = [];
  const starts = [0];
  for (const task of tasks) {
    const count = machine.inspect.traces.saveReliable(task, entries, call);
    if (count < 0) throw new Error(`the stack of ${task} is not reliable`);
    placesOf(task, words, entries.subarray(0, count), places);
    starts.push(places.length);
  }
  const at = Uint32Array.from(places);
  const from = Uint32Array.from(starts);
  const walkAll = (): void => {
    for (const task of tasks) machine.inspect.traces.saveReliable(task, entries, call);
  };
  const readAll = (): void => {
    for (let task = 0; task < tasks.length; task++) {
      let n = 0;
      for (let i = from[task]; i < from[task + 1]; i++) entries[n++] = words[at[i]];
    }
  };
  return { walk: best(walkAll), read: best(readAll), frames: places.length / tasks.length };
}

/** Where on its stack a task's return addresses lie, as indices of words. */
function placesOf(task: TaskStruct, words: Uint32Array, entries: Uint32Array, places: number[]): void {
  const base = (task.stackSlot * THREAD_SIZE) >>> 2;
  let at = base + ((task.spLo & (THREAD_SIZE - 1)) >>> 2);
  const end = base + (THREAD_SIZE >>> 2);
  for (const entry of entries) {
    while (at < end && (words[at] !== entry || words[at + 1] !== 0xffffffff)) at += 2;
    if (at >= end) throw new Error('a return address that is not on the stack');
    places.push(at);
    at += 2;
  }
}

function best(action: () => void): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    action();
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}

function transition(
  machine: Machine,
  tasks: readonly TaskStruct[],
): Pick<Measured, 'pass' | 'passOnCpu' | 'transition'> {
  const at = new Map<string, number>();
  let startedOnCpu = 0;
  machine.events.subscribe(
    (event) => {
      if (event.type !== 'transition') return;
      at.set(event.what, performance.now());
      if (event.what === 'starting') startedOnCpu = onCpu();
    },
    ['transition'],
  );
  machine.insmod('/klpdemo_patch_vmlinux.ko');
  const last = tasks[tasks.length - 1];
  const done = (): boolean => machine.inspect.core.tasks.idle.length > 0 && last.patchState === 1;
  if (!machine.runUntil(done, 60 * SECOND)) throw new Error('the tasks do not switch');
  const passed = performance.now();
  const passOnCpu = onCpu() - startedOnCpu;
  if (!machine.runUntil(() => at.has('complete'), 60 * SECOND)) throw new Error('the transition stays open');
  const [starting, initializing, complete] = ['starting', 'initializing', 'complete'].map(
    (w) => at.get(w) as number,
  );
  return { pass: passed - starting, passOnCpu, transition: complete - initializing };
}

const wanted = wantedPart();
if (wanted) {
  answer(await measure(Number.parseInt(wanted, 10), wanted.endsWith('shadow')));
  process.exit();
}
/** The shortest times of a few processes: what is measured once in each needs several. */
function measureOften(part: string, turns: number): Measured {
  const runs = Array.from({ length: turns }, () => askPart<Measured>(part));
  const shortest = (key: keyof Measured) => Math.min(...runs.map((run) => run[key]));
  const keys = Object.keys(runs[0]) as (keyof Measured)[];
  return Object.fromEntries(keys.map((key) => [key, shortest(key)])) as unknown as Measured;
}

const report = new Report('transition over sleeping tasks');
let first: { walk: number; read: number; pass: number } | undefined;
for (const count of COUNTS) {
  const {
    create,
    sleep,
    walk,
    read,
    frames,
    pass,
    passOnCpu,
    transition: whole,
    rss,
    heap,
  } = measureOften(`${count}`, count > AIMED ? 1 : TURNS);
  const name = `${count.toLocaleString('en-US')} tasks`;
  const aimed = count === AIMED;
  const rate = (ms: number): number => (count / ms) * 1000;
  report.add({ name: `${name}: made`, value: rate(create), unit: 'tasks/s' });
  report.add({ name: `${name}: put to sleep`, value: rate(sleep), unit: 'tasks/s' });
  const baseline = { name: 'the bare read', value: rate(read) };
  const note = `${frames.toFixed(1)} frames each`;
  report.add({ name: `${name}: stacks walked`, value: rate(walk), unit: 'tasks/s', baseline, note });
  const passed = { name: `${name}: stack-check pass in the machine`, value: rate(pass), unit: 'tasks/s' };
  report.add(aimed ? { ...passed, aim: { atLeast: 300_000 } } : passed);
  report.add({ name: `${name}: the same by processor time`, value: rate(passOnCpu), unit: 'tasks/s' });
  const complete = { name: `${name}: whole transition`, value: whole / 1000, unit: 's' };
  report.add(aimed ? { ...complete, aim: { below: 0.3 } } : complete);
  report.add({
    name: `${name}: memory`,
    value: rss / 1024,
    unit: 'KiB a task',
    note: `${number(heap)} bytes of heap`,
  });
  const each = { walk: walk / count, read: read / count, pass: pass / count };
  first ??= each;
  const growth = (part: keyof typeof each) => each[part] / (first as typeof each)[part];
  const growthOf = { name: 'that of the bare read', value: growth('read') };
  report.add({
    name: `${name}: time of a walk, of that at 100`,
    value: growth('walk'),
    unit: 'times',
    baseline: growthOf,
  });
}
const { walk, pass, transition: whole } = measureOften(`${AIMED} shadow`, TURNS);
report.add({
  name: `shadow stack on: stacks walked and compared`,
  value: (AIMED / walk) * 1000,
  unit: 'tasks/s',
});
report.add({ name: `shadow stack on: stack-check pass`, value: (AIMED / pass) * 1000, unit: 'tasks/s' });
report.add({ name: `shadow stack on: whole transition`, value: whole / 1000, unit: 's' });
report.end();
