# Entries into the kernel and the ways out. Hardware has pushed pc, status and sp, from the lowest address up, on the
# kernel's stack, and turned interrupts off.

.section .text

# struct pt_regs below what hardware pushed.
.macro SAVE_REGS
    add     sp, sp, zero, -pt_regs_pc
    SAVE_GENERAL
    st8     r0, [sp+pt_regs_orig_r0]
    st8     t, [sp+pt_regs_t]
    st8     lr, [sp+pt_regs_lr]
.endm

# sp: struct pt_regs
SYM_CODE_START(restore_regs_and_return)
    RESTORE_GENERAL
    ld8     t, [sp+pt_regs_t]
    ld8     lr, [sp+pt_regs_lr]
    add     sp, sp, zero, pt_regs_pc
    iret
SYM_CODE_END(restore_regs_and_return)

# r1: number
SYM_CODE_START(toy_entry_syscall)
    SAVE_REGS
    add     r6, sp, zero
    irq     1
    li      t, NR_SYSCALLS
    beq     r1, t, .Lbad
    add     t, r1, r1
    add     t, t, t
    add     t, t, t
    li      r7, sys_call_table
    add     r7, r7, t
    ld8     r7, [r7+0]
    br      lr, r7
    st8     r0, [r6+pt_regs_r0]
.Lbad:
    add     r0, r6, zero
    JUMP    exit_to_user_mode
SYM_CODE_END(toy_entry_syscall)

# r0: struct pt_regs, which is also where the stack pointer is
SYM_CODE_START(exit_to_user_mode)
    add     r8, r0, zero
.Lagain:
    irq     1
    GET_CURRENT r6
    IF_FLAG r6, _TIF_NEED_RESCHED, .Lresched
    JUMP    .Lpatch
.Lresched:
    CALL    schedule
.Lpatch:
    IF_FLAG r6, _TIF_PATCH_PENDING, .Lpending
    JUMP    .Lsignal
.Lpending:
    add     r0, r6, zero
    CALL    klp_update_patch_state
.Lsignal:
    IF_FLAG r6, _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL, .Lsignalled
    JUMP    .Llast
.Lsignalled:
    add     r0, r8, zero
    CALL    get_signal
.Llast:
    irq     0
    IF_FLAG r6, _TIF_NEED_RESCHED | _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | _TIF_PATCH_PENDING, .Lagain
    add     sp, r8, zero
    JUMP    restore_regs_and_return
SYM_CODE_END(exit_to_user_mode)

# What hardware found wrong: nothing is mended here.
SYM_CODE_START(toy_entry_fault)
    SAVE_REGS
    add     r0, sp, zero
    CALL    toy_fault
    brk
SYM_CODE_END(toy_entry_fault)

SYM_CODE_START(toy_entry_timer)
    SAVE_REGS
    add     r8, sp, zero
    PREEMPT_ADD 0x10000
    CALL    hrtimer_interrupt
    PREEMPT_ADD -0x10000
    ld8     t, [r8+pt_regs_status]
    and     t, t, zero, 2
    beq     t, zero, .Lkernel
    add     r0, r8, zero
    JUMP    exit_to_user_mode
.Lkernel:
    add     sp, r8, zero
    JUMP    restore_regs_and_return
SYM_CODE_END(toy_entry_timer)

SYM_CODE_START(toy_entry_reschedule)
    SAVE_REGS
    add     r8, sp, zero
    ld8     t, [r8+pt_regs_status]
    and     t, t, zero, 2
    beq     t, zero, .Lkernel
    add     r0, r8, zero
    JUMP    exit_to_user_mode
.Lkernel:
    add     sp, r8, zero
    JUMP    restore_regs_and_return
SYM_CODE_END(toy_entry_reschedule)
