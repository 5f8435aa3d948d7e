// The registers that a function must give back to its caller as they were, and where their values are.
//
// Invariant: each has a value at entry that no code makes by itself, so wherever it is found it is the caller's.

import { CALLER_FP_LO, ENTRY_SP, POINTER, STACK_HALF, STACK_LO } from './check_layout.ts';
import { findLong } from './stack_words.ts';
import { REGISTERS, SP } from './target.ts';

/** The frame pointer first. */
const SAVED = REGISTERS.calleeSaved;

/** Still in the register, or at this distance from the stack pointer, or in another
 * register; undefined where it is none of that (in a vector register it may be). */
export type Whereabouts = 'register' | number | { readonly in: string } | undefined;

/** Distances from the pointer that no structure has a field at. */
const ODD_DISTANCE = 0x2be88;
const LOWS = SAVED.map((_, i) =>
  i === 0 ? CALLER_FP_LO : Number(BigInt.asUintN(32, POINTER)) + i * ODD_DISTANCE,
);
const HIGHS = SAVED.map((_, i) => (i === 0 ? STACK_HALF : Number(POINTER >> 32n)));

/** Of the others than the frame pointer, what each has at a function's entry. */
export const SAVED_VALUES = SAVED.map(({ name, number }, i) => ({
  name,
  number,
  low: LOWS[i],
  high: HIGHS[i],
})).slice(1);

/** From POINTER to those that are addresses of memory, multiples of 8. */
export const SAVED_DISTANCES = LOWS.slice(1).map((_, i) => (i + 1) * ODD_DISTANCE);

/** The values at a function's entry. */
export function loadSaved(halves: Uint32Array): void {
  for (let i = 0; i < SAVED.length; i++) {
    const at = 2 * SAVED[i].number;
    halves[at] = LOWS[i];
    halves[at + 1] = HIGHS[i];
  }
}

/** Where a value is: in a register that may hold it, or on the stack below an address. */
export function whereIs(
  low: number,
  high: number,
  register: number,
  words: Uint32Array,
  halves: Uint32Array,
  below: number,
): Whereabouts {
  if (halves[2 * register] === low && halves[2 * register + 1] === high) return 'register';
  const sp = halves[SP];
  for (let at = below - 8; at >= sp && at >= STACK_LO; at -= 8) {
    const i = (at - STACK_LO) >>> 2;
    if (words[i] === low && words[i + 1] === high) return at - sp;
  }
  // A stack pointer need not be aligned to be pushed by.
  const unaligned = findLong(words, sp, below, low, high);
  if (unaligned !== undefined) return unaligned - sp;
  const other = OTHERS.find(({ number }) => halves[2 * number] === low && halves[2 * number + 1] === high);
  return other && { in: other.name };
}

/** Where a value may be kept: best in what calls leave alone. */
const OTHERS = [...SAVED, ...REGISTERS.callerSaved];

/** In words, for reports. */
export function whereaboutsText(found: Whereabouts): string {
  if (found === undefined) return 'not found';
  if (found === 'register') return 'in its register';
  if (typeof found === 'object') return `in ${found.in}`;
  return `at ${REGISTERS.sp.name}${found < 0 ? '' : '+'}${found}`;
}

export function whereabouts(words: Uint32Array, halves: Uint32Array): Record<string, Whereabouts> {
  const found: Record<string, Whereabouts> = {};
  SAVED.forEach(({ name, number }, i) => {
    found[name] = whereIs(LOWS[i], HIGHS[i], number, words, halves, ENTRY_SP);
  });
  return found;
}

/**
 * The words of the stack that hold such a value, or the caller's stack pointer where a function that realigns its
 * own keeps it, to be put back: a pointer of nobody's may lead there.
 */
export class SavedWords {
  readonly #at: number[] = [];
  readonly #lows: number[] = [];
  readonly #highs: number[] = [];
  #count = 0;

  note(words: Uint32Array, sp: number): void {
    this.#count = 0;
    for (let i = (ENTRY_SP - 8 - STACK_LO) >>> 2; i >= (sp - STACK_LO) >>> 2 && i >= 0; i -= 2) {
      if (!isSaved(words[i], words[i + 1])) continue;
      this.#at[this.#count] = i;
      this.#lows[this.#count] = words[i];
      this.#highs[this.#count++] = words[i + 1];
    }
  }

  putBack(words: Uint32Array): void {
    for (let n = 0; n < this.#count; n++) {
      const at = this.#at[n];
      words[at] = this.#lows[n];
      words[at + 1] = this.#highs[n];
    }
  }
}

function isSaved(low: number, high: number): boolean {
  if (low === ENTRY_SP + 8) return high === STACK_HALF;
  for (let i = 0; i < LOWS.length; i++) if (LOWS[i] === low) return high === HIGHS[i];
  return false;
}
