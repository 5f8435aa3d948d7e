# Tasks that ask by themselves whether they may switch, while a transition is under way. Mirrors klp_cond_resched() and
# sched_dynamic_klp_enable() of kernel/sched/core.c, and __klp_sched_try_switch() of kernel/livepatch/transition.c.
#
# A real kernel has these of its own, but for the two host functions.

.ifdef KLP_TRIES_ITSELF

.section .text

# bool klp_try_switch_task(rdi task), here of the task that calls it.
HOST_FUNC klp_try_switch_task

.ifdef KLP_IN_SCHEDULE

# From __schedule(), with preemption disabled.
SYM_FUNC_START(__klp_sched_try_switch)
    FENTRY
    GET_CURRENT rdi
    test    dword ptr [rdi+task_struct_thread_info_flags], _TIF_PATCH_PENDING
    jnz     .Ltry
    RET
.Ltry:
    TAIL_CALL klp_try_switch_task
SYM_FUNC_END(__klp_sched_try_switch)

.section .data
# DEFINE_STATIC_KEY_FALSE()
SYM_DATA_START(klp_sched_try_switch_key)
    .skip   sizeof_static_key
SYM_DATA_END(klp_sched_try_switch_key)

.section .rodata
# struct jump_entry of the branch in __schedule().
SYM_DATA_START(klp_jump_table)
    MEMBERS
    MEMBER jump_entry_code, __branch_at_klp_sched - ., 4
    MEMBER jump_entry_target, __branch_to_klp_sched - ., 4
    MEMBER jump_entry_key, klp_sched_try_switch_key - .
    MEMBERS_END sizeof_jump_entry
SYM_DATA_END(klp_jump_table)
SYM_DATA_START(klp_jump_table_end)
    .quad   0
SYM_DATA_END(klp_jump_table_end)

.endif

.ifdef KLP_IN_COND_RESCHED

SYM_FUNC_START(__klp_sched_try_switch)
    FENTRY
    FRAME_BEGIN
    GET_CURRENT rdi
    test    dword ptr [rdi+task_struct_thread_info_flags], _TIF_PATCH_PENDING
    jz      .Lout
    # The task must stay who it is until it has switched, and klp_synchronize_transition() waits for it.
    PREEMPT_DISABLE
    test    dword ptr [rdi+task_struct_thread_info_flags], _TIF_PATCH_PENDING
    jz      .Lenable
    sub     rsp, 8
    call    klp_try_switch_task
    add     rsp, 8
.Lenable:
    PREEMPT_ENABLE
.Lout:
    FRAME_END
    RET
SYM_FUNC_END(__klp_sched_try_switch)
EXPORT_SYMBOL(__klp_sched_try_switch)

# What cond_resched() is during a transition.
SYM_FUNC_START_LOCAL(klp_cond_resched)
    FENTRY
    FRAME_BEGIN
    call    __klp_sched_try_switch
    FRAME_END
    TAIL_CALL __cond_resched
SYM_FUNC_END(klp_cond_resched)

SYM_FUNC_START(sched_dynamic_klp_enable)
    FENTRY
    FRAME_BEGIN
    mov     rdi, offset sched_dynamic_mutex
    call    mutex_lock
    mov     byte ptr [rip+klp_override], 1
    mov     rdi, offset __SCK__cond_resched
    mov     rsi, offset __SCT__cond_resched
    mov     rdx, offset klp_cond_resched
    call    __static_call_update
    mov     rdi, offset sched_dynamic_mutex
    call    mutex_unlock
    FRAME_END
    RET
SYM_FUNC_END(sched_dynamic_klp_enable)

SYM_FUNC_START(sched_dynamic_klp_disable)
    FENTRY
    FRAME_BEGIN
    mov     rdi, offset sched_dynamic_mutex
    call    mutex_lock
    mov     byte ptr [rip+klp_override], 0
    mov     edi, [rip+preempt_dynamic_mode]
    call    __sched_dynamic_update
    mov     rdi, offset sched_dynamic_mutex
    call    mutex_unlock
    FRAME_END
    RET
SYM_FUNC_END(sched_dynamic_klp_disable)

HOST_FUNC __sched_dynamic_update

SYM_FUNC_START(__static_call_return0)
    xor     eax, eax
    RET
SYM_FUNC_END(__static_call_return0)

.section .data
DEFINE_MUTEX sched_dynamic_mutex
SYM_DATA_START(klp_override)
    .byte   0
SYM_DATA_END(klp_override)
# preempt_dynamic_full
SYM_DATA_START(preempt_dynamic_mode)
    .long   2
SYM_DATA_END(preempt_dynamic_mode)
# struct static_call_key
SYM_DATA_START(__SCK__cond_resched)
    MEMBERS
    MEMBER static_call_key_func, __static_call_return0
    MEMBERS_END sizeof_static_call_key
SYM_DATA_END(__SCK__cond_resched)

.section .rodata
SYM_DATA_START(__start_static_call_tramp_key)
    .long   __SCT__cond_resched - .
    .long   __SCK__cond_resched - .
SYM_DATA_END(__start_static_call_tramp_key)
SYM_DATA_START(__stop_static_call_tramp_key)
    .quad   0
SYM_DATA_END(__stop_static_call_tramp_key)

.endif
.endif
