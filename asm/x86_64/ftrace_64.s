# The fentry call's targets: __fentry__, the two templates that every ops' own trampoline is a copy of,
# and the function that shares out one call site among several ops.
# Mirrors arch/x86/kernel/ftrace_64.S and, for the list function, kernel/trace/ftrace.c.
#
# The bytes of ftrace_caller are those of Debian's 6.1 kernel: a trampoline made from it is compared
# with the dump of a real one. What a pt_regs on the stack holds here is a struct ftrace_regs.

.ifdef CONFIG_FRAME_POINTER
.set MCOUNT_FRAME_SIZE, 8 + 16 * 2
.else
.set MCOUNT_FRAME_SIZE, 0
.endif
.set MCOUNT_REG_SIZE, sizeof_pt_regs + MCOUNT_FRAME_SIZE

# size_bits is 0 in every struct ftrace_hash that src/ftrace makes, so that buckets[0] holds all entries.

# rdi: address of the fentry call; rsi: return address of the traced function; rdx: its rbp.
# `added`: bytes pushed before.
.macro save_mcount_regs added=0
.ifdef CONFIG_FRAME_POINTER
    push    rbp
    push    qword ptr [rsp+\added+8*2]
    push    rbp
    mov     rbp, rsp
    push    qword ptr [rsp+\added+8*3]
    push    rbp
    mov     rbp, rsp
.endif
    sub     rsp, sizeof_pt_regs
    mov     [rsp+pt_regs_ax], rax
    mov     [rsp+pt_regs_cx], rcx
    mov     [rsp+pt_regs_dx], rdx
    mov     [rsp+pt_regs_si], rsi
    mov     [rsp+pt_regs_di], rdi
    mov     [rsp+pt_regs_r8], r8
    mov     [rsp+pt_regs_r9], r9
    mov     qword ptr [rsp+pt_regs_orig_ax], 0
.ifdef CONFIG_FRAME_POINTER
    mov     rdx, [rsp+MCOUNT_REG_SIZE-8]
.else
    mov     rdx, rbp
.endif
    mov     [rsp+pt_regs_bp], rdx
    mov     rsi, [rsp+MCOUNT_REG_SIZE+8+\added]
    mov     rdi, [rsp+MCOUNT_REG_SIZE+\added]
    mov     [rsp+pt_regs_ip], rdi
    sub     rdi, MCOUNT_INSN_SIZE
.endm

.macro restore_mcount_regs save=0
    mov     rbp, [rsp+pt_regs_bp]
    mov     r9, [rsp+pt_regs_r9]
    mov     r8, [rsp+pt_regs_r8]
    mov     rdi, [rsp+pt_regs_di]
    mov     rsi, [rsp+pt_regs_si]
    mov     rdx, [rsp+pt_regs_dx]
    mov     rcx, [rsp+pt_regs_cx]
    mov     rax, [rsp+pt_regs_ax]
    add     rsp, MCOUNT_REG_SIZE - \save
.endm

.section .text

SYM_FUNC_START(ftrace_stub)
    RET
SYM_FUNC_END(ftrace_stub)

# What the compiler's fentry calls name. No call to it is left after boot or module load.
SYM_FUNC_START(__fentry__)
    RET
SYM_FUNC_END(__fentry__)
EXPORT_SYMBOL(__fentry__)

SYM_FUNC_START(ftrace_caller)
    save_mcount_regs
    # Stack pointer of the traced function's caller, as it was before the fentry call.
    lea     rcx, [rsp+MCOUNT_REG_SIZE+8]
    mov     [rsp+pt_regs_sp], rcx
SYM_INNER_LABEL(ftrace_caller_op_ptr)
    mov     rdx, [rip+function_trace_op]
    lea     rcx, [rsp]
    # CS is set only where all registers are saved: ftrace_get_regs() goes by it.
    mov     qword ptr [rsp+pt_regs_cs], 0
