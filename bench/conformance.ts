// How long the kernel's own livepatch selftests take: all of them, on two machines, with the start of the machines and of
// the shell that drives them.
//
// Needs what `npm run conformance` needs: Debian's kernel source and headers.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Report } from './lib/report.ts';

const TURNS = 5;
const PASSED = /(\d+) of (\d+) tests passed in ([\d.]+) s/;

interface Turn {
  readonly tests: string;
  readonly time: number;
  readonly processor: number;
}

/** Seconds. @throws Error when a test fails */
function turn(): Turn {
  const before = childTime();
  const { stdout, stderr, status } = spawnSync(process.execPath, ['scripts/run.mjs', 'conformance'], {
    encoding: 'utf8',
  });
  const found = PASSED.exec(`${stdout}${stderr}`);
  if (status !== 0 || !found) throw new Error(`conformance: ${stderr || stdout}`);
  return { tests: `${found[1]} of ${found[2]}`, time: Number(found[3]), processor: childTime() - before };
}

/** Processor time of all processes that were started and have ended: user and system. */
function childTime(): number {
  const stdout = readFileSync('/proc/self/stat', 'utf8');
  const fields = stdout.slice(stdout.lastIndexOf(')') + 2).split(' ');
  // cutime and cstime, in hundredths of a second.
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

// The first one may fetch and build.
turn();
const turns = Array.from({ length: TURNS }, turn);
const least = (of: (one: Turn) => number): number => Math.min(...turns.map(of));
const report = new Report("the kernel's selftests");
report.add({
  name: `${turns[0]?.tests} passed, the shortest of ${TURNS}`,
  value: least((one) => one.time),
  unit: 's',
  aim: { below: 1 },
});
report.add({ name: 'processor time of all processes', value: least((one) => one.processor), unit: 's' });
report.end();
