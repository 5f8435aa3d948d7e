# The scheduler's machine code: what can be on a stack or be interrupted while tasks change.
# Mirrors kernel/sched/core.c and kernel/time/timer.c (schedule_timeout). Who runs next is decided by host
# functions.
#
# Everything from __sched_text_start to __sched_text_end is what in_sched_functions() knows: it begins below the
# switch and ends in sched_sleep.s, the next file of the image.

# rdi: previous task, rsi: next. The frame it leaves is struct inactive_task_frame.
SYM_FUNC_START(__switch_to_asm)
    push    rbp
    push    rbx
    push    r12
    push    r13
    push    r14
    push    r15
    mov     [rdi+task_struct_thread_sp], rsp
    mov     rsp, [rsi+task_struct_thread_sp]
    mov     rbx, [rsi+task_struct_stack_canary]
    mov     gs:[fixed_percpu_data+40], rbx
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbx
    pop     rbp
    jmp     __switch_to
SYM_FUNC_END(__switch_to_asm)

.set PAGE_OFFSET, 0xffff888000000000

# The address space of kernel threads before any other.
.section .data
SYM_DATA_START(init_mm)
    .skip   sizeof_mm_struct
SYM_DATA_END(init_mm)

# What a kernel thread that was switched from had borrowed: struct rq has it in the kernel.
.section .data..percpu
SYM_DATA_START(runqueue_prev_mm)
    .quad   0
SYM_DATA_END(runqueue_prev_mm)

.section .text

# Returns the previous task.
SYM_FUNC_START(__switch_to)
    mov     gs:[current_task], rsi
    mov     rax, [rsi+task_struct_stack]
    add     rax, THREAD_SIZE
    mov     gs:[cpu_current_top_of_stack], rax
    mov     gs:[cpu_tss_rw+x86_hw_tss_sp0], rax
    mov     rax, rdi
    RET
SYM_FUNC_END(__switch_to)

# void switch_mm_irqs_off(rdi previous mm, rsi next mm, rdx next task). There are no page tables: what pgd points to stands
# for the address space.
SYM_FUNC_START(switch_mm_irqs_off)
    FENTRY
    mov     rax, [rsi+mm_struct_pgd]
    movabs  rcx, PAGE_OFFSET
    sub     rax, rcx                    # __pa()
    mov     cr3, rax
    RET
SYM_FUNC_END(switch_mm_irqs_off)

# on_cpu of a task: an int, or a byte beside on_rq.
.macro SET_ON_CPU task:req, value:req
.ifdef ON_CPU_IS_A_BYTE
    mov     byte ptr [\task+task_struct_on_cpu], \value
.else
    mov     dword ptr [\task+task_struct_on_cpu], \value
.endif
.endm

# rdi: the task that ran before. Interrupts are off until here.
SYM_FUNC_START_LOCAL(finish_task_switch)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi
    mov     r12, gs:[runqueue_prev_mm]
    mov     qword ptr gs:[runqueue_prev_mm], 0
    mov     eax, [rbx+task_struct___state]
    SET_ON_CPU rbx, 0
    sti
    cmp     eax, TASK_DEAD
    jne     .Lout
    mov     rdi, rbx
    call    put_task_stack
.Lout:
    test    r12, r12
    jz      .Lno_mm
    lock dec     dword ptr [r12+mm_struct_mm_count]
    jnz     .Lno_mm
    mov     rdi, r12
    call    __mmdrop
.Lno_mm:
    add     rsp, 8
    pop     rbx
    pop     r12
    FRAME_END
    RET
SYM_FUNC_END(finish_task_switch)

SYM_FUNC_START(schedule_tail)
    FENTRY
    FRAME_BEGIN
    push    rbx
    call    finish_task_switch
    PREEMPT_ENABLE
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(schedule_tail)

HOST_FUNC_NOTRACE pick_next_task
HOST_FUNC put_task_stack
HOST_FUNC __mmdrop
EXPORT_SYMBOL_GPL(__mmdrop)
HOST_FUNC_NOTRACE add_process_timer
HOST_FUNC timer_delete_sync
HOST_FUNC_NOTRACE jiffies_left
HOST_FUNC_NOTRACE hrtimer_sleeper_start
HOST_FUNC_NOTRACE hrtimer_expired
EXPORT_SYMBOL(timer_delete_sync)

SYM_FUNC_START_LOCAL(__sched_text_start)
    RET
SYM_FUNC_END(__sched_text_start)

# edi: 0 SM_NONE, 1 SM_PREEMPT. Called with preemption disabled.
SYM_FUNC_START_LOCAL(__schedule)
    push    rbp
    mov     rbp, rsp
    push    r15
    push    r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 0x18
    mov     r12d, edi
    GET_CURRENT rbx
.ifdef KLP_IN_SCHEDULE
    # klp_sched_try_switch(): compiled out, but for the time of a transition.
    UNWIND_HINT_SAVE
SYM_INNER_LABEL(__branch_at_klp_sched)
    NOP5
