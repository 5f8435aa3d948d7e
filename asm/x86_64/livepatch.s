# Which version of a function a task runs, decided at each call; and how a task switches by itself.
# Mirrors kernel/livepatch/patch.c (klp_ftrace_handler) and transition.c (klp_update_patch_state).
#
# The argument of klp_handler_warn says which WARN_ON_ONCE it was: 0 recursion, 1 empty func_stack,
# 2 KLP_UNDEFINED.
#
# Everything read here is guest memory that src/livepatch writes: func_stack, func->transition,
# patch_state, klp_target_state. The order of the reads is the kernel's, and its barriers are the
# other side of the order of writes in src/livepatch/transition.ts and core.ts.

.section .text

# rdi ip, rsi parent ip, rdx fops, rcx fregs. Not traced: it runs inside a trampoline.
SYM_FUNC_START_LOCAL(klp_ftrace_handler)
    FRAME_BEGIN
    push    r15
    push    r14
    push    r12
    push    rbx
    mov     r12, rcx
    # &ops->func_stack
    lea     rbx, [rdx+klp_ops_func_stack-klp_ops_fops]
    # ftrace_test_recursion_trylock(): preemption is off until the unlock, which is what
    # klp_synchronize_transition() waits for.
    TRACE_RECURSION_LOCK TRACE_FTRACE_START, .Lrecursion
    # list_first_or_null_rcu(&ops->func_stack)
    mov     rdx, [rbx]
    cmp     rdx, rbx
    je      .Lempty
    sub     rdx, klp_func_stack_node
    # smp_rmb(): func_stack before func->transition; loads are in order on x86.
    cmp     byte ptr [rdx+klp_func_transition], 0
    je      .Lchosen
    # smp_rmb(): func->transition before current->patch_state.
    mov     rax, gs:[current_task]
    mov     eax, [rax+task_struct_patch_state]
    cmp     eax, KLP_UNDEFINED
    je      .Lundefined
    test    eax, eax
    jnz     .Lchosen
    # KLP_UNPATCHED: the version before this one, or the original code when there is none.
    mov     rdx, [rdx+klp_func_stack_node]
    cmp     rdx, rbx
    je      .Lunlock
    sub     rdx, klp_func_stack_node
.Lchosen:
    # A nop stands for the original code: to set the ip to it would come back here for ever.
    cmp     byte ptr [rdx+klp_func_nop], 0
    jne     .Lunlock
    mov     rax, [rdx+klp_func_new_func]
    mov     [r12+ftrace_regs_regs_ip], rax
.Lunlock:
    TRACE_RECURSION_UNLOCK
.Lout:
    pop     rbx
    pop     r12
    pop     r14
    pop     r15
    FRAME_END
    RET
.Lrecursion:
    mov     edi, 0
    call    klp_handler_warn
    jmp     .Lout
.Lempty:
    mov     edi, 1
    call    klp_handler_warn
    jmp     .Lunlock
.Lundefined:
    # WARN_ON_ONCE, then on as if patched.
    push    rdx
    mov     edi, 2
    call    klp_handler_warn
    pop     rdx
    jmp     .Lchosen
SYM_FUNC_END(klp_ftrace_handler)

# rdi: the task, which is current or does not run. Called at kernel exit and in the idle loop.
SYM_FUNC_START(klp_update_patch_state)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    PREEMPT_DISABLE_NOTRACE
    # test_and_clear_tsk_thread_flag(): a full barrier, before the reads of klp_target_state here and of
    # func->transition in a later klp_ftrace_handler().
    lock btr     qword ptr [rbx+task_struct_thread_info_flags], TIF_PATCH_PENDING
    jnc     .Lnot_pending
    mov     eax, [rip+klp_target_state]
    mov     [rbx+task_struct_patch_state], eax
    mov     rdi, rbx
.ifdef CONFIG_FRAME_POINTER
    mov     rsi, [rsp+16]
.else
    mov     rsi, [rsp+8]
.endif
    call    klp_trace_patch_state       # rsi: who called
.Lnot_pending:
    PREEMPT_ENABLE_NOTRACE
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(klp_update_patch_state)

# klp_synchronize_transition() runs it on every CPU, for the sake of being run.
SYM_FUNC_START(klp_sync)
    FENTRY
    RET
SYM_FUNC_END(klp_sync)

# edi: which of the two steps of unpatching a function failed, which cannot be unless ftrace gave up.
SYM_FUNC_START(__klp_unpatch_object)
    FENTRY
    test    edi, edi
    jne     .Lfilter
__bug_at_klp_unregister:
    ud2
    jmp     __x86_return_thunk
.Lfilter:
__bug_at_klp_filter:
    ud2
    jmp     __x86_return_thunk
SYM_FUNC_END(__klp_unpatch_object)

HOST_FUNC_NOTRACE klp_trace_patch_state
HOST_FUNC_NOTRACE klp_handler_warn
HOST_FUNC klp_enable_patch
EXPORT_SYMBOL_GPL(klp_enable_patch)
.ifdef KLP_FINDS_SECTIONS
# void *klp_find_section_by_name(rdi mod, rsi name, rdx size): the real one reads mod->klp_info, which the machine keeps itself.
HOST_FUNC klp_find_section_by_name
EXPORT_SYMBOL_GPL(klp_find_section_by_name)
.endif
HOST_FUNC klp_transition_work_fn
HOST_FUNC klp_free_patch_work_fn
HOST_FUNC klp_get_state
EXPORT_SYMBOL_GPL(klp_get_state)

.section .rodata
SYM_DATA_START_LOCAL(klp_patch_file)
    .asciz  "kernel/livepatch/patch.c"
SYM_DATA_END(klp_patch_file)

.section .data
SYM_DATA_START(__bug_table_livepatch)
    BUG_ENTRY __bug_at_klp_unregister, klp_patch_file, 147, BUGFLAG_WARN_PLAIN
    BUG_ENTRY __bug_at_klp_filter, klp_patch_file, 148, BUGFLAG_WARN_PLAIN
SYM_DATA_END(__bug_table_livepatch)

.balign 8
DEFINE_MUTEX klp_mutex

# LIST_HEAD(klp_patches): enabled or in transition, in the order of enabling.
SYM_DATA_START(klp_patches)
    .quad   klp_patches, klp_patches
SYM_DATA_END(klp_patches)

# LIST_HEAD(klp_ops)
SYM_DATA_START(klp_ops)
    .quad   klp_ops, klp_ops
SYM_DATA_END(klp_ops)

SYM_DATA_START(klp_transition_patch)
    .quad   0
SYM_DATA_END(klp_transition_patch)

SYM_DATA_START(klp_transition_work)
    MEMBERS
    MEMBER delayed_work_work + work_struct_data, WORK_STRUCT_NO_POOL
    MEMBER_LIST delayed_work_work + work_struct_entry, klp_transition_work
    MEMBER delayed_work_work + work_struct_func, klp_transition_work_fn
    MEMBER delayed_work_timer + timer_list_function, delayed_work_timer_fn
    MEMBERS_END sizeof_delayed_work
SYM_DATA_END(klp_transition_work)

SYM_DATA_START(klp_target_state)
    .long   KLP_UNDEFINED
SYM_DATA_END(klp_target_state)

SYM_DATA_START(klp_signals_cnt)
    .long   0
SYM_DATA_END(klp_signals_cnt)
