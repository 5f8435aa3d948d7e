# Programs for the bundle model: they load modules paused and bring them to life from user space, wait for the gate,
# or do not.

.set __NR_module_unpause, 451
.set MODULE_INIT_PAUSED, 0x100

.section .user.text

no_parameters:
    .byte   0

# rdi: path, rsi: flags of finit_module, rdx: parameters; what that returns, or what open does.
SYM_FUNC_START(load_file)
    push    rbx
    push    r14
    mov     rbx, rsi
    mov     r14, rdx
    xor     esi, esi
    xor     edx, edx
    mov     eax, __NR_open
    syscall
    test    rax, rax
    js      .Lout
    mov     rdi, rax
    mov     rsi, r14
    mov     rdx, rbx
    mov     eax, __NR_finit_module
    syscall
.Lout:
    pop     r14
    pop     rbx
    ret
SYM_FUNC_END(load_file)

# load_paused PATH: loads a module paused, and dies.
SYM_CODE_START(load_paused)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    mov     esi, MODULE_INIT_PAUSED
    lea     rdx, [rip+no_parameters]
    call    load_file
    mov     rdi, rax
    sar     rdi, 63
    and     rdi, rax
    neg     rdi
    mov     eax, __NR_exit_group
    syscall
SYM_CODE_END(load_paused)

# rdi: where argc is. Loads argv[1] paused, with the parameters of argv[2], and then each patch module that follows.
# The handle, or what failed as -errno; its path is written to standard output then.
SYM_FUNC_START_LOCAL(load_with_members)
    push    rbx
    push    rbp
    push    r12
    push    r13
    mov     rbp, rdi
    mov     ebx, 3
    mov     r12, [rbp+16]
    mov     rdi, r12
    mov     esi, MODULE_INIT_PAUSED
    mov     rdx, [rbp+24]
    call    load_file
    mov     r13, rax
    test    rax, rax
    js      .Lfailed
.Lnext:
    cmp     rbx, [rbp]
    jae     .Lout
    mov     r12, [rbp+rbx*8+8]
    mov     rdi, r12
    xor     esi, esi
    lea     rdx, [rip+no_parameters]
    call    load_file
    test    rax, rax
    js      .Lfailed
    inc     rbx
    jmp     .Lnext
.Lfailed:
    mov     r13, rax
    mov     rdi, r12
    call    strlen_user
    mov     rdx, rax
    mov     rsi, r12
    mov     edi, 1
    mov     eax, __NR_write
    syscall
.Lout:
    mov     rax, r13
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret
SYM_FUNC_END(load_with_members)

# modprobe_paused PATH PARAMETERS [MEMBER..]: loads it paused, loads the patch modules, unpauses; exits with the errno.
SYM_CODE_START(modprobe_paused)
    UNWIND_HINT_EMPTY
    mov     rdi, rsp
    call    load_with_members
    test    rax, rax
    js      .Lout
    mov     rdi, rax
    mov     eax, __NR_module_unpause
    syscall
.Lout:
    EXIT_WITH_ERRNO
SYM_CODE_END(modprobe_paused)

# hold_paused PATH [PARAMETERS [MEMBER..]]: the same without unpausing: it waits for a signal with the handle open.
SYM_CODE_START(hold_paused)
    UNWIND_HINT_EMPTY
    mov     rdi, rsp
    call    load_with_members
    test    rax, rax
    js      .Lout
.Lwait:
    mov     eax, __NR_pause
    syscall
    jmp     .Lwait
.Lout:
    EXIT_WITH_ERRNO
SYM_CODE_END(hold_paused)

# insmod_nonblock PATH: loads it unless a transition is in the way; exits with the errno.
SYM_CODE_START(insmod_nonblock)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    mov     esi, O_NONBLOCK
    lea     rdx, [rip+no_parameters]
    call    load_file
    EXIT_WITH_ERRNO
SYM_CODE_END(insmod_nonblock)

# rmmod_wait NAME: unloads it, and waits for a transition that is in the way, which rmmod does not; exits with the errno.
SYM_CODE_START(rmmod_wait)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    xor     esi, esi
    mov     eax, __NR_delete_module
    syscall
    EXIT_WITH_ERRNO
SYM_CODE_END(rmmod_wait)
