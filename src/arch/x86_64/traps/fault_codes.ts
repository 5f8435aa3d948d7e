// Bits of a page fault's error code. Mirrors arch/x86/include/asm/trap_pf.h.

export const PF_PROT = 1;
export const PF_WRITE = 2;
export const PF_USER = 4;
export const PF_INSTR = 16;
