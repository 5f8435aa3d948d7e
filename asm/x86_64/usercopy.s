# Checks before copies whose length the compiler does not know, and copies of what may not be there.
# Mirrors mm/usercopy.c and mm/maccess.c.

.section .text

# void __check_object_size(rdi ptr, rsi n, dl to_user)
SYM_FUNC_START(__check_object_size)
    FENTRY
    test    rsi, rsi
    je      .Lright
    FRAME_BEGIN
    sub     rsp, 8
    call    usercopy_refused
    test    al, al
    jne     .Lwrong
    add     rsp, 8
    FRAME_END
.Lright:
    jmp     __x86_return_thunk
.Lwrong:
    ANNOTATE_NORETURN
    call    usercopy_abort
SYM_FUNC_END(__check_object_size)
EXPORT_SYMBOL(__check_object_size)

# Its text came before.
SYM_FUNC_START(usercopy_abort)
    FENTRY_OF_KERNEL
__bug_at_usercopy_abort:
    ud2
SYM_FUNC_END(usercopy_abort)
NORETURN(usercopy_abort)

# bool usercopy_refused(rdi ptr, rsi n, dl to_user): says in the log why
HOST_FUNC_NOTRACE usercopy_refused

# long copy_from_kernel_nofault(rdi dst, rsi src, rdx size): 0, -ERANGE for what is no kernel address, or -EFAULT
SYM_FUNC_START(copy_from_kernel_nofault)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     r12, rdi
    mov     rbp_r13, rsi
    mov     rbx, rdx
    mov     rdi, rsi
    mov     rsi, rdx
    call    copy_from_kernel_nofault_allowed
    test    rax, rax
    jne     .Lout
    mov     rdi, r12
    mov     rsi, rbp_r13
    mov     rcx, rbx
    rep movsb
.Lout:
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(copy_from_kernel_nofault)
EXPORT_SYMBOL_GPL(copy_from_kernel_nofault)

# long (rdi src, rsi size): 0, or what the copy is to return
HOST_FUNC copy_from_kernel_nofault_allowed

# pid_t __task_pid_nr_ns(rdi task, esi type, rdx ns): nobody has made a process group or a session
SYM_FUNC_START(__task_pid_nr_ns)
    FENTRY
    mov     eax, [rdi+task_struct_pid]
    test    esi, esi
    je      .Lgot
    mov     eax, [rdi+task_struct_tgid]
    cmp     esi, 1
    je      .Lgot
    xor     eax, eax
.Lgot:
    jmp     __x86_return_thunk
SYM_FUNC_END(__task_pid_nr_ns)
EXPORT_SYMBOL(__task_pid_nr_ns)

.section .rodata
SYM_DATA_START_LOCAL(usercopy_file)
    .asciz  "mm/usercopy.c"
SYM_DATA_END(usercopy_file)

.section .data
SYM_DATA_START(__bug_table_usercopy)
    BUG_ENTRY __bug_at_usercopy_abort, usercopy_file, 101
SYM_DATA_END(__bug_table_usercopy)
