# System calls and user programs. r1: number.


.section .text

# 0: sleeps until a signal comes
SYM_FUNC_START_LOCAL(sys_pause)
    TRACED
    ENTER
    GET_CURRENT r6
    li      t, TASK_INTERRUPTIBLE
    st4     t, [r6+task_struct___state]
    CALL    schedule
    li      r0, -4
    LEAVE
SYM_FUNC_END(sys_pause)

# 1: what a livepatch replaces. r0: who asks. Returns 100 and a bit.
SYM_FUNC_START(toy_answer)
    TRACED
    add     r0, r0, zero, 100
    RET
SYM_FUNC_END(toy_answer)
EXPORT_SYMBOL(toy_answer)

SYM_FUNC_START_LOCAL(sys_answer)
    ENTER
    CALL    toy_answer
    LEAVE
SYM_FUNC_END(sys_answer)

# 2: an answer, after a sleep of some jiffies in the function that a livepatch replaces
SYM_FUNC_START(toy_slow_answer)
    TRACED
    ENTER
    add     r6, r0, zero
    li      r0, 50
    CALL    schedule_timeout_uninterruptible
    add     r0, r6, zero, 100
    LEAVE
SYM_FUNC_END(toy_slow_answer)

# 3: loads the module of the patch
SYM_FUNC_START_LOCAL(sys_load)
    ENTER
    li      r0, 1
    li      r1, patch_name
    CALL    __request_module
    LEAVE
SYM_FUNC_END(sys_load)

# r0: struct module
SYM_FUNC_START(do_init_module)
    ENTER
    ld8     t, [r0+module_init]
    br      lr, t
    LEAVE
SYM_FUNC_END(do_init_module)

.section .rodata
SYM_DATA_START(patch_name)
    .asciz  "toy_patch"
SYM_DATA_END(patch_name)

.section .data
SYM_DATA_START(sys_call_table)
    .quad   sys_pause, sys_answer, toy_slow_answer, sys_load
SYM_DATA_END(sys_call_table)

.section .user.text

SYM_CODE_START(pause)
.Lagain:
    li      r1, 0
    sys
    bl      zero, .Lagain
SYM_CODE_END(pause)

# Asks for ever, and keeps the last answer in r9.
SYM_CODE_START(ask)
.Lagain:
    li      r0, 0
    li      r1, 1
    sys
    add     r9, r0, zero
    bl      zero, .Lagain
SYM_CODE_END(ask)

SYM_CODE_START(ask_slowly)
.Lagain:
    li      r0, 0
    li      r1, 2
    sys
    add     r9, r0, zero
    bl      zero, .Lagain
SYM_CODE_END(ask_slowly)

# Loads the patch, keeps what that returned in r9, and sleeps.
SYM_CODE_START(load)
    li      r1, 3
    sys
    add     r9, r0, zero
.Lagain:
    li      r1, 0
    sys
    bl      zero, .Lagain
SYM_CODE_END(load)
