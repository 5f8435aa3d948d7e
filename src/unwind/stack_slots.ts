// Where task stacks lie. Mirrors arch/x86/include/asm/page_64_types.h, as the machine lays stacks out.

export const STACK_HI = 0xffffc900;
export const STACK_SLOT_SHIFT = 15;
const STACK_GUARD_SIZE = 0x4000;
export const THREAD_SIZE = 0x4000;

export const EINVAL = 22;
export const ENOSYS = 38;

/** The address of a stack's lowest byte, low 32 bits. */
export function stackBegin(slot: number): number {
  return slot * 0x8000 + STACK_GUARD_SIZE;
}
