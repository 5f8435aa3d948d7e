// The order of a run's points as far as it matters: each behind what its task did before, behind the last write of what it
// reads, and behind the last write and all reads since of what it writes. Points that have no part in each other have no order.
//
// It is kept as a number, so that two runs can be compared at every point: the sum over the points of a hash of each and of those
// that it is behind (happens-before; of Mazurkiewicz's traces the normal form is the same whatever the order of what commutes).
//
// What is no point may still be seen: a check of a stack sees where its task sleeps. So where tasks are is part of the number.
//
// Invariant: the same points behind the same ones have the same number.

import type { Touched } from './points.ts';

type Hash = readonly [number, number];
const NONE: Hash = [0x9e3779b9, 0x85ebca6b];

/** States that runs have come to, and with how few decisions. */
export class States {
  readonly #least = new Map<number, number>();

  get size(): number {
    return this.#least.size;
  }

  /** @returns whether a run with as few decisions was there */
  has(state: number, decisions: number): boolean {
    const least = this.#least.get(state);
    return least !== undefined && least <= decisions;
  }

  add(state: number, decisions: number): void {
    if (!this.has(state, decisions)) this.#least.set(state, decisions);
  }
}

export class Order {
  #sum: Hash = [0, 0];
  readonly #tasks = new Map<string, Hash>();
  readonly #writes = new Map<string, Accesses>();
  readonly #reads = new Map<string, Accesses>();

  /** All that has happened so far, and where those are who wait. @param places of each, as numbers of 32 bits */
  stateAt(places: readonly number[]): number {
    let hash = this.#sum;
    for (let i = 0; i < places.length; i++) hash = mix(hash, [places[i], i]);
    return (hash[0] >>> 0) * 0x100000 + ((hash[1] >>> 0) & 0xfffff);
  }

  /** A task is at a point, and accesses what it does there: objects, kinds of them, or all. */
  add(task: string, point: string, touched: Touched): void {
    let hash = mixText(mixText(NONE, task), point);
    hash = mix(hash, this.#tasks.get(task) ?? NONE);
    for (const [name, how] of Object.entries(touched)) {
      hash = mix(mixText(hash, name), this.#before(name, this.#writes));
      if (how === 'write') hash = mix(hash, this.#before(name, this.#reads));
    }
    for (const [name, how] of Object.entries(touched)) {
      const to = how === 'read' ? this.#reads : this.#writes;
      const known = to.get(name);
      if (known) known.hash = sum(known.hash, hash);
      else to.set(name, { name, kind: kindOf(name), hash: sum(NONE, hash) });
    }
    this.#tasks.set(task, hash);
    this.#sum = sum(this.#sum, hash);
  }

  /** All accesses so far to what may be the same. */
  #before(name: string, accesses: ReadonlyMap<string, Accesses>): Hash {
    let all = NONE;
    const kind = kindOf(name);
    for (const other of accesses.values()) if (areSame(name, kind, other)) all = sum(all, other.hash);
    return all;
  }
}

/** Of an object, a kind of them, or all. */
interface Accesses {
  readonly name: string;
  readonly kind: string;
  hash: Hash;
}

/** An object has its kind and its place. */
function areSame(name: string, kind: string, other: Accesses): boolean {
  return (
    name === other.name ||
    name === 'all' ||
    other.name === 'all' ||
    name === other.kind ||
    other.name === kind
  );
}

function kindOf(name: string): string {
  const end = name.indexOf(' ');
  return end < 0 ? name : name.slice(0, end);
}

/** Who looks at all of livepatch's data. */
export const READS_ALL: Touched = { all: 'read' };
export const EVERYTHING: Touched = { all: 'write' };

/** What a part of a host function has accessed: what it has changed; and who is known to change anything looks at all. */
export const hostTouches = (known: Touched, changed: Touched): Touched =>
  accesses(known) ? { ...READS_ALL, ...changed } : changed;

/** Whether a point accesses anything. */
export const accesses = (touched: Touched): boolean => {
  for (const _ in touched) return true;
  return false;
};

const sum = ([a, b]: Hash, [c, d]: Hash): Hash => [(a + c) | 0, (b + d) | 0];

function mix([a, b]: Hash, [c, d]: Hash): Hash {
  return [scramble(Math.imul(a, 0x85ebca6b) ^ c), scramble(Math.imul(b, 0xc2b2ae35) ^ d)];
}

function mixText(hash: Hash, text: string): Hash {
  let [a, b] = hash;
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b + text.charCodeAt(i), 0x5bd1e995) ^ (b >>> 15);
  }
  return [scramble(a), scramble(b)];
}

function scramble(word: number): number {
  let x = word;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}
