# Wait queues. Mirrors kernel/sched/wait.c: the queues, their locks and their entries are the guest's own; only
# try_to_wake_up() is a host function.

.section .text

# void __init_waitqueue_head(rdi head, rsi name, rdx key)
SYM_FUNC_START(__init_waitqueue_head)
    FENTRY
    mov     dword ptr [rdi+wait_queue_head_lock], 0
    lea     rax, [rdi+wait_queue_head_head]
    mov     [rdi+wait_queue_head_head_next], rax
    mov     [rdi+wait_queue_head_head_prev], rax
    RET
SYM_FUNC_END(__init_waitqueue_head)
EXPORT_SYMBOL(__init_waitqueue_head)

# void init_wait_entry(rdi entry, esi flags)
SYM_FUNC_START(init_wait_entry)
    FENTRY
    GET_CURRENT rax
    mov     [rdi+wait_queue_entry_flags], esi
    mov     [rdi+wait_queue_entry_private], rax
    mov     qword ptr [rdi+wait_queue_entry_func], offset autoremove_wake_function
    lea     rax, [rdi+wait_queue_entry_entry]
    mov     [rdi+wait_queue_entry_entry_next], rax
    mov     [rdi+wait_queue_entry_entry_prev], rax
    RET
SYM_FUNC_END(init_wait_entry)
EXPORT_SYMBOL(init_wait_entry)

# The entry in \entry goes to the front or the end of the queue in \head. rax and rcx change.
.macro ENQUEUE_FIRST entry, head
    lea     rax, [\entry+wait_queue_entry_entry]
    mov     rcx, [\head+wait_queue_head_head_next]
    mov     [rcx+list_head_prev], rax
    mov     [rax+list_head_next], rcx
    lea     rcx, [\head+wait_queue_head_head]
    mov     [rax+list_head_prev], rcx
    mov     [rcx+list_head_next], rax
.endm
.macro ENQUEUE_LAST entry, head
    lea     rax, [\entry+wait_queue_entry_entry]
    mov     rcx, [\head+wait_queue_head_head_prev]
    mov     [rcx+list_head_next], rax
    mov     [rax+list_head_prev], rcx
    lea     rcx, [\head+wait_queue_head_head]
    mov     [rax+list_head_next], rcx
    mov     [rcx+list_head_prev], rax
.endm
# list_del_init() of the entry. rax, rcx and rdx change.
.macro DEQUEUE entry
    lea     rax, [\entry+wait_queue_entry_entry]
    mov     rcx, [rax+list_head_next]
    mov     rdx, [rax+list_head_prev]
    mov     [rdx+list_head_next], rcx
    mov     [rcx+list_head_prev], rdx
    mov     [rax+list_head_next], rax
    mov     [rax+list_head_prev], rax
.endm
# ZF: the entry in rbx is in no queue. rax changes.
.macro TEST_QUEUED
    lea     rax, [rbx+wait_queue_entry_entry]
    cmp     rax, [rax+list_head_next]
.endm

# rbp_r14: the queue, rbx: the entry, r12d: a third argument. The lock's flags go to r13.
.macro WAIT_BEGIN
    FENTRY
    FRAME_BEGIN
    push    rbp_r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 8
    mov     rbp_r14, rdi
    mov     rbx, rsi
    mov     r12d, edx
.endm
.macro QUEUE_LOCK
    mov     rdi, rbp_r14
    call    _raw_spin_lock_irqsave
    mov     r13, rax
.endm
.macro QUEUE_UNLOCK
    mov     rdi, rbp_r14
    mov     rsi, r13
    call    _raw_spin_unlock_irqrestore
.endm
.macro WAIT_END
    add     rsp, 8
    pop     rbx
    pop     r12
    pop     r13
    pop     rbp_r14
    FRAME_END
    RET
.endm

# void add_wait_queue(rdi head, rsi entry)
SYM_FUNC_START(add_wait_queue)
    WAIT_BEGIN
    and     dword ptr [rbx+wait_queue_entry_flags], ~WQ_FLAG_EXCLUSIVE
    QUEUE_LOCK
    ENQUEUE_FIRST rbx, rbp_r14
    QUEUE_UNLOCK
    WAIT_END
SYM_FUNC_END(add_wait_queue)
EXPORT_SYMBOL(add_wait_queue)

SYM_FUNC_START(add_wait_queue_exclusive)
    WAIT_BEGIN
    or      dword ptr [rbx+wait_queue_entry_flags], WQ_FLAG_EXCLUSIVE
    QUEUE_LOCK
    ENQUEUE_LAST rbx, rbp_r14
    QUEUE_UNLOCK
    WAIT_END
