// The stack as a caller leaves it, with old return addresses below.

import { CALLER_LO, ENTRY_SP, LAST_CALLER_LO, STACK_LO, STACK_SIZE } from './check_layout.ts';

const WORDS = STACK_SIZE / 4;
/** Index of the return address. */
export const RETURN_WORD = (ENTRY_SP - STACK_LO) >>> 2;

export function callerStack(): Uint32Array {
  const words = new Uint32Array(WORDS);
  for (let i = 0; i < WORDS; i += 2) {
    words[i] = CALLER_LO + 0x100 + (i & 0x3c);
    words[i + 1] = 0xffffffff;
  }
  words[RETURN_WORD] = CALLER_LO + 0x200;
  for (let i = RETURN_WORD + 16; i < WORDS; i += 2) words[i] = LAST_CALLER_LO + 0x10;
  return words;
}
