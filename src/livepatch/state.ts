// System states that patches declare to have changed, by identifier and version.
// Mirrors kernel/livepatch/state.c.

import type { Addr } from '../guest/addr.ts';
import type { StructHome } from '../kernel/struct_home.ts';
import type { KlpContext } from './context.ts';
import type { KlpPatch, KlpState } from './structs.ts';

/** klp_for_each_state(): up to the one with id 0. */
export function* statesIn({ mem, kernel }: StructHome, patch: KlpPatch): IterableIterator<KlpState> {
  const { size, fields } = kernel.structs.klp_state;
  let addr = patch.statesPointer;
  if (addr === 0n) return;
  for (; ; addr += BigInt(size)) {
    const id = mem.readU64(addr + BigInt(fields.id));
    if (id === 0n) return;
    yield { addr, id, version: mem.readU32(addr + BigInt(fields.version)) };
  }
}

function statesOf(klp: KlpContext, patch: KlpPatch): Iterable<KlpState> {
  return klp.model.states(patch);
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

interface IncompatibleState {
  readonly old: KlpPatch;
  readonly state: KlpState;
  /** undefined: the new patch does not know it. */
  readonly mine: KlpState | undefined;
}

/** What klp_is_patch_compatible() looks for: a state that goes back, or that a cumulative patch does not know. */
export function klpIncompatibleState(klp: KlpContext, patch: KlpPatch): IncompatibleState | undefined {
  for (const old of klp.patches()) {
    for (const state of statesOf(klp, old)) {
      const mine = findState(klp, patch, state.id);
      const lost = patch.replace && state.addr !== 0n;
      if (mine ? mine.version < state.version : lost) return { old, state, mine };
    }
  }
  return undefined;
}
