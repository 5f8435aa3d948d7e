// Where task stacks lie. Mirrors arch/x86/include/asm/page_64_types.h, as the machine lays stacks out.

import { STACK_SLOT, THREAD_SIZE } from '../guest/addr.ts';

export { STACK_HI, THREAD_SIZE } from '../guest/addr.ts';
export const STACK_SLOT_SHIFT = Math.log2(STACK_SLOT);
const STACK_GUARD_SIZE = STACK_SLOT - THREAD_SIZE;

/** The address of a stack's lowest byte, low 32 bits. */
export function stackBegin(slot: number): number {
  return slot * STACK_SLOT + STACK_GUARD_SIZE;
}