SYM_INNER_LABEL(ftrace_call)
    call    ftrace_stub
    # The handler may have changed where the call returns to. That is all there is to a livepatch.
    mov     rax, [rsp+pt_regs_ip]
    mov     [rsp+MCOUNT_REG_SIZE], rax
    restore_mcount_regs
SYM_INNER_LABEL(ftrace_caller_end)
    RET
SYM_FUNC_END(ftrace_caller)

SYM_FUNC_START(ftrace_regs_caller)
    pushfq
    save_mcount_regs 8
SYM_INNER_LABEL(ftrace_regs_caller_op_ptr)
    mov     rdx, [rip+function_trace_op]
    mov     [rsp+pt_regs_r15], r15
    mov     [rsp+pt_regs_r14], r14
    mov     [rsp+pt_regs_r13], r13
    mov     [rsp+pt_regs_r12], r12
    mov     [rsp+pt_regs_r11], r11
    mov     [rsp+pt_regs_r10], r10
    mov     [rsp+pt_regs_bx], rbx
    mov     rcx, [rsp+MCOUNT_REG_SIZE]
    mov     [rsp+pt_regs_flags], rcx
    mov     rcx, __KERNEL_DS
    mov     [rsp+pt_regs_ss], rcx
    mov     rcx, __KERNEL_CS
    mov     [rsp+pt_regs_cs], rcx
    lea     rcx, [rsp+MCOUNT_REG_SIZE+8*2]
    mov     [rsp+pt_regs_sp], rcx
    ENCODE_FRAME_POINTER
    lea     rcx, [rsp]
SYM_INNER_LABEL(ftrace_regs_call)
    call    ftrace_stub
    mov     rax, [rsp+pt_regs_flags]
    mov     [rsp+MCOUNT_REG_SIZE], rax
    mov     rax, [rsp+pt_regs_ip]
    mov     [rsp+MCOUNT_REG_SIZE+8], rax
    mov     r15, [rsp+pt_regs_r15]
    mov     r14, [rsp+pt_regs_r14]
    mov     r13, [rsp+pt_regs_r13]
    mov     r12, [rsp+pt_regs_r12]
    mov     r10, [rsp+pt_regs_r10]
    mov     rbx, [rsp+pt_regs_bx]
    mov     rax, [rsp+pt_regs_orig_ax]
    mov     [rsp+MCOUNT_REG_SIZE-8], rax
    # A direct call, if the handler put one in orig_ax. A nop in the copies.
    test    rax, rax
SYM_INNER_LABEL(ftrace_regs_caller_jmp)
    jnz     .Ldirect
    restore_mcount_regs
    popfq
SYM_INNER_LABEL(ftrace_regs_caller_end)
    RET
.Ldirect:
    mov     rdi, [rsp+MCOUNT_REG_SIZE]
    mov     [rsp+MCOUNT_REG_SIZE-8], rdi
    mov     [rsp+MCOUNT_REG_SIZE], rax
    restore_mcount_regs 8
    popfq
    UNWIND_HINT_FUNC
    RET
SYM_FUNC_END(ftrace_regs_caller)

# Calls each registered ops whose filter names the site: for sites with more than one ops, which the
# static ftrace_caller serves. rdi ip, rsi parent ip, rdx (unused), rcx fregs. Not traced itself.
SYM_FUNC_START(arch_ftrace_ops_list_func)
    FRAME_BEGIN
    push    r15
    push    r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 8
    mov     r12, rdi
    mov     r13, rsi
    mov     [rsp], rcx
    TRACE_RECURSION_LOCK TRACE_LIST_START, .Lout
    mov     rbx, [rip+ftrace_ops_list_head]
.Lnext:
    lea     rax, [rip+ftrace_list_end]
    cmp     rbx, rax
    je      .Lunlock
    test    qword ptr [rbx+ftrace_ops_flags], FTRACE_OPS_FL_STUB
    jnz     .Lskip
    # ftrace_ops_test(): an ops without a hash, or with an empty one, traces everything.
    mov     rax, [rbx+ftrace_ops_func_hash]
    test    rax, rax
    jz      .Lcall
    mov     rax, [rax+ftrace_ops_hash_filter_hash]
    test    rax, rax
    jz      .Lcall
    mov     rax, [rax+ftrace_hash_buckets]
    mov     rax, [rax]
    test    rax, rax
    jz      .Lcall
