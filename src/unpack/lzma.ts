// LZMA: literals and matches, in bits whose probabilities adapt, by a range coder.
//
// The output is the dictionary. Range and code are signed words, which the engine keeps unboxed.
// Invariant: a distance reaches no further back than the last reset of the dictionary.

import { UnpackError } from './error.ts';

const STATES = 12;
const POSITIONS = 16;
const HALF = 1024;
const LITERAL = 0x300;

/** Lengths: two choices, then trees of 3, 3 and 8 bits, the first two by position. */
const LENGTH = { choice: 0, choice2: 1, low: 2, mid: 2 + POSITIONS * 8, high: 2 + POSITIONS * 16 } as const;
const LENGTH_SIZE = LENGTH.high + 256;

/** Where in the one array of probabilities each kind begins. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITIONS;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const SLOT = IS_REP0_LONG + STATES * POSITIONS;
const SPECIAL = SLOT + 4 * 64;
const ALIGN = SPECIAL + 128;
const MATCH_LENGTH = ALIGN + 16;
const REP_LENGTH = MATCH_LENGTH + LENGTH_SIZE;
const LITERALS = REP_LENGTH + LENGTH_SIZE;

/** What follows in each state, of those where the last symbol was a literal below LITERAL_STATES. */
const LITERAL_STATES = 7;
const AFTER_LITERAL = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5] as const;
const after = (literal: number, other: number) => (state: number) =>
  state < LITERAL_STATES ? literal : other;
const afterMatch = after(7, 10);
const afterRep = after(8, 11);
const afterShortRep = after(9, 11);

export class LzmaDecoder {
  readonly #input: Uint8Array;
  readonly #output: Uint8Array;
  readonly #dictionary: number;
  readonly #probs = new Uint16Array(LITERALS + (LITERAL << 4));
  #at = 0;
  #range = 0;
  #code = 0;
  /** Where in the output the next byte goes, and where the dictionary begins. */
  #pos = 0;
  #base = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #lc = 0;
  #literalMask = 0;
  #positionMask = 0;

  constructor(input: Uint8Array, output: Uint8Array, dictionary: number) {
    this.#input = input;
    this.#output = output;
    this.#dictionary = dictionary;
  }

  resetDictionary(): void {
    this.#base = this.#pos;
  }

  setProperties(byte: number): void {
    const lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    const pb = Math.floor(byte / 45);
    if (pb > 4 || lc + lp > 4) throw new UnpackError('damaged');
    this.#lc = lc;
    this.#literalMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
  }

  resetState(): void {
    this.#probs.fill(HALF);
    this.#state = this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  /** A chunk of plain bytes. */
  copy(start: number, end: number): void {
    this.#output.set(this.#input.subarray(start, end), this.#pos);
    this.#pos += end - start;
  }

  /** A chunk of LZMA, which must fill its part and use up its bytes, both exactly. */
  decode(start: number, end: number, unpacked: number): void {
    this.#startRange(start, end);
    const limit = this.#pos + unpacked;
    while (this.#pos < limit) {
      const position = (this.#pos - this.#base) & this.#positionMask;
      if (this.#bit(IS_MATCH + this.#state * POSITIONS + position) === 0) this.#literal();
      else this.#repeat(this.#matchLength(position), limit);
    }
    if (this.#at !== end || this.#code !== 0) throw new UnpackError('damaged');
  }

  #startRange(start: number, end: number): void {
    const input = this.#input;
    if (end - start < 5 || input[start] !== 0) throw new UnpackError('damaged');
    this.#range = -1;
    this.#code =
      (input[start + 1] << 24) | (input[start + 2] << 16) | (input[start + 3] << 8) | input[start + 4];
    this.#at = start + 5;
  }

  #bit(index: number): number {
    const probs = this.#probs;
    const chance = probs[index];
    const bound = Math.imul(this.#range >>> 11, chance);
    let bit = 0;
    if (this.#code >>> 0 < bound >>> 0) {
      this.#range = bound;
      probs[index] = chance + ((2048 - chance) >> 5);
    } else {
      this.#range = (this.#range - bound) | 0;
      this.#code = (this.#code - bound) | 0;
      probs[index] = chance - (chance >> 5);
      bit = 1;
    }
    if (this.#range >>> 24 === 0) this.#normalize();
    return bit;
  }

  /** Reads past a chunk only when that is damaged, which its end tells. */
  #normalize(): void {
    this.#range <<= 8;
    this.#code = (this.#code << 8) | this.#input[this.#at++];
  }

  /**
   * A bit at each node of a tree, the highest first. Most bits are of trees: range and code are local meanwhile.
   * @param leaves how many, a power of 2
   * @param from the node to begin at, above the leaves
   * @returns the leaf, counted from `leaves` on
   */
  #leaf(base: number, leaves: number, from = 1): number {
    const probs = this.#probs;
    let range = this.#range;
    let code = this.#code;
    let node = from;
    do {
      const chance = probs[base + node];
      const bound = Math.imul(range >>> 11, chance);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[base + node] = chance + ((2048 - chance) >> 5);
        node <<= 1;
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[base + node] = chance - (chance >> 5);
        node = (node << 1) | 1;
      }
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | this.#input[this.#at++];
      }
    } while (node < leaves);
    this.#range = range;
    this.#code = code;
    return node;
  }

