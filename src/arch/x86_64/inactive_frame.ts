// struct inactive_task_frame: what __switch_to_asm leaves where a switched-out task's stack pointer points.
// Mirrors arch/x86/include/asm/switch_to.h.

/** Lowest address first. */
const INACTIVE_FRAME_WORDS = ['r15', 'r14', 'r13', 'r12', 'bx', 'bp', 'ret_addr'] as const;

const offsetOf = (name: (typeof INACTIVE_FRAME_WORDS)[number]): number =>
  8 * INACTIVE_FRAME_WORDS.indexOf(name);

export const INACTIVE_FRAME_R12 = offsetOf('r12');
export const INACTIVE_FRAME_BX = offsetOf('bx');
export const INACTIVE_FRAME_BP = offsetOf('bp');
export const INACTIVE_FRAME_RET_ADDR = offsetOf('ret_addr');
export const INACTIVE_FRAME_SIZE = 8 * INACTIVE_FRAME_WORDS.length;