.Ltried:
.endif
    cli
    mov     rdi, rbx
    mov     esi, r12d
    call    pick_next_task
    cmp     rax, rbx
    je      .Lsame
    mov     r13, rax
    SET_ON_CPU r13, 1
    mov     rdi, [rbx+task_struct_active_mm]
    mov     rsi, [r13+task_struct_mm]
    test    rsi, rsi
    jz      .Lborrow
    mov     rdx, r13
    call    switch_mm_irqs_off
    cmp     qword ptr [rbx+task_struct_mm], 0
    jne     .Lswitch
    mov     rax, [rbx+task_struct_active_mm]
    mov     gs:[runqueue_prev_mm], rax  # given back once this task's stack is left
    jmp     .Lgive
.Lborrow:
    mov     [r13+task_struct_active_mm], rdi # a kernel thread goes on in the address space that is there
    cmp     qword ptr [rbx+task_struct_mm], 0
    je      .Lgive
    lock inc     dword ptr [rdi+mm_struct_mm_count]
    jmp     .Lswitch
.Lgive:
    mov     qword ptr [rbx+task_struct_active_mm], 0
.Lswitch:
    mov     rdi, rbx
    mov     rsi, r13
    call    __switch_to_asm
    mov     rdi, rax                    # the task that ran before, in this task's time
    call    finish_task_switch
    jmp     .Lout
.Lsame:
    sti
.Lout:
    add     rsp, 0x18
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    pop     rbp
    RET
.ifdef KLP_IN_SCHEDULE
SYM_INNER_LABEL(__branch_to_klp_sched)
    UNWIND_HINT_RESTORE
    test    dword ptr [rbx+task_struct___state], TASK_FREEZABLE
    jz      .Ltried
    call    __klp_sched_try_switch
    jmp     .Ltried
.endif
SYM_FUNC_END(__schedule)

# The last thing a task does.
SYM_FUNC_START(do_task_dead)
    FENTRY_OF_KERNEL
    push    rbp
    mov     rbp, rsp
    GET_CURRENT rax
    PREEMPT_DISABLE                     # first: a dead task that is preempted would be queued and freed
    mov     dword ptr [rax+task_struct___state], TASK_DEAD
    xor     edi, edi
    call    __schedule
    ud2
SYM_FUNC_END(do_task_dead)
NORETURN(do_task_dead)

SYM_FUNC_START(schedule)
    FENTRY
    FRAME_BEGIN
    push    rbx
    GET_CURRENT rbx
.Lagain:
    PREEMPT_DISABLE
    xor     edi, edi
    call    __schedule
    dec     dword ptr gs:[__preempt_count]
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_NEED_RESCHED
    jnz     .Lagain
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(schedule)
EXPORT_SYMBOL(schedule)

SYM_FUNC_START(schedule_idle)
    FENTRY
    FRAME_BEGIN
    push    rbx
    GET_CURRENT rbx
.Lagain:
    xor     edi, edi
    call    __schedule
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_NEED_RESCHED
    jnz     .Lagain
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(schedule_idle)

# Interrupts off means not now.
.macro PREEMPT_SCHEDULE
    push    rbp
    mov     rbp, rsp
    pushfq
    pop     rax
    test    eax, X86_EFLAGS_IF
    jz      .Lout
    call    preempt_schedule_common
.Lout:
    pop     rbp
    RET
.endm

# From preempt_enable(): the count is 0 and somebody waits.
SYM_FUNC_START(preempt_schedule)
    FENTRY
    PREEMPT_SCHEDULE
SYM_FUNC_END(preempt_schedule)
EXPORT_SYMBOL(preempt_schedule)

# The same where tracing must not recurse. Callers expect every register kept (a thunk in the kernel).
SYM_FUNC_START(preempt_schedule_notrace)
    PREEMPT_SCHEDULE
SYM_FUNC_END(preempt_schedule_notrace)
EXPORT_SYMBOL_GPL(preempt_schedule_notrace)

# What modules call from preempt_enable(): keeps all registers. Mirrors arch/x86/entry/thunk_64.S.
.macro PREEMPT_THUNK name:req, func:req
SYM_FUNC_START(\name)
    push    rbp
    mov     rbp, rsp
    push    rdi
    push    rsi
    push    rdx
    push    rcx
    push    rax
    push    r8
    push    r9
    push    r10
    push    r11
    call    \func
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rax
    pop     rcx
    pop     rdx
    pop     rsi
    pop     rdi
    pop     rbp
    RET
SYM_FUNC_END(\name)
EXPORT_SYMBOL(\name)
.endm
PREEMPT_THUNK preempt_schedule_thunk, preempt_schedule
PREEMPT_THUNK preempt_schedule_notrace_thunk, preempt_schedule_notrace

SYM_FUNC_START_LOCAL(preempt_schedule_common)
    FRAME_BEGIN
    push    rbx
    GET_CURRENT rbx
