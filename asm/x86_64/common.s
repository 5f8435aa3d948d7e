# System call and interrupt work between entry and exit. Mirrors arch/x86/entry/common.c and
# kernel/entry/common.c. None of it has an fentry site: the kernel marks it noinstr.

.set WORK, _TIF_NEED_RESCHED | _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | _TIF_PATCH_PENDING
.set NR_SYSCALLS, 452

# rdi: struct pt_regs, esi: number
SYM_FUNC_START(do_syscall_64)
    FRAME_BEGIN
    push    rbp_r12
    mov     rbp_r12, rdi
    push    rbx
    movsxd  rbx, esi
    sti
    cmp     rbx, NR_SYSCALLS
    jae     .Lexit                      # regs->ax is -ENOSYS
    mov     rax, [rbx*8+sys_call_table]
    call    __x86_indirect_thunk_rax
    mov     [rbp_r12+pt_regs_ax], rax
.Lexit:
    mov     rdi, rbp_r12
    call    syscall_exit_to_user_mode
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(do_syscall_64)

SYM_FUNC_START(syscall_exit_to_user_mode)
    FRAME_BEGIN
    cli
    sub     rsp, 8
    call    exit_to_user_mode_prepare
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(syscall_exit_to_user_mode)

# rdi: pt_regs; interrupts are off
SYM_FUNC_START_LOCAL(exit_to_user_mode_prepare)
    FENTRY_OF_KERNEL
    FRAME_BEGIN
    GET_CURRENT rax
    mov     rsi, [rax+task_struct_thread_info_flags]
    test    esi, WORK
    jnz     .Lwork
    FRAME_END
    RET
.Lwork:
    sub     rsp, 8
    call    exit_to_user_mode_loop
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(exit_to_user_mode_prepare)

# rdi: pt_regs, rsi: thread_info.flags. The order of the checks is the kernel's.
SYM_FUNC_START_LOCAL(exit_to_user_mode_loop)
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     rbp_r13, rdi
    mov     rbx, rsi
.Lagain:
    sti
    test    ebx, _TIF_NEED_RESCHED
    jz      1f
    call    schedule
1:
    test    ebx, _TIF_PATCH_PENDING
    jz      2f
    GET_CURRENT rdi
    call    klp_update_patch_state
2:
    test    ebx, _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL
    jz      3f
    mov     rdi, rbp_r13
    call    arch_do_signal_or_restart
3:
    cli
    GET_CURRENT rax
    mov     rbx, [rax+task_struct_thread_info_flags]
    test    ebx, WORK
    jnz     .Lagain
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    RET
SYM_FUNC_END(exit_to_user_mode_loop)

# rdi: pt_regs. A system call that a signal interrupted starts again, or returns -EINTR.
# Mirrors arch/x86/kernel/signal.c. get_signal() is a host function: it ends the task for a fatal one.
SYM_FUNC_START(arch_do_signal_or_restart)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    call    get_signal
    cmp     qword ptr [rbx+pt_regs_orig_ax], 0
    jl      .Lout
    mov     rax, [rbx+pt_regs_ax]
    cmp     rax, -ERESTARTSYS
    je      .Lrestart
    cmp     rax, -ERESTARTNOINTR
    je      .Lrestart
    cmp     rax, -ERESTARTNOHAND
    je      .Lrestart
    cmp     rax, -ERESTART_RESTARTBLOCK
    jne     .Lout
    mov     qword ptr [rbx+pt_regs_ax], __NR_restart_syscall
    jmp     .Lback
.Lrestart:
    mov     rax, [rbx+pt_regs_orig_ax]
    mov     [rbx+pt_regs_ax], rax
.Lback:
    sub     qword ptr [rbx+pt_regs_ip], 2 # 0f 05: syscall
.Lout:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(arch_do_signal_or_restart)

HOST_FUNC get_signal

# --- interrupts -------------------------------------------------------------------------------------

