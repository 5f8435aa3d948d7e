# Programs that load modules paused and bring them to life from user space.

.set __NR_open_, 2
.set __NR_exit_group_, 231
.set __NR_finit_module_, 313
.set __NR_module_unpause, 451
.set MODULE_INIT_PAUSED, 0x100

.section .user.text

# rdi: path, rsi: flags of finit_module; what that returns, or what open does.
SYM_FUNC_START_LOCAL(load_file)
    push    rbx
    mov     rbx, rsi
    xor     esi, esi
    xor     edx, edx
    mov     eax, __NR_open_
    syscall
    test    rax, rax
    js      .Lout
    mov     rdi, rax
    xor     esi, esi
    mov     rdx, rbx
    mov     eax, __NR_finit_module_
    syscall
.Lout:
    pop     rbx
    ret
SYM_FUNC_END(load_file)

# load_paused PATH: loads a module paused, and dies.
SYM_CODE_START(load_paused)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    mov     esi, MODULE_INIT_PAUSED
    call    load_file
    mov     rdi, rax
    sar     rdi, 63
    and     rdi, rax
    neg     rdi
    mov     eax, __NR_exit_group_
    syscall
SYM_CODE_END(load_paused)

# modprobe_paused PATH [MEMBER..]: loads it paused, loads the patch modules, unpauses; exits with the errno.
SYM_CODE_START(modprobe_paused)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    mov     r14d, 2
    mov     rdi, [r15+16]
    mov     esi, MODULE_INIT_PAUSED
    call    load_file
    mov     r13, rax
    test    rax, rax
    js      .Lout
.Lnext:
    cmp     r14, [r15]
    jae     .Lunpause
    mov     rdi, [r15+r14*8+8]
    xor     esi, esi
    call    load_file
    test    rax, rax
    js      .Lout
    inc     r14
    jmp     .Lnext
.Lunpause:
    mov     rdi, r13
    mov     eax, __NR_module_unpause
    syscall
.Lout:
    mov     rdi, rax
    neg     rdi
    mov     eax, __NR_exit_group_
    syscall
SYM_CODE_END(modprobe_paused)
