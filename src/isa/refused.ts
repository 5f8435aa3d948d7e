// What Unicorn does otherwise than a processor before anything is executed.
//
// Instructions that a processor does not execute and Unicorn does not refuse: it ends the whole process (`tcg fatal
// error`) when it merely meets them in a piece of code that it translates, or executes them. A far call or jump
// through a register, which no processor has, and a LOCK prefix where there may be none. Or it takes them for others and
// finds another end, so that it reads on in their midst: vector instructions with memory where a register must be, and
// those with a VEX prefix, which this processor does not have. Compilers make none of these but the last; a damaged object
// and hand-written code have them. And a REX prefix before another prefix, which does not count.
//
// `check` (src/check/refused.ts) and the machine (src/arch/x86_64/cpu/text_guard.ts) keep the engine from them.

import {
  decodeAt,
  FLOW_FAR,
  Insn,
  isPrefix,
  isRex,
  LOCKABLE,
  NO_PREFIX,
  REGISTER_RM,
  REP_REGISTER_RM,
} from './decoder.ts';

export function isRefused({ flow, facts, hasModrm, mod, locked, rep, opsize16 }: Insn): boolean {
  const ofRegister = hasModrm && mod === 3;
  if (flow === FLOW_FAR && ofRegister) return true;
  if (facts & (REGISTER_RM | REP_REGISTER_RM | NO_PREFIX)) {
    if (facts & NO_PREFIX) return opsize16 || rep !== 0;
    return !ofRegister && ((facts & REGISTER_RM) !== 0 || rep !== 0);
  }
  return locked && (!hasModrm || ofRegister || (facts & LOCKABLE) === 0);
}

const decoded = new Insn();

/** The same of the instruction at a place of some text. */
export const isRefusedAt = (bytes: Uint8Array, at: number): boolean =>
  isRefused(decodeAt(bytes, at, 0, decoded));

const earlyRexAt = (bytes: Uint8Array, at: number): boolean =>
  isRex(bytes[at]) && (isPrefix(bytes[at + 1]) || isRex(bytes[at + 1]));

/** REX before another prefix: it does not count, but the engine goes by it, and finds another length. */
export function hasEarlyRex(bytes: Uint8Array, start: number): boolean {
  let at = start;
  while (isPrefix(bytes[at])) at++;
  return earlyRexAt(bytes, at);
}

/** Makes such a prefix one that the engine reads as a processor does: what stands behind it, twice. */
export function overwriteEarlyRex(bytes: Uint8Array, start: number): void {
  let last = start;
  while (isPrefix(bytes[last]) || earlyRexAt(bytes, last)) last++;
  for (let at = last - 1; at >= start; at--) if (isRex(bytes[at])) bytes[at] = bytes[at + 1];
}