# rdi: pt_regs
SYM_FUNC_START(sysvec_apic_timer_interrupt)
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    add     dword ptr gs:[__preempt_count], HARDIRQ_OFFSET
    call    __sysvec_apic_timer_interrupt
    sub     dword ptr gs:[__preempt_count], HARDIRQ_OFFSET
    call    irq_exit_rcu
    mov     rdi, rbx
    call    irqentry_exit
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(sysvec_apic_timer_interrupt)

SYM_FUNC_START(__sysvec_apic_timer_interrupt)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    hrtimer_interrupt
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(__sysvec_apic_timer_interrupt)

# The tick: accounting, and whether the task has had its share.
HOST_FUNC hrtimer_interrupt

SYM_FUNC_START(sysvec_reschedule_ipi)
    FRAME_BEGIN
    sub     rsp, 8
    call    irqentry_exit
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(sysvec_reschedule_ipi)

# Timers that are due run here, as softirqs do, unless this interrupted one.
SYM_FUNC_START_LOCAL(irq_exit_rcu)
    FENTRY_OF_KERNEL
    FRAME_BEGIN
    test    dword ptr gs:[__preempt_count], SOFTIRQ_MASK | HARDIRQ_MASK | NMI_MASK
    jnz     .Lnested
    cmp     dword ptr gs:[irq_stat], 0
    je      .Lnested
    sub     rsp, 8
    call    __do_softirq
    add     rsp, 8
.Lnested:
    FRAME_END
    RET
SYM_FUNC_END(irq_exit_rcu)

SYM_FUNC_START(__do_softirq)
    FENTRY_OF_KERNEL
    push    rbp
    mov     rbp, rsp
    add     dword ptr gs:[__preempt_count], SOFTIRQ_OFFSET
    mov     dword ptr gs:[irq_stat], 0
    sti
    call    run_timer_softirq
    cli
    sub     dword ptr gs:[__preempt_count], SOFTIRQ_OFFSET
    pop     rbp
    RET
SYM_FUNC_END(__do_softirq)

SYM_FUNC_START_LOCAL(run_timer_softirq)
    FENTRY
    FRAME_BEGIN
    push    rbx
.Lnext:
    call    next_expired_timer          # a struct timer_list, or NULL
    test    rax, rax
    jz      .Ldone
    mov     rdi, rax
    mov     rsi, [rax+timer_list_function]
    call    call_timer_fn
    jmp     .Lnext
.Ldone:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(run_timer_softirq)

HOST_FUNC_NOTRACE next_expired_timer

SYM_FUNC_START_LOCAL(call_timer_fn)
    FENTRY
    push    rbp
    mov     rbp, rsp
    mov     rax, rsi
    call    __x86_indirect_thunk_rax
    pop     rbp
    RET
SYM_FUNC_END(call_timer_fn)

# rdi: pt_regs. A kernel-mode interrupt is where a task is preempted.
SYM_FUNC_START(irqentry_exit)
    FRAME_BEGIN
    test    byte ptr [rdi+pt_regs_cs], 3
    jz      .Lkernel
    FRAME_END
    TAIL_CALL exit_to_user_mode_prepare
.Lkernel:
    test    dword ptr [rdi+pt_regs_flags], X86_EFLAGS_IF # off: nothing to preempt
    jz      .Lout
.if PREEMPT_NEED_RESCHED == 0x80000000
    cmp     dword ptr gs:[__preempt_count], 0 # count 0 and need_resched
.else
    cmp     qword ptr gs:[__preempt_count], 0
.endif
    jne     .Lout
    sub     rsp, 8
    call    preempt_schedule_irq
    add     rsp, 8
.Lout:
    FRAME_END
    RET
SYM_FUNC_END(irqentry_exit)

# --- exceptions: each decides by a host function what the kernel would do ---------------------------

EXCEPTION exc_divide_error, do_error_trap, traced=1
EXCEPTION exc_int3, do_int3
EXCEPTION exc_invalid_op, handle_invalid_op
EXCEPTION exc_general_protection, do_general_protection
EXCEPTION exc_page_fault, handle_page_fault
EXCEPTION exc_double_fault, handle_stack_overflow
