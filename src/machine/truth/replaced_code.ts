// The text of every version of the functions that are patched, and which of it a transition leads away from.
// Mirrors nothing of the kernel's, whose stack check knows the version that is left and no older one.
//
// Invariant: a version is here exactly while its function is on a func_stack, the original while any version is.
// What a transition costs here does not grow with the versions that there are.

import { lo32 } from '../../guest/addr.ts';
import { PAGE_SHIFT } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { KlpFunc } from '../../livepatch/structs.ts';
import { newVersion, originalVersion, type Piece, type Version } from './version.ts';

/** What a transition says of a function: by its entry. */
interface Change {
  /** Start of the version that the patch brings. */
  readonly own: number;
  readonly nop: boolean;
}

export class ReplacedCode {
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  /** By the address of the klp_func that brings it. */
  readonly #versions = new Map<bigint, Version>();
  /** Originals, and how many functions on the func_stack patch them. */
  readonly #originals = new Map<number, { version: Version; users: number }>();
  /** How many versions there are of a function, nops not counted, by its entry. */
  readonly #counts = new Map<number, number>();
  readonly #byPage = new Map<number, Piece[]>();
  readonly #byStart = new Map<number, Version[]>();

  constructor(core: KernelCore, livepatch: Livepatch) {
    this.#core = core;
    this.#livepatch = livepatch;
    livepatch.patching.onChange.push((func, patched) => (patched ? this.#add(func) : this.#remove(func)));
  }

  #add(func: KlpFunc): void {
    const entry = lo32(func.oldFunc);
    const original = this.#originals.get(entry);
    if (original) original.users++;
    else {
      const version = originalVersion(this.#core, func);
      this.#originals.set(entry, { version, users: 1 });
      this.#enter(version);
    }
    if (func.nop) return;
    const version = newVersion(this.#core, func);
    this.#versions.set(func.addr, version);
    this.#counts.set(entry, (this.#counts.get(entry) ?? 0) + 1);
    this.#enter(version);
  }

  #remove(func: KlpFunc): void {
    const entry = lo32(func.oldFunc);
    const original = this.#originals.get(entry);
    if (original && --original.users === 0) {
      this.#originals.delete(entry);
      this.#leave(original.version);
    }
    const version = this.#versions.get(func.addr);
    if (!version) return;
    this.#versions.delete(func.addr);
    const left = (this.#counts.get(entry) ?? 1) - 1;
    if (left > 0) this.#counts.set(entry, left);
    else this.#counts.delete(entry);
    this.#leave(version);
  }

  #enter(version: Version): void {
    addTo(this.#byStart, version.start, version);
    for (const piece of version.pieces) for (const page of pagesOf(piece)) addTo(this.#byPage, page, piece);
  }

  #leave(version: Version): void {
    removeFrom(this.#byStart, version.start, version);
    for (const piece of version.pieces)
      for (const page of pagesOf(piece)) removeFrom(this.#byPage, page, piece);
  }

  /** What the transition that is under way leads away from, as it is now. */
  current(): Replaced {
    const patching = this.#livepatch.targetState === this.#core.kernel.constants.KLP_PATCHED;
    const changes = new Map<number, Change>();
    for (const object of this.#livepatch.transitionPatch?.objects() ?? []) {
      if (!object.isLoaded) continue;
      for (const func of object.funcs()) {
        changes.set(lo32(func.oldFunc), { own: lo32(func.newFunc), nop: func.nop });
      }
    }
    const isReplaced = ({ entry, start }: Version): boolean => {
      const change = changes.get(entry);
      if (!change) return false;
      if (!patching) return !change.nop && start === change.own;
      return start === entry ? !change.nop : start !== change.own;
    };
    const whole = (start: number): boolean => this.#byStart.get(start)?.some(isReplaced) ?? false;
    return {
      any: changes.size > 0,
      pieceAt: (ip) =>
        this.#byPage
          .get(ip >>> PAGE_SHIFT)
          // A function that is replaced itself is no part of another.
          ?.find((p) => ip >= p.start && ip < p.end && isReplaced(p.version) && !(p.part && whole(p.start))),
      originals: (least) =>
        patching
          ? [...changes].flatMap(([entry, { nop }]) =>
              !nop && (this.#counts.get(entry) ?? 0) > least ? [entry] : [],
            )
          : [],
    };
  }
}

/** Low halves of addresses. */
export interface Replaced {
  readonly any: boolean;
  pieceAt(ip: number): Piece | undefined;
  /** Entries of the original functions that are replaced and have more than so many versions. */
  originals(least: number): number[];
}

function* pagesOf({ start, end }: Piece): IterableIterator<number> {
  for (let page = start >>> PAGE_SHIFT; page <= (end - 1) >>> PAGE_SHIFT; page++) yield page;
}

function addTo<T>(lists: Map<number, T[]>, key: number, item: T): void {
  const list = lists.get(key);
  if (list) list.push(item);
  else lists.set(key, [item]);
}

function removeFrom<T>(lists: Map<number, T[]>, key: number, item: T): void {
  const left = lists.get(key)?.filter((one) => one !== item) ?? [];
  if (left.length > 0) lists.set(key, left);
  else lists.delete(key);
}