SYM_FUNC_END(add_wait_queue_exclusive)
EXPORT_SYMBOL(add_wait_queue_exclusive)

SYM_FUNC_START(remove_wait_queue)
    WAIT_BEGIN
    QUEUE_LOCK
    lea     rax, [rbx+wait_queue_entry_entry]
    mov     rcx, [rax+list_head_next]
    mov     rdx, [rax+list_head_prev]
    mov     [rdx+list_head_next], rcx
    mov     [rcx+list_head_prev], rdx
    QUEUE_UNLOCK
    WAIT_END
SYM_FUNC_END(remove_wait_queue)
EXPORT_SYMBOL(remove_wait_queue)

# void prepare_to_wait(rdi head, rsi entry, edx state). The state is set in the lock: who wakes must see the entry.
SYM_FUNC_START(prepare_to_wait)
    WAIT_BEGIN
    and     dword ptr [rbx+wait_queue_entry_flags], ~WQ_FLAG_EXCLUSIVE
    QUEUE_LOCK
    TEST_QUEUED
    jne     .Lqueued
    ENQUEUE_FIRST rbx, rbp_r14
.Lqueued:
    GET_CURRENT rax
    xchg    [rax+task_struct___state], r12d
    QUEUE_UNLOCK
    WAIT_END
SYM_FUNC_END(prepare_to_wait)
EXPORT_SYMBOL(prepare_to_wait)

# bool prepare_to_wait_exclusive(rdi head, rsi entry, edx state): was the queue empty?
SYM_FUNC_START(prepare_to_wait_exclusive)
    WAIT_BEGIN
    or      dword ptr [rbx+wait_queue_entry_flags], WQ_FLAG_EXCLUSIVE
    QUEUE_LOCK
    mov     dword ptr [rsp], 0
    TEST_QUEUED
    jne     .Lqueued
    lea     rax, [rbp_r14+wait_queue_head_head]
    cmp     rax, [rax+list_head_next]
    sete    byte ptr [rsp]
    ENQUEUE_LAST rbx, rbp_r14
.Lqueued:
    GET_CURRENT rax
    xchg    [rax+task_struct___state], r12d
    QUEUE_UNLOCK
    mov     eax, [rsp]
    WAIT_END
SYM_FUNC_END(prepare_to_wait_exclusive)
EXPORT_SYMBOL(prepare_to_wait_exclusive)

# long prepare_to_wait_event(rdi head, rsi entry, edx state): 0, or -ERESTARTSYS and not queued.
SYM_FUNC_START(prepare_to_wait_event)
    WAIT_BEGIN
    QUEUE_LOCK
    # signal_pending_state(): any signal ends an interruptible sleep, a fatal one a killable sleep.
    GET_CURRENT rax
    test    r12d, TASK_INTERRUPTIBLE | TASK_WAKEKILL
    jz      .Lwait
    test    dword ptr [rax+task_struct_thread_info_flags], _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL
    jz      .Lwait
    test    r12d, TASK_INTERRUPTIBLE
    jnz     .Lsignal
    test    dword ptr [rax+task_struct_pending_signal], 1 << (SIGKILL - 1)
    jz      .Lwait
.Lsignal:
    # Off the queue: an exclusive wakeup must not be spent on a task that goes away.
    DEQUEUE rbx
    mov     r12, -ERESTARTSYS
    jmp     .Lunlock
.Lwait:
    TEST_QUEUED
    jne     .Lqueued
    test    dword ptr [rbx+wait_queue_entry_flags], WQ_FLAG_EXCLUSIVE
    jnz     .Llast
    ENQUEUE_FIRST rbx, rbp_r14
    jmp     .Lqueued
.Llast:
    ENQUEUE_LAST rbx, rbp_r14
.Lqueued:
    GET_CURRENT rax
    xchg    [rax+task_struct___state], r12d
    xor     r12d, r12d
.Lunlock:
    QUEUE_UNLOCK
    mov     rax, r12
    WAIT_END
SYM_FUNC_END(prepare_to_wait_event)
EXPORT_SYMBOL(prepare_to_wait_event)

# void finish_wait(rdi head, rsi entry)
SYM_FUNC_START(finish_wait)
    WAIT_BEGIN
    GET_CURRENT rax
    mov     dword ptr [rax+task_struct___state], TASK_RUNNING
    # list_empty_careful(): both pointers, as the waker may be in the middle of taking it out.
    TEST_QUEUED
    jne     .Ltake
    cmp     rax, [rax+list_head_prev]
    je      .Lout
