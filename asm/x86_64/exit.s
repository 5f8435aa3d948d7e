# Birth and death of tasks, signals, and the small system calls. Mirrors kernel/fork.c, exit.c, signal.c.

.macro SYSCALL_HOST name:req, host:req
SYM_FUNC_START(\name)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    \host                       # rdi: pt_regs
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(\name)
.endm

SYM_FUNC_START(__x64_sys_getpid)
    FENTRY
    GET_CURRENT rax
    movsxd  rax, dword ptr [rax+task_struct_tgid]
    RET
SYM_FUNC_END(__x64_sys_getpid)

SYM_FUNC_START(__x64_sys_sched_yield)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    do_sched_yield
    add     rsp, 8
    xor     eax, eax
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_sched_yield)

SYM_FUNC_START_LOCAL(do_sched_yield)
    FENTRY_OF_KERNEL
    FRAME_BEGIN
    push    rbx
    call    yield_task
    call    schedule
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(do_sched_yield)
HOST_FUNC_NOTRACE yield_task

SYM_FUNC_START(__x64_sys_pause)
    FENTRY
    FRAME_BEGIN
    push    rbx
    GET_CURRENT rbx
.Lagain:
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL
    jnz     .Lsignal
    mov     dword ptr [rbx+task_struct___state], TASK_INTERRUPTIBLE
    call    schedule
    jmp     .Lagain
.Lsignal:
    mov     rax, -ERESTARTNOHAND
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_pause)

SYM_FUNC_START(kernel_clone)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi                    # pt_regs
    call    copy_process                # rdi: pt_regs, rsi: user stack or 0, rdx: CLONE_; the task or -errno
    cmp     rax, -4095
    jae     .Lout
    mov     rdi, rax
    call    wake_up_new_task            # returns the pid
.Lout:
    add     rsp, 8
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(kernel_clone)
HOST_FUNC copy_process
HOST_FUNC wake_up_new_task

SYM_FUNC_START(__x64_sys_clone)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    mov     rsi, [rdi+pt_regs_si]
    mov     rdx, [rdi+pt_regs_di]
    call    kernel_clone
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_clone)

SYM_FUNC_START(__x64_sys_fork)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    xor     esi, esi
    xor     edx, edx
    call    kernel_clone
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_fork)

SYM_FUNC_START(__x64_sys_exit)
    FENTRY
    mov     edi, [rdi+pt_regs_di]
    and     edi, 0xff
    shl     edi, 8
    push    rbp
    mov     rbp, rsp
    call    do_exit
SYM_FUNC_END(__x64_sys_exit)

SYM_FUNC_START(__x64_sys_exit_group)
    FENTRY
    mov     edi, [rdi+pt_regs_di]
    and     edi, 0xff
    shl     edi, 8
    push    rbp
    mov     rbp, rsp
    call    do_group_exit
SYM_FUNC_END(__x64_sys_exit_group)

SYM_FUNC_START(do_group_exit)
    FENTRY
    push    rbp
    mov     rbp, rsp
    call    do_exit
SYM_FUNC_END(do_group_exit)
NORETURN(do_group_exit)

# edi: exit code, as wait status
SYM_FUNC_START(do_exit)
    FENTRY
    push    rbp
    mov     rbp, rsp
    push    rbx
    sub     rsp, 0x28
    mov     ebx, edi
    GET_CURRENT rdi
    or      dword ptr [rdi+task_struct_flags], PF_EXITING
    call    exit_files
    mov     edi, ebx
    call    exit_notify                 # waiters, parents, whoever keeps something for the task
    call    do_task_dead
SYM_FUNC_END(do_exit)
NORETURN(do_exit)
HOST_FUNC exit_notify

# edi: signal number of the fault
SYM_FUNC_START(make_task_dead)
    FENTRY
    push    rbp
    mov     rbp, rsp
    push    rbx
    mov     ebx, edi
    sub     rsp, 8
    call    make_task_dead_prepare      # interrupts and preemption on; 1: it was exiting already
    test    eax, eax
    jnz     .Lrecursive
    mov     edi, ebx
    call    do_exit
.Lrecursive:
    call    do_task_dead
SYM_FUNC_END(make_task_dead)
NORETURN(make_task_dead)
HOST_FUNC_NOTRACE make_task_dead_prepare

# wait4(pid, int __user *stat_addr, options, rusage)
SYM_FUNC_START(__x64_sys_wait4)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    kernel_wait4
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_wait4)

SYM_FUNC_START(kernel_wait4)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 0x68
    call    do_wait
    add     rsp, 0x68
    FRAME_END
    RET
SYM_FUNC_END(kernel_wait4)

SYM_FUNC_START_LOCAL(do_wait)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi
.Lagain:
    mov     rdi, rbx
    call    do_wait_children            # WAIT_SLEEP: nothing yet, state set to TASK_INTERRUPTIBLE
    cmp     rax, -1000
    jne     .Lout
    call    schedule
    jmp     .Lagain
.Lout:
    add     rsp, 8
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(do_wait)
HOST_FUNC_NOTRACE do_wait_children

SYSCALL_HOST __x64_sys_kill, kill_something_info
HOST_FUNC kill_something_info

SYM_FUNC_START(sys_ni_syscall)
    FENTRY
    mov     rax, -ENOSYS
    RET
SYM_FUNC_END(sys_ni_syscall)

SYM_FUNC_START(__stack_chk_fail)
    push    rbp
    mov     rbp, rsp
    call    stack_chk_panic
    ud2
SYM_FUNC_END(__stack_chk_fail)
NORETURN(__stack_chk_fail)
EXPORT_SYMBOL(__stack_chk_fail)
HOST_FUNC_NOTRACE stack_chk_panic
