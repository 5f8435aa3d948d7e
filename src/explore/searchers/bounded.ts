// Bounded: every schedule of up to so many preemptions over the points (Musuvathi and Qadeer, PLDI 2007), those with fewer first.
//
// The work is a queue of prefixes: a run whose last decision was at one of its points has as successors all that do one thing
// more at a later one. A decision by which nothing changed has none: its run is that of the prefix before.
//
// Of points between which a CPU only reads the last comes first: to stand still at one before, or to be preempted there, is the same
// where the others write nothing of what is read between (footprints.ts), and is left out; so is a preemption that comes where
// another does (trail.ts), and to stand still where nobody else has anything to do.
//
// Invariant: of each set of decisions it, or one that comes to the same, is run once; the state is all that is left to do.

import { ANYTHING, APART } from '../footprints.ts';
import { type Decision, type Plan, QUIET } from '../plan.ts';
import {
  type Course,
  KINDS,
  type Kind,
  type Outcome,
  pointsOf,
  type Searcher,
  type SearcherOptions,
  type SearcherState,
  type Stores,
} from '../searcher.ts';
import { alikeTo, type Trail } from '../trail.ts';

/** Points of one CPU between which it only reads: where to do this next, and the first. */
interface Stretch {
  readonly kind: 'h' | 'p';
  readonly first: number;
  at: number;
  /** What comes of it is not known yet. */
  isUnderWay: boolean;
}

/** All plans that have these decisions, and one more at a point from `next` on. */
interface Prefix {
  readonly decisions: readonly Decision[];
  next: number;
  /** How many stores are to be visible there. */
  visible: number;
  readonly trail: Trail;
  /** Points where to stand still is in vain. */
  readonly alone: readonly number[];
  /** Points where stores wait, and how many do. */
  readonly stores: Stores;
  /** By point, from the first that is left on. */
  readonly near: readonly number[];
  /** Where to stand still, and then where to be preempted. */
  stretches: Stretch[];
  /** Points at which a preemption is one that was run. */
  alike: number[];
}

export class BoundedSearcher implements Searcher {
  readonly #preemptions: number;
  readonly #kinds: readonly Kind[];
  /** By how many decisions they have. */
  readonly #queue: Prefix[];
  /** By their decisions. */
  readonly #prefixes = new Map<string, Prefix>();
  /** Plans that come to the same as one that was run. */
  leftOut: number;

  constructor(options: SearcherOptions) {
    const { preemptions, first, kinds = KINDS, state } = options;
    this.#preemptions = preemptions;
    this.#kinds = kinds;
    this.leftOut = Number(state?.leftOut ?? 0);
    this.#queue = state ? (structuredClone(state.queue) as Prefix[]) : [this.#prefix([], 0, first)];
    for (const prefix of this.#queue) this.#prefixes.set(JSON.stringify(prefix.decisions), prefix);
  }

  get state(): SearcherState {
    return { queue: this.#queue, leftOut: this.leftOut };
  }

  #prefix(decisions: readonly Decision[], next: number, course: Course): Prefix {
    const { trail, stores, near = [], alone = [] } = course;
    const end = pointsOf(course);
    const stretches: Stretch[] = [];
    for (const kind of ['h', 'p'] as const) {
      if (!this.#kinds.includes(kind)) continue;
      for (let first = next, at = next; at < end; at++) {
        if (at + 1 < end && (near[at] ?? APART) !== APART) continue;
        stretches.push({ kind, first, at, isUnderWay: false });
        first = at + 1;
      }
    }
    return { decisions, next, visible: 0, trail, stores, near, alone, stretches, alike: [] };
  }

  next(): Plan | undefined {
    for (let i = 0; i < this.#queue.length; ) {
      const prefix = this.#queue[i];
      const decision = this.#onStretch(prefix) ?? this.#withStores(prefix);
      if (decision) return { base: QUIET, decisions: [...prefix.decisions, decision] };
      if (prefix.stretches.length > 0) i++;
      else {
        this.#queue.splice(i, 1);
        this.#prefixes.delete(JSON.stringify(prefix.decisions));
      }
    }
    return undefined;
  }

  #onStretch(prefix: Prefix): Decision | undefined {
    for (;;) {
      const stretch = prefix.stretches.find(({ isUnderWay }) => !isUnderWay);
      if (!stretch) return undefined;
      const { kind, at: visit } = stretch;
      if (kind === 'p' && prefix.alike.includes(visit)) {
        this.leftOut++;
        stretch.at--;
        endOf(prefix, stretch);
        continue;
      }
      if (kind === 'h' && prefix.alone.includes(visit)) {
        this.leftOut++;
        this.#goBack(prefix, stretch, 0);
        continue;
      }
      stretch.isUnderWay = true;
      return { visit, kind };
    }
  }

  /** A point after the other. */
  #withStores(prefix: Prefix): Decision | undefined {
    if (!this.#kinds.includes('w')) return undefined;
    for (; prefix.next < pointsOf(prefix); prefix.next++, prefix.visible = 0) {
      const visit = prefix.next;
      const waiting = prefix.stores.find(([at]) => at === visit)?.[1] ?? 0;
      if (prefix.alone.includes(visit)) this.leftOut += waiting;
      else if (prefix.visible < waiting) return { visit, kind: 'w', stores: prefix.visible++ };
    }
    return undefined;
  }

  done({ plan: { decisions }, ...outcome }: Outcome): undefined {
    const last = decisions.at(-1);
    if (!last) return;
    this.#learn(decisions, last, outcome);
    // What goes on from where something was wrong is about that.
    if (outcome.pointless || outcome.found || decisions.length >= this.#preemptions) return;
    if (last.visit + 1 >= pointsOf(outcome)) return;
    const prefix = this.#prefix(decisions, last.visit + 1, outcome);
    this.#queue.push(prefix);
    this.#prefixes.set(JSON.stringify(decisions), prefix);
  }

  #learn(
    decisions: readonly Decision[],
    { visit, kind }: Decision,
    { pointless, trail, met = ANYTHING }: Omit<Outcome, 'plan'>,
  ): void {
    const prefix = this.#prefixes.get(JSON.stringify(decisions.slice(0, -1)));
    if (!prefix) return;
    if (kind === 'p')
      prefix.alike.push(...alikeTo(visit, trail, prefix.trail).filter((one) => !prefix.alike.includes(one)));
    const stretch = prefix.stretches.find((one) => one.kind === kind && one.at === visit);
    if (!stretch) return;
    stretch.isUnderWay = false;
    this.#goBack(prefix, stretch, pointless ? 0 : met);
  }

  /** To where it was not the same. @param written by others meanwhile */
  #goBack(prefix: Prefix, stretch: Stretch, written: number): void {
    for (stretch.at--; stretch.at >= stretch.first; stretch.at--) {
      if (written >= ANYTHING || (prefix.near[stretch.at] & written) !== 0) break;
      this.leftOut++;
    }
    endOf(prefix, stretch);
  }
}

function endOf(prefix: Prefix, stretch: Stretch): void {
  if (stretch.at < stretch.first) prefix.stretches = prefix.stretches.filter((one) => one !== stretch);
}
