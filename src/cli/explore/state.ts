// What an exploration leaves for the one that goes on from it: a file.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { SearcherState } from '../../explore/searcher.ts';
import { systemReason, UsageError } from '../exit.ts';
import { writeWholeFile } from './write_state.ts';

interface SavedState {
  /** Of the scenario's text and of the options that say what is explored. */
  readonly of: string;
  readonly schedules: number;
  readonly pointless: number;
  readonly searcher: SearcherState;
}

export const stateKey = (text: string, ...options: readonly (string | number)[]): string =>
  createHash('sha256')
    .update(JSON.stringify([text, ...options]))
    .digest('hex')
    .slice(0, 32);

/** @returns undefined where there is no such file. @throws UsageError */
export function readState(file: string, key: string): SavedState | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new UsageError(`${file}: ${systemReason(error)}`);
  }
  const state = parse(text);
  if (!state) throw new UsageError(`${file}: is no state of an exploration`);
  if (state.of !== key) throw new UsageError(`${file}: is of another scenario, or of other options`);
  return state;
}

function parse(text: string): SavedState | undefined {
  try {
    const { of, schedules, pointless, searcher } = JSON.parse(text) as Record<string, unknown>;
    const counts = [schedules, pointless].every((count) => Number.isSafeInteger(count));
    if (typeof of !== 'string' || !counts || typeof searcher !== 'object' || searcher === null)
      return undefined;
    return JSON.parse(text) as SavedState;
  } catch {
    return undefined;
  }
}

/** @throws UsageError */
export function writeState(file: string, state: SavedState): void {
  writeWholeFile(file, `${JSON.stringify(state)}\n`);
}