  #tree(base: number, bits: number): number {
    return this.#leaf(base, 1 << bits) - (1 << bits);
  }

  #reverseTree(base: number, bits: number): number {
    let leaf = this.#leaf(base, 1 << bits);
    let value = 0;
    for (let i = 0; i < bits; i++, leaf >>= 1) value = (value << 1) | (leaf & 1);
    return value;
  }

  #direct(bits: number): number {
    let range = this.#range;
    let code = this.#code;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      range >>>= 1;
      // All ones where the code is below.
      const below = ((code - range) | 0) >> 31;
      code = (code - (range & ~below)) | 0;
      value = (value << 1) + 1 + below;
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | this.#input[this.#at++];
      }
    }
    this.#range = range;
    this.#code = code;
    return value;
  }

  #literal(): void {
    const output = this.#output;
    const pos = this.#pos;
    const before = pos > this.#base ? output[pos - 1] : 0;
    const context = (((pos - this.#base) & this.#literalMask) << this.#lc) | (before >> (8 - this.#lc));
    const base = LITERALS + LITERAL * context;
    const node = this.#state >= LITERAL_STATES ? this.#afterMatch(base, this.#byteBack(this.#rep0)) : 1;
    output[pos] = node < 0x100 ? this.#leaf(base, 0x100, node) : node;
    this.#pos = pos + 1;
    this.#state = AFTER_LITERAL[this.#state];
  }

  /**
   * After a match the byte is not the one that would have gone on with it, so that one is part of the context, up to and
   * with the first bit in which they differ. @returns the node behind it
   */
  #afterMatch(base: number, other: number): number {
    const probs = this.#probs;
    let range = this.#range;
    let code = this.#code;
    let node = 1;
    for (let bits = other << 1, same = true; same && node < 0x100; bits <<= 1) {
      const expected = bits & 0x100;
      const index = base + 0x100 + expected + node;
      const chance = probs[index];
      const bound = Math.imul(range >>> 11, chance);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[index] = chance + ((2048 - chance) >> 5);
        node <<= 1;
        same = expected === 0;
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[index] = chance - (chance >> 5);
        node = (node << 1) | 1;
        same = expected !== 0;
      }
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | this.#input[this.#at++];
      }
    }
    this.#range = range;
    this.#code = code;
    return node;
  }

  /** Sets the distance, too: rep0. */
  #matchLength(position: number): number {
    const state = this.#state;
    if (this.#bit(IS_REP + state) === 0) {
      this.#shiftDistances(3);
      const length = this.#length(MATCH_LENGTH, position);
      this.#rep0 = this.#distance(length);
      this.#state = afterMatch(state);
      return length;
    }
    if (this.#bit(IS_REP0 + state) === 0) {
      if (this.#bit(IS_REP0_LONG + state * POSITIONS + position) === 0) {
        this.#state = afterShortRep(state);
        return 1;
      }
    } else if (this.#bit(IS_REP1 + state) === 0) this.#takeDistance(1);
    else this.#takeDistance(this.#bit(IS_REP2 + state) === 0 ? 2 : 3);
    this.#state = afterRep(state);
    return this.#length(REP_LENGTH, position);
  }

  #takeDistance(which: 1 | 2 | 3): void {
    const distance = which === 1 ? this.#rep1 : which === 2 ? this.#rep2 : this.#rep3;
    this.#shiftDistances(which);
    this.#rep0 = distance;
  }

  /** Makes room for a new rep0, at the cost of the one named. */
  #shiftDistances(upTo: 1 | 2 | 3): void {
    if (upTo > 2) this.#rep3 = this.#rep2;
    if (upTo > 1) this.#rep2 = this.#rep1;
    this.#rep1 = this.#rep0;
  }

  #length(base: number, position: number): number {
    if (this.#bit(base + LENGTH.choice) === 0) return 2 + this.#tree(base + LENGTH.low + position * 8, 3);
    if (this.#bit(base + LENGTH.choice2) === 0) return 10 + this.#tree(base + LENGTH.mid + position * 8, 3);
    return 18 + this.#tree(base + LENGTH.high, 8);
  }

  #distance(length: number): number {
    const slot = this.#tree(SLOT + (Math.min(length, 5) - 2) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const top = (2 | (slot & 1)) << bits;
    if (slot < 14) return top + this.#reverseTree(SPECIAL + top - slot, bits);
    return (top + (this.#direct(bits - 4) << 4) + this.#reverseTree(ALIGN, 4)) >>> 0;
  }

  #byteBack(distance: number): number {
    if (distance >= Math.min(this.#pos - this.#base, this.#dictionary)) throw new UnpackError('damaged');
    return this.#output[this.#pos - distance - 1];
  }

  #repeat(length: number, limit: number): void {
    const output = this.#output;
    this.#byteBack(this.#rep0);
    if (this.#pos + length > limit) throw new UnpackError('damaged');
    const end = this.#pos + length;
    // Byte by byte: a match may overlap what it makes.
    for (let pos = this.#pos, from = pos - this.#rep0 - 1; pos < end; ) output[pos++] = output[from++];
    this.#pos = end;
  }
}
