// What runs of the judge found that take minutes: kept in findings.json, of which docs/processor.md is made.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../../src/guest/package_root.ts';
import type { Covered } from './coverage_main.ts';
import type { FunctionsFound } from './functions_main.ts';
import type { Verdict } from './session.ts';

const FILE = join(packageRoot(), 'test/arch/x86_64/judge/findings.json');

export interface SequencesFound {
  readonly build: string;
  readonly sequences: number;
  readonly unicorn: Verdict;
  readonly host: Verdict;
}

export interface Findings {
  /** By release. */
  readonly coverage?: readonly Covered[];
  readonly functions?: FunctionsFound;
  readonly sequences?: SequencesFound;
}

export const findings = (): Findings =>
  existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as Findings) : {};

/** Instead of what was found of the same before. */
export function keep(found: Findings): void {
  writeFileSync(FILE, `${JSON.stringify({ ...findings(), ...found }, null, 2)}\n`);
}
