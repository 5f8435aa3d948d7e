# The fentry call's targets and the handler that chooses a version.

.section .text

SYM_FUNC_START(ftrace_stub)
    RET
SYM_FUNC_END(ftrace_stub)

# lr is behind the site, t where the traced function returns to.
SYM_FUNC_START(__fentry__)
    add     r9, lr, zero
    add     lr, t, zero
    br      zero, r9
SYM_FUNC_END(__fentry__)
EXPORT_SYMBOL(__fentry__)

# What a handler may change of the traced function's call: all that pt_regs holds of it.
.macro FTRACE_CALLER name, label
SYM_FUNC_START(\name)
    add     sp, sp, zero, -sizeof_pt_regs
    SAVE_GENERAL
    st8     t, [sp+pt_regs_lr]
    st8     lr, [sp+pt_regs_pc]
    add     r0, lr, zero, -8
    add     r1, t, zero
    add     r3, sp, zero
SYM_INNER_LABEL(\name\()_op_ptr)
    li      r2, function_trace_op
    ld8     r2, [r2+0]
SYM_INNER_LABEL(\label)
    bl      lr, ftrace_stub
    RESTORE_GENERAL
    ld8     lr, [sp+pt_regs_lr]
    ld8     t, [sp+pt_regs_pc]
    add     sp, sp, zero, sizeof_pt_regs
    br      zero, t
SYM_INNER_LABEL(\name\()_end)
    brk
SYM_FUNC_END(\name)
.endm
FTRACE_CALLER ftrace_caller, ftrace_call
FTRACE_CALLER ftrace_regs_caller, ftrace_regs_call

# r0 ip, r1 parent ip, r2 fops, r3 fregs
SYM_FUNC_START_LOCAL(klp_ftrace_handler)
    ENTER
    PREEMPT_ADD 1
    # &ops->func_stack
    add     r6, r2, zero, klp_ops_func_stack - klp_ops_fops
    ld8     r7, [r6+0]
    beq     r7, r6, .Lout
    add     r7, r7, zero, -klp_func_stack_node
    ld1     t, [r7+klp_func_transition]
    beq     t, zero, .Lchosen
    GET_CURRENT t
    ld4     t, [t+task_struct_patch_state]
    bne     t, zero, .Lchosen
    ld8     r7, [r7+klp_func_stack_node]
    beq     r7, r6, .Lout
    add     r7, r7, zero, -klp_func_stack_node
.Lchosen:
    ld1     t, [r7+klp_func_nop]
    bne     t, zero, .Lout
    ld8     t, [r7+klp_func_new_func]
    st8     t, [r3+pt_regs_pc]
.Lout:
    PREEMPT_ADD -1
    LEAVE
SYM_FUNC_END(klp_ftrace_handler)

# r0: the task
SYM_FUNC_START(klp_update_patch_state)
    ENTER
    add     r6, r0, zero
    PREEMPT_ADD 1
    li      t, _TIF_PATCH_PENDING
    clr     r7, [r6+task_struct_thread_info_flags], t
    and     r7, r7, zero, _TIF_PATCH_PENDING
    beq     r7, zero, .Lout
    li      t, klp_target_state
    ld4     t, [t+0]
    st4     t, [r6+task_struct_patch_state]
    add     r0, r6, zero
    ld8     r1, [sp+0]
    CALL    klp_trace_patch_state
.Lout:
    PREEMPT_ADD -1
    LEAVE
SYM_FUNC_END(klp_update_patch_state)

SYM_FUNC_START(klp_sync)
    RET
SYM_FUNC_END(klp_sync)

