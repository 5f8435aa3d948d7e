// Going back in a run of ten seconds of virtual time: the way from its end to an instruction, as `reverse-continue` and
// `monitor goto` go it, and from there to the one before, as `reverse-stepi`. The instructions are spread over the run.
//
// The host's clock is what a person waits by; processor time is what other programs do not change.

import { join } from 'node:path';
import { Session } from '../src/gdb/session.ts';
import { packageRoot } from '../src/guest/package_root.ts';
import { Checkpoints } from '../src/history/checkpoints.ts';
import { positionOf } from '../src/history/debuggee.ts';
import { scenarioProgram } from '../src/history/driven_run.ts';
import { parseScenario } from '../src/scenario/parse.ts';
import { Report } from './lib/report.ts';

const SECONDS = 10;
const MOMENTS = 6;
/** Each next one is that part of the run further: they spread evenly, in no order. */
const GOLDEN = 0.618_033_988_75;
const MIB = 2 ** 20;

/** The demo's tasks and modules, one CPU that is never idle among them. */
const SCENARIO = parseScenario(
  `
name: ten seconds
machine: { cpus: 4, seed: 1 }
limit: 60s
modules: [../modules/klpdemo_target.ko, ../modules/klpdemo_patch_both.ko]
tasks:
  - { name: cmdline-reader, program: reader, args: [/proc/cmdline, 7] }
  - { name: forker, program: forker, args: [30] }
  - { name: hog, program: spin }
  - { name: meminfo-reader, program: reader, args: [/proc/meminfo, 1] }
steps:
  - { at: 100ms, load: klpdemo_target }
  - { at: 500ms, load: klpdemo_patch_both, exit: 0 }
  - { at: 2500ms, disable: klpdemo_patch_both }
  - { at: ${SECONDS}s, check: { dmesg: [patching complete] } }
`,
  join(packageRoot(), 'fixtures/scenarios/back.yaml'),
);

interface Cost {
  readonly ms: number;
  readonly processor: number;
}

async function cost(work: () => Promise<unknown>): Promise<Cost> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - start, processor: (user + system) / 1000 };
}

const report = new Report('going back');
const checkpoints = new Checkpoints(scenarioProgram(SCENARIO));
const run = await checkpoints.boot();
const whole = await cost(async () => {
  while (run.over === undefined) await run.go(Number.POSITIVE_INFINITY);
});
const end = positionOf(run);
const session = new Session(run, checkpoints);
const ways: Cost[] = [];
const steps: Cost[] = [];
const seconds: Cost[] = [];
const writers: Cost[] = [];
let most = process.memoryUsage().rss;
for (let i = 1; i <= MOMENTS; i++) {
  const to = Math.floor(end * ((i * GOLDEN) % 1));
  ways.push(await cost(() => session.goTo({ position: to })));
  steps.push(await cost(() => session.reverseStep(session.thread)));
  seconds.push(await cost(() => session.reverseStep(session.thread)));
  // Data: nobody has noted who wrote it.
  const { core } = session.machine.inspect;
  const addr = core.symbols.require('jiffies_64');
  session.points.addWatchpoint({ addr, size: 8, access: 'write' });
  writers.push(await cost(() => session.reverseContinue()));
  session.points.clear();
  most = Math.max(most, process.memoryUsage().rss);
  await session.goTo({ position: end });
}
const average = (of: keyof Cost, costs: readonly Cost[]): number =>
  costs.reduce((sum, one) => sum + one[of], 0) / costs.length;
const baseline = { name: 'the whole run', value: whole.processor };
report.add({ name: 'instructions of the run', value: end / 1e6, unit: 'million' });
for (const [name, costs] of [
  ['to an instruction', ways],
  ['to the one before, for the first time', steps],
  ['and to the one before that', seconds],
  ['to the last write of a datum before it', writers],
] as const) {
  report.add({ name: `${name}, on average`, value: average('ms', costs), unit: 'ms' });
  const value = average('processor', costs);
  const judged = { aim: { below: 1000 }, judged: 'value' } as const;
  report.add({ name: `${name}, processor time`, value, unit: 'ms', baseline, ...judged });
}
report.add({ name: 'memory of the process at most', value: most / MIB, unit: 'MiB' });
report.end();
session.close();
checkpoints.close();
