// What a machine costs: booting it again and again in one process until its first instruction and closing it, and the
// memory of many that are open at once, beyond the pages that their guests have written to.
//
// Linux only: the kernel's account of the process, /proc/self/smaps_rollup.

import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PAGE_SIZE } from '../src/guest/memory.ts';
import { Machine } from '../src/machine/machine.ts';
import { answer, askPart, wantedPart } from './lib/child.ts';
import { Report } from './lib/report.ts';

const BOOTS = 400;
const OPEN = 40;
const TURNS = 3;

interface Boots {
  readonly shortest: number;
  readonly processor: number;
}

/** ms. */
async function boots(): Promise<Boots> {
  let shortest = Number.POSITIVE_INFINITY;
  const before = process.cpuUsage();
  for (let i = 0; i < BOOTS; i++) {
    const start = performance.now();
    await bootOne().then((machine) => machine.close());
    shortest = Math.min(shortest, performance.now() - start);
  }
  const { user, system } = process.cpuUsage(before);
  return { shortest, processor: (user + system) / 1000 / BOOTS };
}

async function bootOne(): Promise<Machine> {
  const machine = await Machine.boot();
  while (machine.inspect.executor.instructions === 0) machine.step();
  return machine;
}

interface Size {
  /** MiB a machine: all that the process has more, and of it pages of guest RAM. */
  readonly all: number;
  readonly guest: number;
}

/** What as many again add to those that are open: the first ones find room that the process has already. */
async function size(): Promise<Size> {
  const machines: Machine[] = [];
  const open = async (): Promise<number> => {
    for (let i = 0; i < OPEN; i++) machines.push(await bootOne());
    return resident();
  };
  const before = await open();
  const after = await open();
  const pages = machines.slice(OPEN).reduce((sum, { inspect }) => sum + inspect.core.mem.pagesTouched, 0);
  for (const machine of machines) machine.close();
  return { all: (after - before) / OPEN / 2 ** 20, guest: (pages * PAGE_SIZE) / OPEN / 2 ** 20 };
}

/** Bytes of the process that nobody else has, after collections that are forced. */
async function resident(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const text = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const kb = /^Private_Dirty: +(\d+) kB/m.exec(text)?.[1];
  return Number(kb) * 1024;
}

const PARTS = { boots, size };
const wanted = wantedPart() as keyof typeof PARTS | undefined;
if (wanted) {
  answer(await PARTS[wanted]());
  process.exit();
}
const report = new Report('a machine');
const turns = Array.from({ length: TURNS }, () => askPart<Boots>('boots'));
const least = (of: (one: Boots) => number): number => Math.min(...turns.map(of));
report.add({
  name: `booted, first instruction, closed: the shortest of ${BOOTS}`,
  value: least((one) => one.shortest),
  unit: 'ms',
  aim: { below: 2 },
});
report.add({
  name: 'the same, processor time, the average, with what V8 compiles',
  value: least((one) => one.processor),
  unit: 'ms',
});
const { all, guest } = askPart<Size>('size');
report.add({ name: `memory of one of ${2 * OPEN} that are open`, value: all, unit: 'MiB' });
report.add({ name: 'of it guest memory that was written to', value: guest, unit: 'MiB' });
report.add({ name: "beyond the guest's", value: all - guest, unit: 'MiB', aim: { below: 1 } });
report.end();
