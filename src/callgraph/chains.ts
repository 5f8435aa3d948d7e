// The shortest way from a function to one of several, by direct calls.

import type { CallGraph, Edge } from './graph.ts';

export interface Step {
  readonly func: number;
  /** The branch that leads to the next one; of the last, none. */
  readonly edge: Edge | undefined;
}

interface Search {
  /** From the function to the one that was looked for; undefined: no direct calls lead there. */
  readonly chain: readonly Step[] | undefined;
  /** Functions that were looked at. */
  readonly seen: number;
  /** Places in those that call nobody knows what. */
  readonly unknown: number;
}

/**
 * Breadth first; calls of what never returns are not followed: who makes one is not there any more.
 * @param isPassed what is not looked into
 */
export function shortestChain(
  graph: CallGraph,
  from: number,
  isWanted: (func: number) => boolean,
  isPassed: (func: number) => boolean = () => false,
): Search {
  const cameBy = new Map<number, { from: number; edge: Edge } | undefined>([[from, undefined]]);
  const queue = [from];
  let unknown = 0;
  for (let i = 0; i < queue.length; i++) {
    const func = queue[i];
    unknown += graph.indirect(func).length;
    for (const edge of graph.callees(func)) {
      if (cameBy.has(edge.to)) continue;
      cameBy.set(edge.to, { from: func, edge });
      if (isWanted(edge.to)) return { chain: chainTo(cameBy, edge.to), seen: queue.length, unknown };
      if (!graph.isDeadEnd(edge.to) && !isPassed(edge.to)) queue.push(edge.to);
    }
  }
  return { chain: undefined, seen: queue.length, unknown };
}

function chainTo(
  cameBy: ReadonlyMap<number, { from: number; edge: Edge } | undefined>,
  to: number,
): readonly Step[] {
  const steps: Step[] = [{ func: to, edge: undefined }];
  for (let at = cameBy.get(to); at; at = cameBy.get(at.from)) steps.unshift({ func: at.from, edge: at.edge });
  return steps;
}

/** Who gets to a function by direct calls, the nearest first, with the chain from each. */
export function chainsFrom(
  graph: CallGraph,
  to: number,
  isWanted: (func: number) => boolean,
  most: number,
  depth: number,
): (readonly number[])[] {
  const next = new Map<number, number>([[to, -1]]);
  let level = [to];
  const found: number[][] = [];
  for (let d = 0; d < depth && level.length > 0 && found.length < most; d++) {
    const above: number[] = [];
    for (const func of level) {
      // Who calls what never returns is not there any more.
      if (func !== to && graph.isDeadEnd(func)) continue;
      for (const caller of graph.callers(func)) {
        if (next.has(caller)) continue;
        next.set(caller, func);
        above.push(caller);
        if (!isWanted(caller) || found.length >= most) continue;
        const chain: number[] = [];
        for (let at = caller; at >= 0; at = next.get(at) ?? -1) chain.push(at);
        found.push(chain);
      }
    }
    level = above;
  }
  return found;
}
