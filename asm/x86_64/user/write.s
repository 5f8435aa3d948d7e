# write PATH FLAGS: copies standard input to a file opened with these flags, a page a write, as a shell's
# redirection does. Exits with the errno where the open fails, with 128 + errno where a write does.

.set PAGE, 0x1000

.section .user.text

SYM_CODE_START(write)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    mov     rdi, [r15+24]
    call    atoi
    mov     esi, eax
    mov     rdi, [r15+16]
    mov     edx, 0x1a4                  # 0644
    mov     eax, __NR_open
    syscall
    test    rax, rax
    js      .Lfailed
    mov     rbx, rax
    sub     rsp, PAGE
.Lread:
    xor     edi, edi
    mov     rsi, rsp
    mov     edx, PAGE
    mov     eax, __NR_read
    syscall
    test    rax, rax
    jle     .Lfailed
    mov     rbp, rax
    mov     r14, rsp
.Lwrite:
    mov     rdi, rbx
    mov     rsi, r14
    mov     rdx, rbp
    mov     eax, __NR_write
    syscall
    test    rax, rax
    js      .Lwrite_failed
    add     r14, rax
    sub     rbp, rax
    jg      .Lwrite
    jmp     .Lread
.Lwrite_failed:
    neg     rax
    lea     rdi, [rax+0x80]
    mov     eax, __NR_exit_group
    syscall
.Lfailed:
    EXIT_WITH_ERRNO
SYM_CODE_END(write)

# fork_reader PATH MS [ROUNDS]: forks a child that reads PATH as reader does, once, and exits; waits for it, and sleeps MS
# milliseconds.
SYM_CODE_START(fork_reader)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    MS_AND_ROUNDS
.Lloop:
    mov     eax, __NR_fork
    syscall
    test    rax, rax
    jz      .Lchild
    mov     rdi, rax
    xor     esi, esi
    xor     edx, edx
    xor     r10d, r10d
    mov     eax, __NR_wait4
    syscall
    mov     rdi, r14
    call    sleep_ms
    dec     r13
    jnz     .Lloop
    xor     edi, edi
    mov     eax, __NR_exit_group
    syscall
.Lchild:
    mov     rdi, [r15+16]
    call    copy_to_stdout
    xor     edi, edi
    mov     eax, __NR_exit_group
    syscall
SYM_CODE_END(fork_reader)
