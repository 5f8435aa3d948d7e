// System states that patches declare to have changed, by identifier and version.
// Mirrors kernel/livepatch/state.c.

import type { Addr } from '../guest/addr.ts';
import { LAYOUT } from '../kernel/layout.ts';
import type { KlpContext } from './context.ts';
import type { KlpPatch } from './structs.ts';

const STATE = LAYOUT.klp_state;

export interface KlpState {
  readonly addr: Addr;
  readonly id: bigint;
  readonly version: number;
}

/** klp_for_each_state(): up to the one with id 0. */
export function* statesOf(klp: KlpContext, patch: KlpPatch): IterableIterator<KlpState> {
  const { mem } = klp.core;
  let addr = patch.statesPointer;
  if (addr === 0n) return;
  for (; ; addr += BigInt(STATE.size)) {
    const id = mem.readU64(addr + BigInt(STATE.fields.id));
    if (id === 0n) return;
    yield { addr, id, version: mem.readU32(addr + BigInt(STATE.fields.version)) };
  }
}

/** klp_get_state(): 0 when the patch does not have it. */
export function klpGetState(klp: KlpContext, patch: KlpPatch, id: bigint): Addr {
  return findState(klp, patch, id)?.addr ?? 0n;
}

/** klp_get_prev_state() once it is known that there is a transition: that of the newest patch before its patch. */
export function klpFindPrevState(klp: KlpContext, id: bigint): Addr {
  const current = klp.transitionPatch;
  let last = 0n;
  for (const patch of klp.patches()) {
    if (patch.addr === current?.addr) break;
    last = klpGetState(klp, patch, id) || last;
  }
  return last;
}

function findState(klp: KlpContext, patch: KlpPatch, id: bigint): KlpState | undefined {
  for (const state of statesOf(klp, patch)) if (state.id === id) return state;
  return undefined;
}

/** klp_is_patch_compatible(): no state that is installed goes back, and a cumulative patch knows them all. */
export function klpIsPatchCompatible(klp: KlpContext, patch: KlpPatch): boolean {
  for (const old of klp.patches()) {
    for (const state of statesOf(klp, old)) {
      const mine = findState(klp, patch, state.id);
      if (mine ? mine.version < state.version : patch.replace) return false;
    }
  }
  return true;
}
