// `judge --coverage NAME=DIR...`: how many instructions of modules the core can execute, and how many a check of the same
// modules steps over. What was found is kept (findings.ts).

import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../../../src/guest/package_root.ts';
import { coreDigest } from './built.ts';
import { type Coverage, coverageOf } from './coverage.ts';
import { findings, keep } from './findings.ts';

/** What `klpemu check` made of the same modules. */
interface Checked {
  /** Instructions that it came to. */
  readonly reached: number;
  readonly skipped: number;
  readonly because: Readonly<Record<string, number>>;
}

export interface Covered extends Coverage {
  readonly build: string;
  /** The kernel's release. */
  readonly name: string;
  readonly check: Checked;
}

interface CheckResult {
  readonly summary: Readonly<Record<string, number>>;
  readonly objects: readonly {
    readonly check?: { readonly skippedBecause: Readonly<Record<string, number>> };
  }[];
}

/** It is large: it goes through a file. */
function checkOf(folder: string): Checked {
  const scratch = mkdtempSync(join(tmpdir(), 'klpemu-coverage-'));
  const output = openSync(join(scratch, 'check.json'), 'w');
  const program = join(packageRoot(), 'dist/cli/main.js');
  const { status, error } = spawnSync(process.execPath, [program, 'check', '--json', folder], {
    stdio: ['ignore', output, 'inherit'],
  });
  closeSync(output);
  if (error) throw error;
  if (status !== 0 && status !== 1 && status !== 2) throw new Error(`klpemu check ended with ${status}`);
  const { summary, objects } = JSON.parse(readFileSync(join(scratch, 'check.json'), 'utf8')) as CheckResult;
  rmSync(scratch, { recursive: true });
  const because: Record<string, number> = {};
  for (const { check } of objects) {
    for (const [why, n] of Object.entries(check?.skippedBecause ?? {}))
      because[why] = (because[why] ?? 0) + n;
  }
  return { reached: summary.reached, skipped: summary.skipped, because };
}

const whole = (n: number): string => n.toLocaleString('en-US');

/** In percent, to the last instruction: nothing is rounded up to all. */
export const percent = (part: number, all: number): string =>
  `${(Math.floor((1_000_000 * part) / all) / 10_000).toFixed(4)} %`;

export const lackingIn = ({ lacking }: Coverage): number =>
  Object.values(lacking).reduce((total, n) => total + n, 0);

function tell({ name, modules, instructions, data, lacking, check }: Covered): void {
  const without = lackingIn({ lacking } as Coverage);
  console.log(
    `${name}: ${whole(modules)} modules, ${whole(instructions)} instructions, ` +
      `${whole(instructions - without)} (${percent(instructions - without, instructions)}) can be executed`,
  );
  if (data > 0) console.log(`${whole(data)} bytes of code are no instruction`);
  for (const [key, n] of Object.entries(lacking)) console.log(`  not executed: ${whole(n)} ${key}`);
  console.log(
    `  check steps over ${whole(check.skipped)} of ${whole(check.reached)} (${((100 * check.skipped) / check.reached).toFixed(4)} %)`,
  );
  for (const [why, n] of Object.entries(check.because)) console.log(`    ${why}: ${whole(n)}`);
}

/** @param wanted a release and a folder of its modules each, as NAME=DIR @returns exit status */
export function judgeCoverage(wanted: readonly string[]): number {
  const folders = wanted.map((one) => {
    const at = one.indexOf('=');
    return { name: one.slice(0, at), folder: one.slice(at + 1), named: at > 0 };
  });
  const bad = folders.find(
    ({ named, folder }) => !named || !statSync(folder, { throwIfNoEntry: false })?.isDirectory(),
  );
  if (bad || folders.length === 0) {
    console.error(
      `judge: --coverage takes NAME=DIR, a release and the folder of its modules${bad ? `: ${bad.folder} is none` : ''}`,
    );
    return 2;
  }
  const found = new Map(findings().coverage?.map((covered) => [covered.name, covered]));
  for (const { name, folder } of folders) {
    const coverage = coverageOf(folder);
    if (coverage.modules === 0) {
      console.error(`judge: ${folder} has no modules`);
      return 2;
    }
    const covered = { build: coreDigest(), name, ...coverage, check: checkOf(folder) };
    tell(covered);
    found.set(name, covered);
  }
  keep({
    coverage: [...found.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })),
  });
  return 0;
}
