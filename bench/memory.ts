// What stays behind: of machines that are booted and closed, and of cycles of load, patch and unload in one machine.
// Each kind of memory by itself, since the process as a whole goes up and down by tens of megabytes with the young
// generation of V8: what is allocated on C's heap, the engine's buffer of translations, JavaScript's heap, and the whole.
//
//   npm run bench memory -- --many      3,000 cycles and 200 machines
//
// Linux with glibc only: its mallinfo2() and the kernel's account of the process, /proc/self/smaps.

import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import koffi from 'koffi';
import { Machine } from '../src/machine/machine.ts';
import { numberedMember, numberedTarget } from './lib/numbered_modules.ts';
import { Report } from './lib/report.ts';

const many = process.argv.includes('--many');
const MACHINES = many ? 200 : 60;
const CYCLES = many ? 3000 : 500;
const WARM_MACHINES = 20;
const WARM_CYCLES = 500;
const LIMIT = 600e9;
/** An executable mapping of this size is the engine's: 1 GiB in the releases that are known. */
const CODE_BUFFER = 64 << 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const FIELDS = 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split(' ');
const mallinfo2 = koffi
  .load('libc.so.6')
  .func(
    'mallinfo2',
    koffi.struct('mallinfo2', Object.fromEntries(FIELDS.map((name) => [name, 'size_t']))),
    [],
  );

/** In kB. */
interface Memory {
  readonly "C's heap, in use": number;
  readonly "the engine's buffer of translations": number;
  readonly "JavaScript's heap, in use": number;
  readonly 'the process': number;
}

async function measure(): Promise<Memory> {
  // Twice: buffers are freed by a task that the first collection leaves.
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  let code = 0;
  let all = 0;
  let isCode = false;
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const [, from, to, mode] = /^([\da-f]+)-([\da-f]+) (\S+) /.exec(line) ?? [];
    if (from !== undefined && to !== undefined) {
      const size = Number.parseInt(to, 16) - Number.parseInt(from, 16);
      isCode = mode?.startsWith('rwx') === true && size > CODE_BUFFER;
    }
    const rss = Number(/^Rss:\s+(\d+) kB/.exec(line)?.[1] ?? 0);
    all += rss;
    if (isCode) code += rss;
  }
  return {
    "C's heap, in use": Number(mallinfo2().uordblks) / 1024,
    "the engine's buffer of translations": code,
    "JavaScript's heap, in use": process.memoryUsage().heapUsed / 1024,
    'the process': all,
  };
}

const report = new Report('memory');

async function stays(what: string, times: number, work: () => Promise<void> | void): Promise<void> {
  const before = await measure();
  for (let i = 0; i < times; i++) {
    await work();
    if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
  const after = await measure();
  for (const kind of Object.keys(before) as (keyof Memory)[]) {
    const total = `${Math.round(before[kind])} to ${Math.round(after[kind])} kB over ${times}`;
    report.add({
      name: `${what}: ${kind}`,
      value: (after[kind] - before[kind]) / times,
      unit: 'kB',
      note: total,
    });
  }
}

async function bootAndClose(): Promise<void> {
  (await Machine.boot()).close();
  collect();
}

function cycle(machine: Machine): void {
  const until = (what: () => boolean): void => {
    if (!machine.runUntil(what, LIMIT)) throw new Error(machine.dmesg().slice(-3).join('; '));
  };
  const ended = (task: ReturnType<Machine['insmod']>): void => {
    until(() => machine.exitStatus(task) !== undefined);
    if (machine.exitStatus(task) !== 0) throw new Error(machine.dmesg().slice(-3).join('; '));
  };
  const settled = (): void => until(() => !machine.inspect.livepatch.transitionPatch);
  ended(machine.insmod('/target.ko'));
  ended(machine.insmod('/patch.ko'));
  settled();
  ended(machine.spawn('echo', ['0', '/sys/kernel/livepatch/klpbundle_p2_0000/enabled']));
  settled();
  // The patch lets go of its module in a work item.
  until(() => machine.readText('/sys/module/klpbundle_p2_0000/refcnt') === '0\n');
  ended(machine.rmmod('klpbundle_p2_0000'));
  ended(machine.rmmod('klpbundle_0000'));
}

for (let i = 0; i < WARM_MACHINES; i++) await bootAndClose();
await stays('a machine', MACHINES, bootAndClose);
const machine = await Machine.boot();
machine.addFile('/target.ko', numberedTarget(0));
machine.addFile('/patch.ko', numberedMember(0));
for (let i = 0; i < WARM_CYCLES; i++) cycle(machine);
await stays('a cycle', CYCLES, () => cycle(machine));
const open = await measure();
machine.close();
const closed = await measure();
for (const kind of ["C's heap, in use", "the engine's buffer of translations"] as const) {
  report.add({
    name: `after its close: ${kind}`,
    value: closed[kind],
    unit: 'kB',
    baseline: { name: 'open', value: open[kind] },
  });
}
report.end();
