// What a real kernel under the machine costs at each start, beside the built-in one in the same run: `klpemu shell -c true`
// as a process, its processor time and its memory at the peak.
//
//   KLPEMU_KERNEL=FILE npm run bench kernel_boot
//
// Needs a kernel that the machine takes: the file that KLPEMU_KERNEL names, or the running kernel's. The first start makes it
// ready where it is not kept, and is told by itself.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/guest/package_root.ts';
import { Report } from './lib/report.ts';

const TURNS = 9;
const MAIN = join(packageRoot(), 'dist/cli/main.js');
/** In the process itself: what the host counts for it. */
const COUNTING = `process.on('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  require('node:fs').writeFileSync(process.env.COUNTED, JSON.stringify({ cpu: (userCPUTime + systemCPUTime) / 1000, memory: maxRSS / 1024 }));
});`;

interface Cost {
  /** ms of processor time. */
  readonly cpu: number;
  /** MiB */
  readonly memory: number;
}

function start(folder: string, options: readonly string[]): Cost {
  const [counting, counted] = [join(folder, 'counting.cjs'), join(folder, 'counted.json')];
  writeFileSync(counting, COUNTING);
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const { status, stderr } = spawnSync(
    process.execPath,
    ['-r', counting, MAIN, 'shell', ...options, '-c', 'true'],
    {
      encoding: 'utf8',
      env: { ...env, COUNTED: counted },
    },
  );
  if (status !== 0) throw new Error(`klpemu shell ${options.join(' ')}: ${stderr}`);
  return JSON.parse(readFileSync(counted, 'utf8')) as Cost;
}

const less = (a: Cost, b: Cost): Cost => ({
  cpu: Math.min(a.cpu, b.cpu),
  memory: Math.min(a.memory, b.memory),
});

function main(): void {
  const kernel = process.env.KLPEMU_KERNEL ?? `/boot/vmlinuz-${release()}`;
  if (!existsSync(kernel)) {
    console.log('skipped: there is no kernel (KLPEMU_KERNEL)');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'klpemu-bench-'));
  try {
    const own = ['--kernel', kernel];
    const first = start(folder, own);
    let [real, builtIn] = [start(folder, own), start(folder, [])];
    for (let turn = 1; turn < TURNS; turn++)
      [real, builtIn] = [less(real, start(folder, own)), less(builtIn, start(folder, []))];
    const report = new Report(`a machine on ${kernel}`);
    report.add({
      name: 'processor time of the first start, kept before it or not',
      value: first.cpu,
      unit: 'ms',
    });
    report.add({
      name: 'processor time, from the cache',
      value: real.cpu,
      unit: 'ms',
      baseline: { name: 'the built-in kernel', value: builtIn.cpu },
      aim: { below: 500 },
      judged: 'value',
    });
    report.add({
      name: 'memory more than the built-in kernel, at the peak',
      value: real.memory - builtIn.memory,
      unit: 'MiB',
      aim: { below: 120 },
    });
    report.end();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

main();