.Lagain:
    PREEMPT_DISABLE
    mov     edi, 1
    call    __schedule
    dec     dword ptr gs:[__preempt_count]
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_NEED_RESCHED
    jnz     .Lagain
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(preempt_schedule_common)

.ifdef KLP_IN_COND_RESCHED
# Returns 1 when it let another task run.
SYM_FUNC_START(__cond_resched)
    FENTRY
    FRAME_BEGIN
    # should_resched(0): the bit that says that somebody waits is inverted.
    cmp     dword ptr gs:[__preempt_count], 0
    jne     .Lno
    pushfq
    pop     rax
    test    eax, X86_EFLAGS_IF
    jz      .Lno
    call    preempt_schedule_common
    mov     eax, 1
    FRAME_END
    RET
.Lno:
    xor     eax, eax
    FRAME_END
    RET
SYM_FUNC_END(__cond_resched)
EXPORT_SYMBOL(__cond_resched)
.endif

# From the exit of a kernel-mode interrupt: interrupts are off and will be off again on return.
SYM_FUNC_START(preempt_schedule_irq)
    FENTRY_OF_KERNEL
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    GET_CURRENT rbx
.Lagain:
    PREEMPT_DISABLE
    sti
    mov     edi, 1
    call    __schedule
    cli
    dec     dword ptr gs:[__preempt_count]
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_NEED_RESCHED
    jnz     .Lagain
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(preempt_schedule_irq)

# rdi: ticks (jiffies); MAX_SCHEDULE_TIMEOUT sleeps until woken. Returns the ticks left.
SYM_FUNC_START(schedule_timeout)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    sub     rsp, sizeof_timer_list+8    # struct process_timer: the timer and its task
    movabs  rax, 0x7fffffffffffffff
    cmp     rdi, rax
    jne     .Ltimed
    call    schedule
    movabs  rax, 0x7fffffffffffffff
    jmp     .Lout
.Ltimed:
    mov     rbp_r12, rdi
    xor     ebx, ebx
    test    rdi, rdi
    js      .Ldone
    GET_CURRENT rax
    mov     [rsp+sizeof_timer_list], rax
    mov     rsi, rdi
    mov     rdi, rsp
    call    add_process_timer           # returns the jiffy at which it expires
    mov     rbx, rax
    call    schedule
    mov     rdi, rsp
    call    timer_delete_sync
    mov     rdi, rbx
    call    jiffies_left
    mov     rbx, rax
.Ldone:
    mov     rax, rbx
.Lout:
    add     rsp, sizeof_timer_list+8
    pop     rbx
    pop     rbp_r12
    FRAME_END
    RET
SYM_FUNC_END(schedule_timeout)
EXPORT_SYMBOL(schedule_timeout)

.macro SCHEDULE_TIMEOUT name:req, state:req
SYM_FUNC_START(\name)
    FENTRY
    GET_CURRENT rax
    mov     dword ptr [rax+task_struct___state], \state
    TAIL_CALL schedule_timeout
SYM_FUNC_END(\name)
EXPORT_SYMBOL(\name)
.endm
SCHEDULE_TIMEOUT schedule_timeout_interruptible, TASK_INTERRUPTIBLE
SCHEDULE_TIMEOUT schedule_timeout_uninterruptible, TASK_UNINTERRUPTIBLE
SCHEDULE_TIMEOUT schedule_timeout_killable, TASK_KILLABLE
SCHEDULE_TIMEOUT schedule_timeout_idle, TASK_IDLE

# rdi: struct hrtimer_sleeper's expiry is the host's. rsi: ns. Mirrors kernel/time/hrtimer.c.
SYM_FUNC_START(do_nanosleep)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     rbp_r13, rdi                # ns
    sub     rsp, sizeof_timer_list+8
    GET_CURRENT rbx
    mov     [rsp+sizeof_timer_list], rbx
    mov     rdi, rsp
    mov     rsi, rbp_r13
    call    hrtimer_sleeper_start
    mov     r12, rax                    # ns at which it expires
.Lagain:
    mov     dword ptr [rbx+task_struct___state], TASK_INTERRUPTIBLE | TASK_FREEZABLE
    mov     rdi, r12
    call    hrtimer_expired
    test    eax, eax
    jnz     .Lslept
    call    schedule
    mov     rdi, r12
    call    hrtimer_expired
    test    eax, eax
    jnz     .Lslept
    test    dword ptr [rbx+task_struct_thread_info_flags], _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL
    jz      .Lagain
    mov     dword ptr [rbx+task_struct___state], TASK_RUNNING
    mov     rdi, rsp
    call    timer_delete_sync
    mov     rax, -ERESTART_RESTARTBLOCK
    jmp     .Lout
.Lslept:
    mov     dword ptr [rbx+task_struct___state], TASK_RUNNING
    mov     rdi, rsp
    call    timer_delete_sync
    xor     eax, eax
.Lout:
    add     rsp, sizeof_timer_list+8
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    RET
SYM_FUNC_END(do_nanosleep)
