// The searchers by their names.

import type { Searcher, SearcherOptions } from '../searcher.ts';
import { BoundedSearcher } from './bounded.ts';
import { DeterminismSearcher } from './determinism.ts';
import { PctSearcher } from './pct.ts';
import { RandomSearcher } from './random.ts';
import { ReplaySearcher } from './replay.ts';

export const SEARCHERS = {
  bounded: (options: SearcherOptions) => new BoundedSearcher(options),
  pct: (options: SearcherOptions) => new PctSearcher(options),
  random: (options: SearcherOptions) => new RandomSearcher(options),
  replay: (options: SearcherOptions) => new ReplaySearcher(options),
  determinism: (options: SearcherOptions) => new DeterminismSearcher(options),
} as const satisfies Record<string, (options: SearcherOptions) => Searcher>;

export type SearcherName = keyof typeof SEARCHERS;
