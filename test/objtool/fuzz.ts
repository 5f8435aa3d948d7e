// The long run of broken objects: `npm run fuzz [COUNT] [SEED] [FILE...]`. Ends with 1 at the first crash.

import { readdirSync, readFileSync } from 'node:fs';
import { tryObject } from './broken.ts';
import { Random, Victim } from './mutations.ts';

const MODULES = 'fixtures/modules';
const SLOW_MS = 2000;

const [count, seed] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)];
const given = process.argv.slice(4);
const files = given.length > 0 ? given : readdirSync(MODULES).map((file) => `${MODULES}/${file}`);
const victims = files.filter((f) => f.endsWith('.ko')).map((f) => new Victim(readFileSync(f), f));

let [tables, slowest, peak] = [0, 0, 0];
const started = performance.now();
for (let i = 0; i < count; i++) {
  const random = new Random(seed * 1_000_003 + i);
  const victim = victims[i % victims.length];
  const bytes = victim.mutate(random);
  const before = performance.now();
  try {
    if (tryObject(bytes, victim.name) === 'tables') tables++;
  } catch (error) {
    console.error(`mutation ${i} of ${victim.name} (seed ${seed}): ${(error as Error).stack}`);
    process.exit(1);
  }
  const took = performance.now() - before;
  slowest = Math.max(slowest, took);
  if (took > SLOW_MS) console.error(`mutation ${i} of ${victim.name} (seed ${seed}): ${Math.round(took)} ms`);
  if (i % 100 === 0) peak = Math.max(peak, process.memoryUsage().rss);
}
console.log(
  `${count} broken objects in ${((performance.now() - started) / 1000).toFixed(1)} s: ${tables} with tables, ` +
    `${count - tables} with an error; the slowest took ${slowest.toFixed(0)} ms, peak memory ${peak >> 20} MiB`,
);
