# Probes at fentry sites: from the site to the handlers of who set them. Mirrors kernel/kprobes.c and
# arch/x86/kernel/kprobes/ftrace.c.
#
# src/tracing/kprobes.ts writes kprobe_table and the probes' own members; all of it is read here, in the order of the kernel.

.set KPROBE_HASH_SHIFT, 64 - 6
.set KPROBE_INACTIVE, KPROBE_FLAG_DISABLED | KPROBE_FLAG_GONE

.section .text

# rdi ip, rsi parent ip, rdx fops, rcx fregs. Not traced: it runs inside a trampoline.
SYM_FUNC_START(kprobe_ftrace_handler)
    FRAME_BEGIN
    push    r15
    push    r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 8
    mov     r12, rcx
    mov     r13, rdi
    TRACE_RECURSION_LOCK TRACE_FTRACE_START, .Lout
    # get_kprobe(): by hash_ptr() of the address.
    movabs  rax, 0x61c8864680b583eb
    imul    rax, r13
    shr     rax, KPROBE_HASH_SHIFT
    mov     rbx, [rax*8+kprobe_table]
.Lnext:
    test    rbx, rbx
    jz      .Lunlock
    sub     rbx, kprobe_hlist_next
    cmp     [rbx+kprobe_addr], r13
    je      .Lfound
    mov     rbx, [rbx+kprobe_hlist_next]
    jmp     .Lnext
.Lfound:
    test    dword ptr [rbx+kprobe_flags], KPROBE_INACTIVE
    jnz     .Lunlock
    cmp     qword ptr gs:[current_kprobe], 0
    jne     .Lmissed
    mov     rax, [r12+ftrace_regs_regs_ip]
    mov     [rsp], rax
    # A handler sees the ip as behind a breakpoint.
    lea     rax, [r13+1]
    mov     [r12+ftrace_regs_regs_ip], rax
    mov     gs:[current_kprobe], rbx
    mov     rax, [rbx+kprobe_pre_handler]
    test    rax, rax
    jz      .Lpassed
    mov     rdi, rbx
    mov     rsi, r12
    call    __x86_indirect_thunk_rax
    # Anything but 0: the handler has set the ip.
    test    eax, eax
    jnz     .Ldone
.Lpassed:
    # As if a nop of the site's size had been stepped over.
    lea     rax, [r13+MCOUNT_INSN_SIZE]
    mov     [r12+ftrace_regs_regs_ip], rax
    mov     rax, [rbx+kprobe_post_handler]
    test    rax, rax
    jz      .Lrestore
    mov     rdi, rbx
    mov     rsi, r12
    xor     edx, edx
    call    __x86_indirect_thunk_rax
.Lrestore:
    mov     rax, [rsp]
    mov     [r12+ftrace_regs_regs_ip], rax
.Ldone:
    mov     qword ptr gs:[current_kprobe], 0
.Lunlock:
    TRACE_RECURSION_UNLOCK
.Lout:
    add     rsp, 8
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    FRAME_END
    RET
.Lmissed:
    inc     qword ptr [rbx+kprobe_nmissed]
    jmp     .Lunlock
SYM_FUNC_END(kprobe_ftrace_handler)

# int aggr_pre_handler(rdi probe, rsi regs): those of all probes at one place, until one has set the ip
SYM_FUNC_START(aggr_pre_handler)
    FENTRY
    FRAME_BEGIN
    push    r14
    push    r13
    push    r12
    push    rbx
    mov     r12, rsi
    lea     r13, [rdi+kprobe_list_next]
    mov     rbx, [r13]
    xor     r14d, r14d
.Lnext:
    cmp     rbx, r13
    je      .Lout
    mov     rax, [rbx+kprobe_pre_handler-kprobe_list_next]
    test    rax, rax
    jz      .Lskip
    test    dword ptr [rbx+kprobe_flags-kprobe_list_next], KPROBE_INACTIVE
    jnz     .Lskip
    lea     rdi, [rbx-kprobe_list_next]
    mov     gs:[kprobe_instance], rdi
    mov     rsi, r12
    call    __x86_indirect_thunk_rax
    mov     r14d, eax
    test    eax, eax
    jnz     .Lout
    mov     qword ptr gs:[kprobe_instance], 0
.Lskip:
    mov     rbx, [rbx]
    jmp     .Lnext
.Lout:
    mov     eax, r14d
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(aggr_pre_handler)

# void aggr_post_handler(rdi probe, rsi regs, rdx flags)
SYM_FUNC_START(aggr_post_handler)
    FENTRY
    FRAME_BEGIN
    push    r14
    push    r13
    push    r12
    push    rbx
    mov     r12, rsi
    mov     r14, rdx
    lea     r13, [rdi+kprobe_list_next]
    mov     rbx, [r13]
.Lnext:
    cmp     rbx, r13
    je      .Lout
    mov     rax, [rbx+kprobe_post_handler-kprobe_list_next]
    test    rax, rax
    jz      .Lskip
    test    dword ptr [rbx+kprobe_flags-kprobe_list_next], KPROBE_INACTIVE
    jnz     .Lskip
    lea     rdi, [rbx-kprobe_list_next]
    mov     gs:[kprobe_instance], rdi
    mov     rsi, r12
    mov     rdx, r14
    call    __x86_indirect_thunk_rax
    mov     qword ptr gs:[kprobe_instance], 0
.Lskip:
    mov     rbx, [rbx]
    jmp     .Lnext
.Lout:
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(aggr_post_handler)

# int kprobe_dispatcher(rdi probe, rsi regs): of the probes of tracefs. What is recorded of them is kept by src/tracing.
SYM_FUNC_START(kprobe_dispatcher)
    FRAME_BEGIN
    sub     rsp, 8
    # irqs_disabled()
    pushfq
    pop     rdx
    not     edx
    shr     edx, 9
    and     edx, 1
    call    kprobe_trace_func
    xor     eax, eax
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(kprobe_dispatcher)

HOST_FUNC_NOTRACE kprobe_trace_func
HOST_FUNC register_kprobe
EXPORT_SYMBOL_GPL(register_kprobe)
HOST_FUNC unregister_kprobe
EXPORT_SYMBOL_GPL(unregister_kprobe)
HOST_FUNC register_kprobes
EXPORT_SYMBOL_GPL(register_kprobes)
HOST_FUNC unregister_kprobes
EXPORT_SYMBOL_GPL(unregister_kprobes)
HOST_FUNC enable_kprobe
EXPORT_SYMBOL_GPL(enable_kprobe)
HOST_FUNC disable_kprobe
EXPORT_SYMBOL_GPL(disable_kprobe)

.section .data
DEFINE_MUTEX kprobe_mutex

# struct hlist_head kprobe_table[KPROBE_TABLE_SIZE]
SYM_DATA_START(kprobe_table)
    .fill   64, 8, 0
SYM_DATA_END(kprobe_table)

SYM_DATA_START(kprobe_ftrace_ops)
    MEMBERS
    MEMBER ftrace_ops_func, kprobe_ftrace_handler
    MEMBER ftrace_ops_flags, FTRACE_OPS_FL_SAVE_REGS
    MEMBERS_END sizeof_ftrace_ops
SYM_DATA_END(kprobe_ftrace_ops)

SYM_DATA_START(kprobe_ipmodify_ops)
    MEMBERS
    MEMBER ftrace_ops_func, kprobe_ftrace_handler
    MEMBER ftrace_ops_flags, FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY
    MEMBERS_END sizeof_ftrace_ops
SYM_DATA_END(kprobe_ipmodify_ops)
