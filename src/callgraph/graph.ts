// The call graph of a kernel and of the modules in it: functions by number, with the parts that the compiler put elsewhere,
// and what each of them calls. Branches that go nobody knows where are kept as such.
//
// Invariant: an edge is a branch that stands in the text; nothing is guessed, and nothing that stands there is left out.

import { BY_CALL, BY_INDIRECT_JUMP, BY_JUMP, type Calls, lowerBound } from './calls.ts';

/** Text of the kernel, or of a module. */
export interface GraphPart {
  /** Of a module. */
  readonly module: string | undefined;
  readonly calls: Calls;
  /** The name of what starts at an address. */
  nameAt(start: number): string;
}

export interface Edge {
  readonly to: number;
  /** Low half of the branch's address. */
  readonly at: number;
  /** The callee returns to the caller's caller. */
  readonly isTail: boolean;
}

/** A part that the compiler put away: cold code of a function, which is entered by a jump and is no function. */
const COLD = /\.cold(\.\d+)?$/;
/** Branches to them go where a register says. */
const THUNK = /^__x86_indirect_(?:call_|jump_)?thunk_/;
/** What stands at the start of traced functions is no call of theirs. */
const NO_CALLEE =
  /^(?:__fentry__|__x86_return_thunk|retbleed_return_thunk|srso_return_thunk|zen_untrain_ret|retbleed_untrain_ret)$/;

interface Place {
  readonly part: GraphPart;
  readonly base: number;
  /** Of each branch the function that it leads to, or into; -1 for none. Worked out when it is asked for. */
  targets: Int32Array | undefined;
}

/** What callers are told of a function's name. */
const IS_THUNK = 1;
const IS_NO_CALLEE = 2;
const IS_COLD = 4;

const kernelTargets = new WeakMap<Calls, Int32Array>();
const kindsOf = new WeakMap<GraphPart, Uint8Array>();

function kinds(part: GraphPart): Uint8Array {
  const known = kindsOf.get(part);
  if (known) return known;
  const made = Uint8Array.from(part.calls.starts, (start) => {
    const name = part.nameAt(start);
    return (
      (THUNK.test(name) ? IS_THUNK : 0) |
      (NO_CALLEE.test(name) ? IS_NO_CALLEE : 0) |
      (COLD.test(name) ? IS_COLD : 0)
    );
  });
  kindsOf.set(part, made);
  return made;
}

const namedOf = new WeakMap<GraphPart, Map<ReadonlySet<string>, Uint8Array>>();

/** 1 for each function of a part that has one of these names. */
function named(part: GraphPart, names: ReadonlySet<string>): Uint8Array {
  const known = namedOf.get(part) ?? new Map<ReadonlySet<string>, Uint8Array>();
  namedOf.set(part, known);
  const found =
    known.get(names) ?? Uint8Array.from(part.calls.starts, (start) => +names.has(part.nameAt(start)));
  known.set(names, found);
  return found;
}

const kernelOwners = new WeakMap<Calls, Int32Array>();

export class CallGraph {
  readonly #places: Place[] = [];
  /** Starts of all functions, ascending, and which number each has. */
  #starts = new Uint32Array();
  #numbers = new Uint32Array();
  /** IS_* of each function. */
  #kinds: Uint8Array | undefined;
  readonly #edges = new Map<number, readonly Edge[]>();
  /** By a cold part whose it is. */
  #owners: Int32Array | undefined;
  #coldParts: ReadonlyMap<number, readonly number[]> | undefined;
  #dead: Uint8Array | undefined;
  /** Pieces with a branch to a function, or into a cold part of it: from `first[func]` on. */
  #into: { readonly first: Int32Array; readonly pieces: Int32Array } | undefined;
  #count = 0;

  readonly #aliases: ReadonlyMap<number, number>;

  /** @param aliases addresses that stand for functions which are elsewhere, and where those are */
  constructor(parts: readonly GraphPart[], aliases: ReadonlyMap<number, number> = new Map()) {
    this.#aliases = aliases;
    for (const part of parts) {
      this.#places.push({ part, base: this.#count, targets: undefined });
      this.#count += part.calls.starts.length;
    }
    this.#order();
  }

