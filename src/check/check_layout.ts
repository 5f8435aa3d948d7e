// Where things lie in the machine that a check runs code in: text, data, callers, the stack. Every range is described here;
// who maps or looks at one takes it from here.

import type { Zone } from '../arch/checking.ts';
import { hi32, lo32, STACK_SLOT, THREAD_SIZE, VMALLOC_START } from '../guest/addr.ts';
import { SP } from './target.ts';

export const TEXT_BASE = 0xffffffffc0001000n;
export const TEXT_LO = lo32(TEXT_BASE);
export const TEXT_HALF = hi32(TEXT_BASE);
/** Text that a module can have, at most. */
export const MAX_TEXT = 80 << 20;
/** Memory that accesses go to wherever no text and no stack is: the same again and again, at multiples of its size. */
export const BLOCK = 0x1000000;
/** What relocations of text point to. */
export const DATA_MIDDLE = 0xffffffffc7000000n;
/** Text of the callers: never executed, only looked up. */
export const CALLER_LO = 0x81000000;
export const CALLER_SIZE = 0x1000;
export const LAST_CALLER_LO = CALLER_LO + 0x800;

/** Stack of slot 0. */
export const STACK_BASE = VMALLOC_START + BigInt(STACK_SLOT - THREAD_SIZE);
export const STACK_SIZE = THREAD_SIZE;
export const STACK_LO = lo32(STACK_BASE);
export const STACK_HALF = hi32(STACK_BASE);
/** Of the last frame that a task can have, as the frame pointer unwinder knows it. */
export const CALLER_FP_LO = STACK_LO + 0x3f48;
/** Low half of rsp at a function's entry: the return address lies there. */
export const ENTRY_SP = STACK_LO + 0x3e00;
/** Stack that a function may use; deeper is left unmapped by a check of rsp. */
export const DEEPEST_SP = STACK_LO + 0x200;

/** `halves`: of the registers, low halves first. */
export function isOnStack(halves: Uint32Array): boolean {
  return halves[SP + 1] === STACK_HALF && halves[SP] >= DEEPEST_SP && halves[SP] <= ENTRY_SP + 8;
}

/** Where all registers point that nothing is known of: cut to 32 bits it is the same. */
export const POINTER = BigInt(BLOCK);
/** Where addresses come to that are made of pointers: of an engine that cannot have memory everywhere. From, to. */
export const ZONES: readonly Zone[] = [
  [0n, 0xa000000n],
  [DATA_MIDDLE - BigInt(BLOCK), DATA_MIDDLE + 9n * BigInt(BLOCK)],
  // What lies on the stack from earlier calls.
  [0xffffffff80000000n, 0xffffffff82000000n],
  [0xffffffff_ff000000n, 0x10000000000000000n],
];
