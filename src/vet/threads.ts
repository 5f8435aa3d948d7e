// Functions of kernel threads: constants that code hands to who makes threads.

import type { CallGraph } from '../callgraph/graph.ts';
import type { CodeReader } from './code_reader.ts';
import { MAKES_THREADS } from './sleeps.ts';

interface FoundThread {
  /** Low half of its function's address. */
  readonly start: number;
  /** Who makes it. */
  readonly maker: string;
}

export interface FoundThreads {
  readonly threads: readonly FoundThread[];
  /** Places that make threads of functions that the code there does not name. */
  readonly unknown: number;
}

/** @param module whose code is looked at; undefined: the kernel's */
export function findThreads(graph: CallGraph, reader: CodeReader, module: string | undefined): FoundThreads {
  const threads: FoundThread[] = [];
  let unknown = 0;
  for (const { from, at } of graph.branchesTo(MAKES_THREADS, module)) {
    const start = reader.argumentAt(from, at, 0);
    const thread = start === undefined ? -1 : graph.at(start);
    if (start === undefined || thread < 0 || graph.start(thread) !== start) unknown++;
    else threads.push({ start, maker: graph.name(from) });
  }
  return { threads, unknown };
}
