# Kernel threads, workqueue workers and the idle loop.
# Mirrors kernel/kthread.c, kernel/workqueue.c, kernel/sched/idle.c.

# rdi: struct kthread_create_info. A thread's first function; it does not return.
SYM_FUNC_START(kthread)
    FENTRY
    FRAME_BEGIN
    push    rbp_r13
    push    r12
    push    rbx
    sub     rsp, 8
    mov     r12, [rdi+kthread_create_info_threadfn]
    mov     rbx, [rdi+kthread_create_info_data]
    call    kthread_start               # frees the request
    mov     rdi, rbx
    mov     rax, r12
    call    __x86_indirect_thunk_rax
    mov     edi, eax
    call    kthread_exit
SYM_FUNC_END(kthread)
NORETURN(kthread)

SYM_FUNC_START(kthread_exit)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     ebx, edi
    mov     rsi, rdi
    call    kthread_set_result
    mov     edi, ebx
    call    do_exit
SYM_FUNC_END(kthread_exit)
NORETURN(kthread_exit)
EXPORT_SYMBOL(kthread_exit)

HOST_FUNC_NOTRACE kthread_start
HOST_FUNC_NOTRACE kthread_set_result
HOST_FUNC kthread_create_on_node
EXPORT_SYMBOL(kthread_create_on_node)
.ifdef REAL_KERNEL
# Of kthread_create_worker() and its siblings.
HOST_FUNC __kthread_create_on_node
# int __sched_setscheduler(rdi task, rsi attr, dl user, cl pi)
HOST_FUNC __sched_setscheduler
# void __put_task_struct(rdi task)
HOST_FUNC __put_task_struct
EXPORT_SYMBOL_GPL(__put_task_struct)
.endif
HOST_FUNC kthread_stop
EXPORT_SYMBOL(kthread_stop)
HOST_FUNC kthread_should_stop
EXPORT_SYMBOL(kthread_should_stop)
HOST_FUNC kthread_bind
EXPORT_SYMBOL(kthread_bind)
HOST_FUNC wake_up_process
EXPORT_SYMBOL(wake_up_process)
HOST_FUNC wake_up_state
HOST_FUNC set_user_nice
EXPORT_SYMBOL(set_user_nice)

# rdi: struct worker of ours (opaque here)
SYM_FUNC_START(worker_thread)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     rbx, rdi
.Lagain:
    mov     rdi, rbx
    call    worker_next_work            # a work_struct, or NULL with the state set to TASK_IDLE
    test    rax, rax
    jz      .Lsleep
    mov     rdi, rbx
    mov     rsi, rax
    call    process_one_work
    jmp     .Lagain
.Lsleep:
    call    schedule
    jmp     .Lagain
SYM_FUNC_END(worker_thread)
NORETURN(worker_thread)

SYM_FUNC_START_LOCAL(process_one_work)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbp_r14
    mov     rbp_r14, rsp
    push    rbx
    sub     rsp, 0x20
    mov     rbx, rdi
    mov     r12, rsi
    mov     rax, [rsi+work_struct_func]
    mov     rdi, rsi
    call    __x86_indirect_thunk_rax
    mov     rdi, rbx
    mov     rsi, r12
    call    worker_work_done
    add     rsp, 0x20
    pop     rbx
    pop     rbp_r14
    pop     r12
    pop     r13
    FRAME_END
    RET
SYM_FUNC_END(process_one_work)

HOST_FUNC_NOTRACE worker_next_work
HOST_FUNC_NOTRACE worker_work_done
HOST_FUNC queue_work_on
EXPORT_SYMBOL(queue_work_on)
HOST_FUNC queue_delayed_work_on
EXPORT_SYMBOL(queue_delayed_work_on)
HOST_FUNC mod_delayed_work_on
EXPORT_SYMBOL_GPL(mod_delayed_work_on)
HOST_FUNC cancel_work_sync
EXPORT_SYMBOL_GPL(cancel_work_sync)
HOST_FUNC cancel_delayed_work_sync
EXPORT_SYMBOL(cancel_delayed_work_sync)
HOST_FUNC cancel_delayed_work
EXPORT_SYMBOL(cancel_delayed_work)
HOST_FUNC flush_work
EXPORT_SYMBOL_GPL(flush_work)
HOST_FUNC flush_delayed_work
EXPORT_SYMBOL(flush_delayed_work)

.section .data
SYM_DATA_START(system_wq)
    .quad   0
SYM_DATA_END(system_wq)
EXPORT_SYMBOL(system_wq)
SYM_DATA_START(system_long_wq)
    .quad   0
SYM_DATA_END(system_long_wq)
EXPORT_SYMBOL_GPL(system_long_wq)
SYM_DATA_START(system_unbound_wq)
    .quad   0
SYM_DATA_END(system_unbound_wq)
EXPORT_SYMBOL_GPL(system_unbound_wq)

.section .text

# edi: cpuhp state. Every idle task's loop.
SYM_FUNC_START(cpu_startup_entry)
    FENTRY
    push    rbp
    mov     rbp, rsp
.Lagain:
    call    do_idle
    jmp     .Lagain
SYM_FUNC_END(cpu_startup_entry)
NORETURN(cpu_startup_entry)

SYM_FUNC_START_LOCAL(do_idle)
    FENTRY
    FRAME_BEGIN
    push    rbx
    GET_CURRENT rbx
.Lidle:
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_NEED_RESCHED
    jnz     .Lwanted
    cli
    call    default_idle
    jmp     .Lidle
.Lwanted:
    call    schedule_idle
    # A patch may go live while nothing else runs: the idle loop is where this task can switch.
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_PATCH_PENDING
    jz      .Lout
    mov     rdi, rbx
    call    klp_update_patch_state
.Lout:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(do_idle)

SYM_FUNC_START_LOCAL(default_idle)
    FENTRY
    FRAME_BEGIN
    GET_CURRENT rax
    test    dword ptr [rax+task_struct_thread_info_flags], _TIF_NEED_RESCHED
    jnz     .Lout
    sti
    hlt
    FRAME_END
    RET
.Lout:
    sti
    FRAME_END
    RET
SYM_FUNC_END(default_idle)

# pid 2. Threads are made by the host at once, so it only waits.
SYM_FUNC_START(kthreadd)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    sub     rsp, 0x18
    GET_CURRENT rbx
.Lagain:
    mov     dword ptr [rbx+task_struct___state], TASK_INTERRUPTIBLE
    call    schedule
    jmp     .Lagain
SYM_FUNC_END(kthreadd)
NORETURN(kthreadd)

.ifdef REAL_KERNEL
# struct workqueue_struct *alloc_workqueue(rdi format, esi flags, edx max_active, ...)
HOST_FUNC alloc_workqueue
EXPORT_SYMBOL_GPL(alloc_workqueue)
HOST_FUNC destroy_workqueue
EXPORT_SYMBOL_GPL(destroy_workqueue)
HOST_FUNC __flush_workqueue
EXPORT_SYMBOL(__flush_workqueue)
HOST_FUNC drain_workqueue
EXPORT_SYMBOL_GPL(drain_workqueue)
HOST_FUNC queue_work_node
EXPORT_SYMBOL_GPL(queue_work_node)
HOST_FUNC workqueue_set_max_active
EXPORT_SYMBOL_GPL(workqueue_set_max_active)
HOST_FUNC work_busy
EXPORT_SYMBOL_GPL(work_busy)
.endif
