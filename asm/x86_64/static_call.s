# Static calls of preemption, as modules know them: trampolines whose keys are not exported. Mirrors
# kernel/sched/core.c (PREEMPT_DYNAMIC) as a kernel booted with preempt=full has them.

.section .text

# __static_call_return0(): what need not be asked where everything can be preempted.
.macro STATIC_CALL_RET0 name:req
SYM_FUNC_START(__SCT__\name)
    xor     eax, eax
    RET
SYM_FUNC_END(__SCT__\name)
EXPORT_SYMBOL(__SCT__\name)
.endm
.macro STATIC_CALL_TRAMP name:req, func:req
SYM_FUNC_START(__SCT__\name)
    jmp     \func
SYM_FUNC_END(__SCT__\name)
EXPORT_SYMBOL(__SCT__\name)
.endm

STATIC_CALL_RET0 might_resched
.ifdef KLP_IN_COND_RESCHED
STATIC_CALL_TRAMP cond_resched, __static_call_return0
.else
STATIC_CALL_RET0 cond_resched
.endif
STATIC_CALL_TRAMP preempt_schedule, preempt_schedule_thunk
STATIC_CALL_TRAMP preempt_schedule_notrace, preempt_schedule_notrace_thunk
