# Where tasks sleep until another one has done something: struct mutex and struct completion.
# Mirrors kernel/locking/mutex.c and kernel/sched/completion.c; who waits is kept by host functions.
#
# The second part of what in_sched_functions() knows (see sched.s).

# --- struct mutex: the owner word is the kernel's; waiters are kept by the host ----------------------

SYM_FUNC_START(mutex_lock)
    FENTRY
    GET_CURRENT rdx
    xor     eax, eax
    lock cmpxchg qword ptr [rdi], rdx
    TAIL_CALL_IF ne, __mutex_lock_slowpath
    RET
SYM_FUNC_END(mutex_lock)
EXPORT_SYMBOL(mutex_lock)

SYM_FUNC_START_LOCAL(__mutex_lock_slowpath)
    FENTRY
    mov     esi, TASK_UNINTERRUPTIBLE
    TAIL_CALL __mutex_lock
SYM_FUNC_END(__mutex_lock_slowpath)

SYM_FUNC_START_LOCAL(__mutex_lock)
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi
    mov     ebp_r12, esi
.Lagain:
    mov     rdi, rbx
    mov     esi, ebp_r12
    call    mutex_try_or_wait           # 0: locked; 1: queued, state set; -4: interrupted
    test    eax, eax
    jle     .Lout
    call    schedule
    jmp     .Lagain
.Lout:
    add     rsp, 8
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(__mutex_lock)

SYM_FUNC_START(mutex_lock_interruptible)
    FENTRY
    mov     esi, TASK_INTERRUPTIBLE
    TAIL_CALL __mutex_lock
SYM_FUNC_END(mutex_lock_interruptible)
EXPORT_SYMBOL(mutex_lock_interruptible)

# Returns 1 when it got the lock.
SYM_FUNC_START(mutex_trylock)
    FENTRY
    GET_CURRENT rdx
    xor     eax, eax
    lock cmpxchg qword ptr [rdi], rdx
    sete    al
    movzx   eax, al
    RET
SYM_FUNC_END(mutex_trylock)
EXPORT_SYMBOL(mutex_trylock)

SYM_FUNC_START(mutex_unlock)
    FENTRY
    GET_CURRENT rax
    xor     edx, edx
    lock cmpxchg qword ptr [rdi], rdx
    TAIL_CALL_IF ne, __mutex_unlock_slowpath # waiters: the owner word has flags
    RET
SYM_FUNC_END(mutex_unlock)
EXPORT_SYMBOL(mutex_unlock)

# --- completions -------------------------------------------------------------------------------------

.macro WAIT_FOR_COMPLETION name:req, state
SYM_FUNC_START(\name)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi
    .ifb \state
    mov     rbp_r12, rsi
    .endif
.Lagain:
    mov     rdi, rbx
    .ifb \state
    mov     rsi, rbp_r12
    .else
    mov     esi, \state
    .endif
    call    try_or_wait_for_completion  # 0: done; 1: queued, state set; -ERESTARTSYS
    test    eax, eax
    jle     .Lout
    call    schedule
    jmp     .Lagain
.Lout:
    cdqe
    add     rsp, 8
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(\name)
EXPORT_SYMBOL(\name)
.endm
WAIT_FOR_COMPLETION wait_for_completion, TASK_UNINTERRUPTIBLE
WAIT_FOR_COMPLETION wait_for_completion_interruptible, TASK_INTERRUPTIBLE
WAIT_FOR_COMPLETION wait_for_completion_state

SYM_FUNC_START_LOCAL(__sched_text_end)
    RET
SYM_FUNC_END(__sched_text_end)

HOST_FUNC_NOTRACE mutex_try_or_wait
HOST_FUNC __mutex_unlock_slowpath
HOST_FUNC_NOTRACE try_or_wait_for_completion
HOST_FUNC complete
EXPORT_SYMBOL(complete)
HOST_FUNC complete_all
EXPORT_SYMBOL(complete_all)
