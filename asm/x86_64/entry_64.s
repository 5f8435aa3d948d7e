# Entries into the kernel and the ways out. Mirrors arch/x86/entry/entry_64.S and idtentry.h.
#
# What hardware does at an entry (the iretq frame, the privilege change, IF) is done by the machine;
# from the first instruction on it is code. Returns to user mode are by iretq always: the engine's CPU
# model has no sysret.

SYM_CODE_START(entry_SYSCALL_64)
    UNWIND_HINT_ENTRY
    swapgs
    mov     gs:[cpu_tss_rw+x86_hw_tss_sp2], rsp # sp2 is scratch space
    mov     rsp, gs:[cpu_current_top_of_stack]
SYM_INNER_LABEL(entry_SYSCALL_64_safe_stack)
    push    __USER_DS
    push    qword ptr gs:[cpu_tss_rw+x86_hw_tss_sp2]
    push    r11
    push    __USER_CS
    push    rcx
SYM_INNER_LABEL(entry_SYSCALL_64_after_hwframe)
    push    rax                         # orig_ax
    PUSH_AND_CLEAR_REGS rax=-ENOSYS
    mov     rdi, rsp
    movsxd  rsi, eax
    call    do_syscall_64               # returns with interrupts off
SYM_INNER_LABEL(swapgs_restore_regs_and_return_to_usermode)
    POP_REGS
    add     rsp, 8                      # orig_ax
    UNWIND_HINT_IRET_REGS
    swapgs
    iretq
SYM_CODE_END(entry_SYSCALL_64)

# A new task's first instructions: rax is the previous task, rbx the function of a kernel thread or 0,
# r12 its argument. A pt_regs lies at the top of the stack.
SYM_CODE_START(ret_from_fork)
    UNWIND_HINT_EMPTY
    mov     rdi, rax
    call    schedule_tail
    test    rbx, rbx
    jnz     .Lkernel_thread
.Luser:
    UNWIND_HINT_REGS
    mov     rdi, rsp
    call    syscall_exit_to_user_mode
    jmp     swapgs_restore_regs_and_return_to_usermode
.Lkernel_thread:
    UNWIND_HINT_EMPTY
    mov     rdi, r12
    mov     rax, rbx
    call    __x86_indirect_thunk_rax
    mov     qword ptr [rsp+pt_regs_ax], 0
    jmp     .Luser
SYM_CODE_END(ret_from_fork)

IDTENTRY asm_exc_divide_error, exc_divide_error
IDTENTRY asm_exc_int3, exc_int3, gap=1
IDTENTRY asm_exc_invalid_op, exc_invalid_op
IDTENTRY asm_exc_general_protection, exc_general_protection, has_error_code=1
IDTENTRY asm_exc_page_fault, exc_page_fault, has_error_code=1
IDTENTRY asm_sysvec_apic_timer_interrupt, sysvec_apic_timer_interrupt
IDTENTRY asm_sysvec_reschedule_ipi, sysvec_reschedule_ipi

# On its own stack: the task's may be what failed. It does not return.
SYM_CODE_START(asm_exc_double_fault)
    UNWIND_HINT_IRET_REGS offset=8
    PUSH_AND_CLEAR_REGS
    ENCODE_FRAME_POINTER
    mov     rdi, rsp
    mov     rsi, [rsp+pt_regs_orig_ax]
    mov     qword ptr [rsp+pt_regs_orig_ax], -1
    call    exc_double_fault
    jmp     error_return
SYM_CODE_END(asm_exc_double_fault)

SYM_CODE_START_LOCAL(error_return)
    UNWIND_HINT_REGS
    test    byte ptr [rsp+pt_regs_cs], 3
    jz      restore_regs_and_return_to_kernel
    jmp     swapgs_restore_regs_and_return_to_usermode
SYM_INNER_LABEL(restore_regs_and_return_to_kernel)
    POP_REGS
    add     rsp, 8
    UNWIND_HINT_IRET_REGS
    iretq
SYM_CODE_END(error_return)

# edi: signal number. An oops may have left little stack, or happened on another: what is on it is given up.
SYM_CODE_START(rewind_stack_and_make_dead)
    UNWIND_HINT_FUNC
    xor     ebp, ebp
    mov     rax, gs:[cpu_current_top_of_stack]
    lea     rsp, [rax-sizeof_pt_regs]
    UNWIND_HINT_REGS
    call    make_task_dead
SYM_CODE_END(rewind_stack_and_make_dead)
NORETURN(rewind_stack_and_make_dead)

# Where an idle task's stack begins.
SYM_CODE_START(secondary_startup_64)
    UNWIND_HINT_EMPTY
    call    start_secondary
    ud2
SYM_CODE_END(secondary_startup_64)

SYM_FUNC_START_LOCAL(start_secondary)
    push    rbp
    mov     rbp, rsp
    mov     edi, 0xa9                   # CPUHP_AP_ONLINE_IDLE
    call    cpu_startup_entry
    ud2
SYM_FUNC_END(start_secondary)
NORETURN(start_secondary)