  /** Parts lie behind each other, and each is ascending. */
  #order(): void {
    this.#starts = new Uint32Array(this.#count);
    this.#numbers = new Uint32Array(this.#count);
    let at = 0;
    const filled = this.#places.filter(({ part }) => part.calls.starts.length > 0);
    for (const { part, base } of filled.sort((a, b) => a.part.calls.starts[0] - b.part.calls.starts[0])) {
      this.#starts.set(part.calls.starts, at);
      for (let i = 0; i < part.calls.starts.length; i++) this.#numbers[at + i] = base + i;
      at += part.calls.starts.length;
    }
  }

  get count(): number {
    return this.#count;
  }

  name(func: number): string {
    const { part, base } = this.#placeOf(func);
    return part.nameAt(part.calls.starts[func - base]);
  }

  module(func: number): string | undefined {
    return this.#placeOf(func).part.module;
  }

  start(func: number): number {
    const { part, base } = this.#placeOf(func);
    return part.calls.starts[func - base];
  }

  end(func: number): number {
    const { part, base } = this.#placeOf(func);
    return part.calls.ends[func - base];
  }

  /** Bytes of it and of its cold parts that are no instruction. */
  unread(func: number): number {
    return this.#pieces(func).reduce((sum, piece) => {
      const { part, base } = this.#placeOf(piece);
      return sum + part.calls.unread[piece - base];
    }, 0);
  }

  /** The function at an address, or around it; -1 for none. */
  at(address: number): number {
    const wanted = this.#aliases.get(address >>> 0) ?? address >>> 0;
    const i = lowerBound(this.#starts, wanted + 1) - 1;
    if (i < 0) return -1;
    const func = this.#numbers[i];
    return wanted < this.end(func) ? func : -1;
  }

  /** Whether a function begins there. */
  isStart(address: number): boolean {
    const func = this.at(address);
    return func >= 0 && this.start(func) === (this.#aliases.get(address >>> 0) ?? address >>> 0);
  }

  /** Direct branches of a module that lead to where no function begins, and into none of its own. */
  strays(module: string): { readonly from: number; readonly at: number; readonly to: number }[] {
    return this.#places
      .filter(({ part }) => part.module === module)
      .flatMap(({ part: { calls }, base }) =>
        Array.from(calls.starts, (_, i) => i).flatMap((i) => {
          const found: { from: number; at: number; to: number }[] = [];
          for (let b = calls.first[i]; b < calls.first[i + 1]; b++) {
            const isCall = calls.how[b] === BY_CALL;
            if ((!isCall && calls.how[b] !== BY_JUMP) || this.isStart(calls.to[b])) continue;
            const target = this.at(calls.to[b]);
            // A cold part jumps back into its function.
            if (!isCall && target >= 0 && this.module(target) === module) continue;
            found.push({ from: base + i, at: calls.at[b], to: calls.to[b] });
          }
          return found;
        }),
      );
  }

  /** The function whose code that is, where it is a cold part of one. */
  owner(func: number): number {
    if (!this.#owners) this.#findOwners();
    const owner = (this.#owners as Int32Array)[func];
    return owner < 0 ? func : owner;
  }

  /** Its cold parts. */
  coldParts(func: number): readonly number[] {
    if (!this.#owners) this.#findOwners();
    return this.#coldParts?.get(func) ?? [];
  }

  /** What it calls, its cold parts' calls among them. */
  callees(func: number): readonly Edge[] {
    let edges = this.#edges.get(func);
    if (!edges) {
      edges = this.#pieces(func).flatMap((piece) => this.#edgesOf(piece, func));
      this.#edges.set(func, edges);
    }
    return edges;
  }

  /** Places in it that call nobody knows what. */
  indirect(func: number): number[] {
    return this.#pieces(func).flatMap((piece) => {
      const place = this.#placeOf(piece);
      const { first, at } = place.part.calls;
      const targets = this.#targetsOf(place);
      const places: number[] = [];
      for (let i = first[piece - place.base]; i < first[piece - place.base + 1]; i++)
        if (targets[i] < 0 || this.#is(targets[i], IS_THUNK)) places.push(at[i]);
      return places;
    });
  }

  /** Branches of a module's code, or of the kernel's, to functions of these names. */
  branchesTo(
    names: ReadonlySet<string>,
    module: string | undefined,
  ): { readonly from: number; readonly to: number; readonly at: number }[] {
    const wanted = new Uint8Array(this.#count);
    for (const { part, base } of this.#places) wanted.set(named(part, names), base);
    const found: { from: number; to: number; at: number }[] = [];
    for (const place of this.#places.filter(({ part }) => part.module === module)) {
      const { starts, first, at } = place.part.calls;
      const targets = this.#targetsOf(place);
      for (let i = 0; i < starts.length; i++)
        for (let b = first[i]; b < first[i + 1]; b++)
          if (targets[b] >= 0 && wanted[targets[b]] === 1)
            found.push({ from: this.owner(place.base + i), to: targets[b], at: at[b] });
    }
    return found;
  }

  /** It never returns: it has no return, and what it ends in has none. */
  isDeadEnd(func: number): boolean {
    this.#dead ??= this.#findDeadEnds();
    return this.#dead[func] === 1;
  }

  /** Who calls it directly. */
  callers(func: number): readonly number[] {
    this.#into ??= this.#findBranches();
    const { first, pieces } = this.#into;
    const candidates = new Set<number>();
    for (let i = first[func]; i < first[func + 1]; i++) candidates.add(this.owner(pieces[i]));
    return [...candidates]
      .filter((from) => this.callees(from).some(({ to }) => to === func))
      .sort((a, b) => a - b);
  }

  /** Edges are made of those only that are asked for: a kernel has 400,000. */
  #findBranches(): { first: Int32Array; pieces: Int32Array } {
    const first = new Int32Array(this.#count + 1);
    this.#eachBranch((to) => first[to + 1]++);
    for (let func = 0; func < this.#count; func++) first[func + 1] += first[func];
    const pieces = new Int32Array(first[this.#count]);
    const next = first.slice();
    this.#eachBranch((to, piece) => {
      pieces[next[to]++] = piece;
    });
    return { first, pieces };
  }

  #eachBranch(note: (to: number, piece: number) => void): void {
    for (const place of this.#places) {
      const { starts, first } = place.part.calls;
      const targets = this.#targetsOf(place);
      for (let i = 0; i < starts.length; i++)
        for (let b = first[i]; b < first[i + 1]; b++)
          if (targets[b] >= 0) note(this.owner(targets[b]), place.base + i);
    }
  }

  #pieces(func: number): number[] {
    return [func, ...this.coldParts(func)];
  }

  #placeOf(func: number): Place {
    let found = this.#places[0];
    for (const place of this.#places) if (place.base <= func) found = place;
    return found;
  }

  #targetsOf(place: Place): Int32Array {
    if (!place.targets) {
      // The kernel is the first part, and none of its branches leads into a module: they are the same in each graph.
      const kept = place.base === 0 && place.part.module === undefined ? kernelTargets : undefined;
      place.targets = kept?.get(place.part.calls) ?? this.#resolve(place.part.calls);
      kept?.set(place.part.calls, place.targets);
    }
    return place.targets;
  }

  #resolve({ to, how }: Calls): Int32Array {
    const targets = new Int32Array(to.length).fill(-1);
    for (let i = 0; i < to.length; i++)
      if (how[i] === BY_CALL || how[i] === BY_JUMP) targets[i] = this.at(to[i]);
    return targets;
  }

  #is(func: number, kind: number): boolean {
    if (!this.#kinds) {
      this.#kinds = new Uint8Array(this.#count);
      for (const { part, base } of this.#places) this.#kinds.set(kinds(part), base);
    }
    return (this.#kinds[func] & kind) !== 0;
  }

  #edgesOf(piece: number, owner: number): Edge[] {
    const place = this.#placeOf(piece);
    const { first, at, how } = place.part.calls;
    const targets = this.#targetsOf(place);
    const edges: Edge[] = [];
    for (let i = first[piece - place.base]; i < first[piece - place.base + 1]; i++) {
      if (targets[i] < 0) continue;
      const callee = this.owner(targets[i]);
      if (callee === owner && how[i] === BY_JUMP) continue;
      if (this.#is(callee, IS_THUNK | IS_NO_CALLEE)) continue;
      edges.push({ to: callee, at: at[i], isTail: how[i] === BY_JUMP });
    }
    return edges;
  }

  /** A cold part is of the function that jumps into it; where several do, of the one that it is named after. */
  #findOwners(): void {
    const owners = new Int32Array(this.#count).fill(-1);
    const parts = new Map<number, number[]>();
    for (const place of this.#places) {
      const { part, base } = place;
      const { starts, first, how } = part.calls;
      // As with its branches' targets: the kernel's are the same in each graph.
      const isKernel = base === 0 && part.module === undefined;
      const kept = isKernel ? kernelOwners.get(part.calls) : undefined;
      if (kept) {
        owners.set(kept);
        continue;
      }
      const targets = this.#targetsOf(place);
      for (let i = 0; i < starts.length; i++) {
        if (this.#is(base + i, IS_COLD)) continue;
        for (let b = first[i]; b < first[i + 1]; b++) {
          if (how[b] !== BY_JUMP) continue;
          const target = targets[b];
          if (target < 0 || target === base + i || !this.#is(target, IS_COLD)) continue;
          const isNamed = this.name(target).replace(COLD, '') === part.nameAt(starts[i]);
          if (owners[target] < 0 || isNamed) owners[target] = base + i;
        }
      }
      if (isKernel) kernelOwners.set(part.calls, owners.slice(0, starts.length));
    }
    owners.forEach((owner, cold) => {
      if (owner >= 0) parts.set(owner, [...(parts.get(owner) ?? []), cold]);
    });
    this.#owners = owners;
    this.#coldParts = parts;
  }

  #findDeadEnds(): Uint8Array {
    const dead = new Uint8Array(this.#count);
    const returns = (func: number): boolean =>
      this.#pieces(func).some((piece) => {
        const place = this.#placeOf(piece);
        const { part, base } = place;
        const { first, how } = part.calls;
        const targets = this.#targetsOf(place);
        if (part.calls.returns[piece - base] === 1) return true;
        for (let i = first[piece - base]; i < first[piece - base + 1]; i++) {
          if (how[i] === BY_INDIRECT_JUMP) return true;
          if (how[i] !== BY_JUMP) continue;
          const target = targets[i];
          if (target < 0) return true;
          const callee = this.owner(target);
          if (callee !== func && dead[callee] === 0) return true;
        }
        return false;
      });
    // What jumps into a dead end is one, too.
    for (let changed = true; changed; ) {
      changed = false;
      for (let func = 0; func < this.#count; func++) {
        if (dead[func] === 1 || this.owner(func) !== func || returns(func)) continue;
        dead[func] = 1;
        changed = true;
      }
    }
    return dead;
  }
}
