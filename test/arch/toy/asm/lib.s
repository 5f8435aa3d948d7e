# Locks, sleeping for a time, completions.

.section .text

# r0: struct mutex, of which only the owner is used: who finds it taken gives the CPU away until it is not.
SYM_FUNC_START(mutex_lock)
    ENTER
    add     r6, r0, zero
.Lagain:
    ld8     t, [r6+0]
    beq     t, zero, .Lfree
    li      r0, 1
    CALL    schedule_timeout_uninterruptible
    JUMP    .Lagain
.Lfree:
    GET_CURRENT t
    st8     t, [r6+0]
    LEAVE
SYM_FUNC_END(mutex_lock)

SYM_FUNC_START(mutex_unlock)
    st8     zero, [r0+0]
    RET
SYM_FUNC_END(mutex_unlock)

# r0: jiffies. The timer and its task lie on the stack.
SYM_FUNC_START(schedule_timeout)
    ENTER
    add     r6, r0, zero
    add     sp, sp, zero, -sizeof_timer_list-16
    GET_CURRENT t
    st8     t, [sp+sizeof_timer_list]
    add     r1, r6, zero
    add     r0, sp, zero
    CALL    add_process_timer
    add     r7, r0, zero
    CALL    schedule
    add     r0, sp, zero
    CALL    timer_delete_sync
    add     r0, r7, zero
    CALL    jiffies_left
    add     sp, sp, zero, sizeof_timer_list+16
    LEAVE
SYM_FUNC_END(schedule_timeout)

.macro SCHEDULE_TIMEOUT name, state
SYM_FUNC_START(\name)
    GET_CURRENT t
    li      r1, \state
    st4     r1, [t+task_struct___state]
    JUMP    schedule_timeout
SYM_FUNC_END(\name)
.endm
SCHEDULE_TIMEOUT schedule_timeout_interruptible, TASK_INTERRUPTIBLE
SCHEDULE_TIMEOUT schedule_timeout_uninterruptible, TASK_UNINTERRUPTIBLE

# r0: struct completion. Looks again each jiffy.
SYM_FUNC_START(wait_for_completion)
    ENTER
    add     r6, r0, zero
.Lagain:
    ld4     r7, [r6+completion_done]
    bne     r7, zero, .Ldone
    li      r0, 1
    CALL    schedule_timeout_uninterruptible
    JUMP    .Lagain
.Ldone:
    add     r7, r7, zero, -1
    st4     r7, [r6+completion_done]
    LEAVE
SYM_FUNC_END(wait_for_completion)

# What the machine asks for by name and this kernel never gets to.
.macro NEVER name
SYM_FUNC_START(\name)
    brk
SYM_FUNC_END(\name)
.endm
NEVER dump_stack
NEVER kobject_add
NEVER do_group_exit
NEVER klp_gate
NEVER klp_gate_wake
NEVER __klp_unpatch_object
NEVER arch_ftrace_ops_list_func
NEVER do_exit
NEVER cmdline_proc_show
NEVER meminfo_proc_show
NEVER version_proc_show
