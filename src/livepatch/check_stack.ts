// Does a stack stand in a function that is being replaced? Mirrors klp_check_stack() and
// klp_check_stack_func() of kernel/livepatch/transition.c.
//
// The answer for one task takes no allocation and no bigint: the ranges to look for are laid down once
// a pass, as low halves of addresses (the high half is the same for all kernel text).

import { lo32 } from '../guest/addr.ts';
import type { Patching } from './patch.ts';
import type { KlpFunc, KlpPatch } from './structs.ts';

/** MAX_STACK_ENTRIES */
const MAX_STACK_ENTRIES = 100;

export class StackCheck {
  readonly entries = new Uint32Array(MAX_STACK_ENTRIES);
  readonly #start: Uint32Array;
  readonly #size: Uint32Array;
  readonly #funcs: readonly KlpFunc[];
  readonly #low: number;
  readonly #span: number;

  /** The ranges that no task may stand in to switch to `targetState`. */
  constructor(patching: Patching, patch: KlpPatch, targetState: number) {
    const funcs = patch.objects().flatMap((object) => (object.patched ? object.funcs() : []));
    this.#funcs = funcs;
    const unpatching = targetState === patching.constants.KLP_UNPATCHED;
    this.#start = new Uint32Array(funcs.length);
    this.#size = new Uint32Array(funcs.length);
    let low = 0xffffffff;
    let high = 0;
    funcs.forEach((func, i) => {
      const { addr, size } = leaving(func, patching.below(func), unpatching);
      this.#start[i] = lo32(addr);
      this.#size[i] = size;
      low = Math.min(low, this.#start[i]);
      high = Math.max(high, this.#start[i] + size);
    });
    this.#low = low;
    this.#span = Math.max(0, high - low);
  }

  /**
   * Looks at the first `count` of `entries`.
   * @returns index of the first function of the patch, in its order, that one of them is in; -1 for none.
   */
  find(count: number): number {
    const { entries } = this;
    const starts = this.#start;
    const sizes = this.#size;
    const low = this.#low;
    const span = this.#span;
    let found = starts.length;
    for (let i = 0; i < count; i++) {
      const address = entries[i];
      if ((address - low) >>> 0 >= span) continue;
      for (let f = 0; f < found; f++) if ((address - starts[f]) >>> 0 < sizes[f]) found = f;
    }
    return found === starts.length ? -1 : found;
  }

  /** old_name of the function that find() named. */
  nameOf(index: number): string {
    return this.#funcs[index].oldName ?? '?';
  }
}

/** The code that tasks leave: the new function when unpatching, else the version before it. */
function leaving(
  func: KlpFunc,
  previous: KlpFunc | undefined,
  unpatching: boolean,
): { addr: bigint; size: number } {
  if (unpatching) return { addr: func.newFunc, size: func.newSize };
  if (previous) return { addr: previous.newFunc, size: previous.newSize };
  return { addr: func.oldFunc, size: func.oldSize };
}
