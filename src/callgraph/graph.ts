// The call graph of a kernel and of the modules in it: functions by number, with the parts that the compiler put elsewhere,
// and what each of them calls. Branches that go nobody knows where are kept as such.
//
// Invariant: an edge is a branch that stands in the text; nothing is guessed, and nothing that stands there is left out.

import { BY_CALL, BY_INDIRECT_CALL, BY_INDIRECT_JUMP, BY_JUMP, type Calls, lowerBound } from './calls.ts';

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
}

export class CallGraph {
  readonly #places: Place[] = [];
  /** Starts of all functions, ascending, and which number each has. */
  readonly #starts: number[] = [];
  readonly #numbers: number[] = [];
  readonly #edges = new Map<number, readonly Edge[]>();
  /** By a cold part whose it is. */
  #owners: Int32Array | undefined;
  #coldParts: ReadonlyMap<number, readonly number[]> | undefined;
  #dead: Uint8Array | undefined;
  #callers: ReadonlyMap<number, readonly number[]> | undefined;
  #count = 0;

  readonly #aliases: ReadonlyMap<number, number>;

  /** @param aliases addresses that stand for functions which are elsewhere, and where those are */
  constructor(parts: readonly GraphPart[], aliases: ReadonlyMap<number, number> = new Map()) {
    this.#aliases = aliases;
    const all: { start: number; number: number }[] = [];
    for (const part of parts) {
      this.#places.push({ part, base: this.#count });
      for (const [i, start] of part.calls.starts.entries()) all.push({ start, number: this.#count + i });
      this.#count += part.calls.starts.length;
    }
    all.sort((a, b) => a.start - b.start);
    for (const { start, number } of all) {
      this.#starts.push(start);
      this.#numbers.push(number);
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
      const { part, base } = this.#placeOf(piece);
      const { first, to, at, how } = part.calls;
      const places: number[] = [];
      for (let i = first[piece - base]; i < first[piece - base + 1]; i++) {
        const unknown = how[i] === BY_INDIRECT_CALL || how[i] === BY_INDIRECT_JUMP;
        const callee = unknown ? -1 : this.at(to[i]);
        if (unknown || callee < 0 || THUNK.test(this.name(callee))) places.push(at[i]);
      }
      return places;
    });
  }

  /** It never returns: it has no return, and what it ends in has none. */
  isDeadEnd(func: number): boolean {
    this.#dead ??= this.#findDeadEnds();
    return this.#dead[func] === 1;
  }

  /** Who calls it directly. */
  callers(func: number): readonly number[] {
    if (!this.#callers) {
      const callers = new Map<number, number[]>();
      for (let from = 0; from < this.#count; from++) {
        if (this.owner(from) !== from) continue;
        for (const { to } of this.callees(from)) {
          const known = callers.get(to);
          if (!known) callers.set(to, [from]);
          else if (known.at(-1) !== from) known.push(from);
        }
      }
      this.#callers = callers;
    }
    return this.#callers.get(func) ?? [];
  }

  #pieces(func: number): number[] {
    return [func, ...this.coldParts(func)];
  }

  #placeOf(func: number): Place {
    let found = this.#places[0];
    for (const place of this.#places) if (place.base <= func) found = place;
    return found;
  }

  #edgesOf(piece: number, owner: number): Edge[] {
    const { part, base } = this.#placeOf(piece);
    const { first, to, at, how } = part.calls;
    const edges: Edge[] = [];
    for (let i = first[piece - base]; i < first[piece - base + 1]; i++) {
      if (how[i] !== BY_CALL && how[i] !== BY_JUMP) continue;
      const target = this.at(to[i]);
      if (target < 0) continue;
      const callee = this.owner(target);
      const name = this.name(callee);
      if (callee === owner && how[i] === BY_JUMP) continue;
      if (THUNK.test(name) || NO_CALLEE.test(name)) continue;
      edges.push({ to: callee, at: at[i], isTail: how[i] === BY_JUMP });
    }
    return edges;
  }

  /** A cold part is of the function that jumps into it; where several do, of the one that it is named after. */
  #findOwners(): void {
    const owners = new Int32Array(this.#count).fill(-1);
    const parts = new Map<number, number[]>();
    for (const { part, base } of this.#places) {
      const { starts, first, to, how } = part.calls;
      for (let i = 0; i < starts.length; i++) {
        for (let b = first[i]; b < first[i + 1]; b++) {
          if (how[b] !== BY_JUMP) continue;
          const target = this.at(to[b]);
          if (target < 0 || target === base + i || !COLD.test(this.name(target))) continue;
          if (COLD.test(part.nameAt(starts[i]))) continue;
          const isNamed = this.name(target).replace(COLD, '') === part.nameAt(starts[i]);
          if (owners[target] < 0 || isNamed) owners[target] = base + i;
        }
      }
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
        const { part, base } = this.#placeOf(piece);
        const { first, to, how } = part.calls;
        if (part.calls.returns[piece - base] === 1) return true;
        for (let i = first[piece - base]; i < first[piece - base + 1]; i++) {
          if (how[i] === BY_INDIRECT_JUMP) return true;
          if (how[i] !== BY_JUMP) continue;
          const target = this.at(to[i]);
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
