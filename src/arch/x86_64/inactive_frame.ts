// struct inactive_task_frame: r15 r14 r13 r12 bx bp ret_addr, where a switched-out task's stack pointer points.
// Mirrors arch/x86/include/asm/switch_to.h.

export const INACTIVE_FRAME_BP = 5 * 8;
export const INACTIVE_FRAME_RET_ADDR = 6 * 8;
export const INACTIVE_FRAME_SIZE = 7 * 8;
