# Changing tasks, kernel threads, workers, the idle loop.

.section .text

# r0: previous task, r1: next. What it leaves on the stack is the port's inactive frame: r6 to r9, lr.
SYM_FUNC_START(__switch_to_asm)
    add     sp, sp, zero, -48
    st8     r6, [sp+0]
    st8     r7, [sp+8]
    st8     r8, [sp+16]
    st8     r9, [sp+24]
    st8     lr, [sp+32]
    st8     sp, [r0+task_struct_thread_sp]
    ld8     sp, [r1+task_struct_thread_sp]
    st8     r1, [cpu+current_task]
    ld8     t, [r1+task_struct_stack]
    add     t, t, zero, THREAD_SIZE
    st8     t, [cpu+cpu_current_top_of_stack]
    ld8     r6, [sp+0]
    ld8     r7, [sp+8]
    ld8     r8, [sp+16]
    ld8     r9, [sp+24]
    ld8     lr, [sp+32]
    add     sp, sp, zero, 48
    br      zero, lr
SYM_FUNC_END(__switch_to_asm)

# r0: the task that ran before. Interrupts are off until here.
SYM_FUNC_START_LOCAL(finish_task_switch)
    ENTER
    ld4     r6, [r0+task_struct___state]
    st4     zero, [r0+task_struct_on_cpu]
    irq     1
    li      t, TASK_DEAD
    bne     r6, t, .Lout
    CALL    put_task_stack
.Lout:
    LEAVE
SYM_FUNC_END(finish_task_switch)

SYM_FUNC_START(schedule_tail)
    ENTER
    CALL    finish_task_switch
    PREEMPT_ADD -1
    LEAVE
SYM_FUNC_END(schedule_tail)

SYM_FUNC_START_LOCAL(__sched_text_start)
    RET
SYM_FUNC_END(__sched_text_start)

SYM_FUNC_START(__schedule)
    ENTER
    add     r7, r0, zero
    GET_CURRENT r6
    irq     0
    add     r0, r6, zero
    add     r1, r7, zero
    CALL    pick_next_task
    beq     r0, r6, .Lsame
    add     r1, r0, zero
    li      t, 1
    st4     t, [r1+task_struct_on_cpu]
    add     r0, r6, zero
    CALL    __switch_to_asm
    CALL    finish_task_switch
    LEAVE
.Lsame:
    irq     1
    LEAVE
SYM_FUNC_END(__schedule)

SYM_FUNC_START(schedule)
    TRACED
    ENTER
    GET_CURRENT r6
.Lagain:
    PREEMPT_ADD 1
    li      r0, 0
    CALL    __schedule
    PREEMPT_ADD -1
    IF_FLAG r6, _TIF_NEED_RESCHED, .Lagain
    LEAVE
SYM_FUNC_END(schedule)

SYM_FUNC_START(schedule_idle)
    ENTER
    GET_CURRENT r6
.Lagain:
    li      r0, 0
    CALL    __schedule
    IF_FLAG r6, _TIF_NEED_RESCHED, .Lagain
    LEAVE
SYM_FUNC_END(schedule_idle)

SYM_FUNC_START_LOCAL(__sched_text_end)
    RET
SYM_FUNC_END(__sched_text_end)

SYM_FUNC_START(do_task_dead)
    GET_CURRENT t
    li      r6, TASK_DEAD
    st4     r6, [t+task_struct___state]
    PREEMPT_ADD 1
    li      r0, 0
    CALL    __schedule
    brk
SYM_FUNC_END(do_task_dead)

# A new task's first instructions: r0 the previous task, r4 a kernel thread's function or 0, r5 its argument.
SYM_CODE_START(ret_from_fork)
    CALL    schedule_tail
    beq     r6, zero, .Luser
    add     r0, r7, zero
    br      lr, r6
.Luser:
    add     r0, sp, zero
    JUMP    exit_to_user_mode
SYM_CODE_END(ret_from_fork)

SYM_FUNC_START(kthread)
    ENTER
    ld8     r7, [r0+0]
    ld8     r8, [r0+8]
    CALL    kthread_start
    add     r0, r8, zero
    br      lr, r7
    add     r1, r0, zero
    CALL    kthread_set_result
    li      r0, 0
    CALL    do_exit
    brk
SYM_FUNC_END(kthread)

SYM_FUNC_START(worker_thread)
    TRACED
    ENTER
    add     r6, r0, zero
.Lagain:
    add     r0, r6, zero
    CALL    worker_next_work
    beq     r0, zero, .Lsleep
    add     r7, r0, zero
    ld8     r8, [r7+work_struct_func]
    br      lr, r8
    add     r0, r6, zero
    add     r1, r7, zero
    CALL    worker_work_done
    JUMP    .Lagain
.Lsleep:
    CALL    schedule
    JUMP    .Lagain
SYM_FUNC_END(worker_thread)

SYM_FUNC_START(kthreadd)
    ENTER
    GET_CURRENT r6
.Lagain:
    li      t, TASK_INTERRUPTIBLE
    st4     t, [r6+task_struct___state]
    CALL    schedule
    JUMP    .Lagain
SYM_FUNC_END(kthreadd)

SYM_CODE_START(secondary_startup_64)
    CALL    cpu_startup_entry
    brk
SYM_CODE_END(secondary_startup_64)

SYM_FUNC_START(cpu_startup_entry)
    CALL    do_idle
    brk
SYM_FUNC_END(cpu_startup_entry)

SYM_FUNC_START_LOCAL(do_idle)
    GET_CURRENT r6
.Lidle:
    IF_FLAG r6, _TIF_NEED_RESCHED, .Lwanted
    CALL    default_idle
    JUMP    .Lidle
.Lwanted:
    CALL    schedule_idle
    IF_FLAG r6, _TIF_PATCH_PENDING, .Lpending
    JUMP    .Lidle
.Lpending:
    add     r0, r6, zero
    CALL    klp_update_patch_state
    JUMP    .Lidle
SYM_FUNC_END(do_idle)

SYM_FUNC_START_LOCAL(default_idle)
    irq     1
    wait
    RET
SYM_FUNC_END(default_idle)
