// The registers of x86_64 as DWARF numbers them. Mirrors the System V psABI, 3.6.2.

/** rax, rdx, rcx, rbx: not as instructions have them. */
export const DWARF_PT_REGS = [
  ...(['ax', 'dx', 'cx', 'bx', 'si', 'di', 'bp', 'sp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'ip'] as const),
] as const;

export const DWARF_RBP = 6;
export const DWARF_RSP = 7;
export const DWARF_RETURN_ADDRESS = 16;
/** rbx, rbp, r12 to r15 */
export const DWARF_CALLEE_SAVED: readonly number[] = [3, DWARF_RBP, 12, 13, 14, 15];
