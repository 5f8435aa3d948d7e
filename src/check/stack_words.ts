// Longs of the stack at any address, where a stack pointer is not aligned too.

import { STACK_LO } from './check_layout.ts';

const viewOf = (words: Uint32Array): DataView =>
  new DataView(words.buffer, words.byteOffset, words.byteLength);

export function putLong(words: Uint32Array, address: number, low: number, high: number): void {
  const at = address - STACK_LO;
  if ((at & 3) === 0) {
    words[at >>> 2] = low;
    words[(at >>> 2) + 1] = high;
    return;
  }
  const view = viewOf(words);
  view.setUint32(at, low >>> 0, true);
  view.setUint32(at + 4, high >>> 0, true);
}

/** The highest address from `from` on that holds it, all of it below `end`. */
export function findLong(
  words: Uint32Array,
  from: number,
  end: number,
  low: number,
  high: number,
): number | undefined {
  const view = viewOf(words);
  for (let at = end - 8 - STACK_LO; at >= Math.max(0, from - STACK_LO); at--) {
    if (view.getUint32(at, true) === low >>> 0 && view.getUint32(at + 4, true) === high >>> 0) {
      return at + STACK_LO;
    }
  }
  return undefined;
}