.Lentry:
    cmp     [rax+ftrace_func_entry_ip], r12
    je      .Lcall
    mov     rax, [rax+ftrace_func_entry_hlist_next]
    test    rax, rax
    jnz     .Lentry
    jmp     .Lskip
.Lcall:
    mov     rdi, r12
    mov     rsi, r13
    mov     rdx, rbx
    mov     rcx, [rsp]
    mov     rax, [rbx+ftrace_ops_func]
    call    __x86_indirect_thunk_rax
.Lskip:
    mov     rbx, [rbx+ftrace_ops_next]
    jmp     .Lnext
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
SYM_FUNC_END(arch_ftrace_ops_list_func)

# What is wrong with a site is found by src/ftrace; these are where the kernel warns of it, called the way there.
# Not traced: of kernel/trace/ftrace.c and arch/x86/kernel/ftrace.c nothing is.

# edi: 1 as the bytes of a module's site are compared, 0 as what was found has been told
SYM_FUNC_START(ftrace_module_init)
    FRAME_BEGIN
    sub     rsp, 8
    call    ftrace_process_locs
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(ftrace_module_init)

SYM_FUNC_START_LOCAL(ftrace_process_locs)
    FRAME_BEGIN
    sub     rsp, 8
    test    edi, edi
    je      .Ltold
    call    ftrace_modify_code_direct
    jmp     .Lout
.Ltold:
    call    ftrace_bug
.Lout:
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(ftrace_process_locs)

SYM_FUNC_START_LOCAL(ftrace_modify_code_direct)
    FRAME_BEGIN
    sub     rsp, 8
    call    ftrace_verify_code
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(ftrace_modify_code_direct)

SYM_FUNC_START(ftrace_verify_code)
__bug_at_ftrace_verify_code:
    ud2
    RET
SYM_FUNC_END(ftrace_verify_code)

# What was found is in the log.
SYM_FUNC_START(ftrace_bug)
__bug_at_ftrace_bug:
    ud2
    RET
SYM_FUNC_END(ftrace_bug)

.section .rodata
SYM_DATA_START_LOCAL(ftrace_arch_file)
    .asciz  "arch/x86/kernel/ftrace.c"
SYM_DATA_END(ftrace_arch_file)
SYM_DATA_START_LOCAL(ftrace_file)
    .asciz  "kernel/trace/ftrace.c"
SYM_DATA_END(ftrace_file)

.section .data
SYM_DATA_START(__bug_table_ftrace)
    BUG_ENTRY __bug_at_ftrace_verify_code, ftrace_arch_file, 95, BUGFLAG_WARN_PLAIN
    BUG_ENTRY __bug_at_ftrace_bug, ftrace_file, 2161, BUGFLAG_WARN_ONCE
SYM_DATA_END(__bug_table_ftrace)

.balign 8
# The ops that the static ftrace_caller passes on; ftrace_list_end when nobody listens.
SYM_DATA_START(function_trace_op)
    .quad   ftrace_list_end
SYM_DATA_END(function_trace_op)

# The kernel's ftrace_ops_list; that name is a field offset here. struct ftrace_ops *, linked by ->next, ending in ftrace_list_end.
SYM_DATA_START(ftrace_ops_list_head)
    .quad   ftrace_list_end
SYM_DATA_END(ftrace_ops_list_head)

SYM_DATA_START(ftrace_list_end)
    MEMBERS
    MEMBER ftrace_ops_func, ftrace_stub
    MEMBER ftrace_ops_flags, FTRACE_OPS_FL_STUB
    MEMBERS_END sizeof_ftrace_ops
SYM_DATA_END(ftrace_list_end)

DEFINE_MUTEX ftrace_lock

DEFINE_MUTEX text_mutex