.Ltake:
    QUEUE_LOCK
    DEQUEUE rbx
    QUEUE_UNLOCK
.Lout:
    WAIT_END
SYM_FUNC_END(finish_wait)
EXPORT_SYMBOL(finish_wait)

# void __wake_up(rdi head, esi mode, edx nr_exclusive, rcx key)
SYM_FUNC_START(__wake_up)
    FENTRY
    FRAME_BEGIN
    push    rbp_r14
    push    r13
    push    rbx
    mov     rbp_r14, rdi
    mov     ebx, esi
    sub     rsp, 0x10
    mov     [rsp], edx
    mov     [rsp+8], rcx
    QUEUE_LOCK
    mov     rdi, rbp_r14
    mov     esi, ebx
    mov     edx, [rsp]
    mov     rcx, [rsp+8]
    call    __wake_up_common
    QUEUE_UNLOCK
    add     rsp, 0x10
    pop     rbx
    pop     r13
    pop     rbp_r14
    FRAME_END
    RET
SYM_FUNC_END(__wake_up)
EXPORT_SYMBOL(__wake_up)

# void __wake_up_locked(rdi head, esi mode, edx nr_exclusive)
SYM_FUNC_START(__wake_up_locked)
    FENTRY
    xor     ecx, ecx
    TAIL_CALL __wake_up_common
SYM_FUNC_END(__wake_up_locked)
EXPORT_SYMBOL_GPL(__wake_up_locked)

# The list's head in __wake_up_common(): rbp, or a word that is the first under the frame.
.ifdef CONFIG_FRAME_POINTER
    .alias wait_list, qword ptr [rbp-8]
.else
    .alias wait_list, rbp
.endif

# void __wake_up_common(rdi head, esi mode, edx nr_exclusive, rcx key): with the queue's lock held.
# Wakes those that are not exclusive and nr_exclusive of those that are: all for 0.
SYM_FUNC_START_LOCAL(__wake_up_common)
    FENTRY
    FRAME_BEGIN
    PUSH_RBP_WORD
    push    r15
    push    r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 8
.ifdef CONFIG_FRAME_POINTER
    lea     rbx, [rdi+wait_queue_head_head]
    mov     wait_list, rbx
.else
    lea     rbp, [rdi+wait_queue_head_head]
.endif
    mov     r12d, esi
    mov     r13d, edx
    mov     r14, rcx
.ifdef CONFIG_FRAME_POINTER
    mov     rbx, [rbx]
.else
    mov     rbx, [rbp]
.endif
.Lnext:
    cmp     rbx, wait_list
    je      .Lout
    # The function may take the entry out.
    mov     r15, [rbx]
    mov     rax, [rbx-wait_queue_entry_entry+wait_queue_entry_flags]
    mov     [rsp], rax
    lea     rdi, [rbx-wait_queue_entry_entry]
    mov     esi, r12d
    xor     edx, edx
    mov     rcx, r14
    mov     rax, [rdi+wait_queue_entry_func]
    call    __x86_indirect_thunk_rax
    test    eax, eax
    js      .Lout
    jz      .Lon
    test    dword ptr [rsp], WQ_FLAG_EXCLUSIVE
    jz      .Lon
    dec     r13d
    jz      .Lout
.Lon:
    mov     rbx, r15
    jmp     .Lnext
.Lout:
    add     rsp, 8
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    POP_RBP_WORD
    FRAME_END
    RET
SYM_FUNC_END(__wake_up_common)

# int default_wake_function(rdi entry, esi mode, edx wake_flags, rcx key): 1 when it woke the task
SYM_FUNC_START(default_wake_function)
    FENTRY
    mov     rdi, [rdi+wait_queue_entry_private]
    TAIL_CALL try_to_wake_up
SYM_FUNC_END(default_wake_function)
EXPORT_SYMBOL(default_wake_function)

SYM_FUNC_START(autoremove_wake_function)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    mov     rdi, [rdi+wait_queue_entry_private]
    call    try_to_wake_up
    test    eax, eax
    je      .Lout
    mov     r8d, eax
    DEQUEUE rbx
    mov     eax, r8d
.Lout:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(autoremove_wake_function)
EXPORT_SYMBOL(autoremove_wake_function)

# int try_to_wake_up(rdi task, esi states, edx wake_flags)
HOST_FUNC try_to_wake_up
