// How long `klpemu run` of the smallest scenario takes as a process, Node's start included, against a process of
// Node that does nothing; and where the time to the guest's first instruction goes.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { CoreEngine } from '../src/arch/x86_64/engine/core_engine.ts';
import { packageRoot } from '../src/guest/package_root.ts';
import { loadKernelImage } from '../src/machine/boot/image.ts';
import { Machine } from '../src/machine/machine.ts';
import { answer, askPart, wantedPart } from './lib/child.ts';
import { Report } from './lib/report.ts';

const TURNS = 15;
/** Bytes of an engine's memory that nobody uses. */
const PROBE = 1 << 20;
const root = packageRoot();
const COMMANDS = {
  nothing: ['-e', '0'],
  version: [join(root, 'dist/cli/main.js'), '--version'],
  run: [join(root, 'dist/cli/main.js'), 'run', join(root, 'fixtures/scenarios/smallest.yaml')],
};
const PHASES = ['start', 'image', 'engine', 'boot', 'first'] as const;
type Phases = Record<(typeof PHASES)[number], number>;

/** ms of each phase, in this process. */
async function phases(): Promise<Phases> {
  const marks = [0, performance.now()]; // the clock starts with the process
  const lap = (): number => marks.push(performance.now());
  await loadKernelImage();
  lap();
  new CoreEngine().allocate(PROBE);
  lap();
  const machine = await Machine.boot();
  lap();
  while (machine.inspect.executor.instructions === 0) machine.step();
  lap();
  return Object.fromEntries(PHASES.map((phase, i) => [phase, marks[i + 1] - marks[i]])) as Phases;
}

function wall(argv: readonly string[]): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${argv.join(' ')}: ${stderr}`);
  return performance.now() - start;
}

if (wantedPart()) {
  answer(await phases());
  process.exit();
}
const best: Record<string, number> = {};
const note = (name: string, ms: number): void => {
  best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, ms);
};
for (let turn = 0; turn < TURNS; turn++) {
  for (const [name, argv] of Object.entries(COMMANDS)) note(name, wall(argv));
  for (const [phase, ms] of Object.entries(askPart<Phases>('phases'))) note(phase, ms);
}
const report = new Report('from the command to the guest');
const nothing = { name: 'a Node that does nothing', value: best.nothing };
report.add({
  name: 'klpemu run smallest.yaml',
  value: best.run,
  unit: 'ms',
  baseline: nothing,
  aim: { below: 150 },
  judged: 'value',
});
report.add({ name: 'klpemu --version', value: best.version, unit: 'ms', baseline: nothing });
const unit = 'ms';
report.add({ name: "Node's start and the program read, in a bundle of one file", value: best.start, unit });
report.add({ name: 'kernel image read', value: best.image, unit });
report.add({ name: 'engine read and compiled, its memory made', value: best.engine, unit });
report.add({ name: 'machine made: memory, symbols, ftrace, files, tasks', value: best.boot, unit });
report.add({ name: 'first instruction', value: best.first, unit });
const total = PHASES.reduce((sum, phase) => sum + best[phase], 0);
report.add({ name: 'to the first instruction, in all', value: total, unit, baseline: nothing });
report.end();
