# Programs that read files as tools of a shell do.

.set HEAD_BUFFER, 0x2000                # BUFSIZ

.section .user.text

# head PATH LINES: writes all that it reads until it has had LINES lines, and goes back to behind the last of them. Exits with the
# errno where opening or reading fails, with 128 + errno where going back does.
SYM_CODE_START(head)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    mov     rdi, [r15+24]
    call    atoi
    mov     r12, rax
    OPEN_FIRST_ARGUMENT
    js      .Lfailed
    mov     rbx, rax
    sub     rsp, HEAD_BUFFER
    xor     eax, eax
    test    r12, r12
    jz      .Lfailed
.Lread:
    mov     rdi, rbx
    mov     rsi, rsp
    mov     edx, HEAD_BUFFER
    SYS __NR_read
    test    rax, rax
    jle     .Lfailed
    mov     r13, rax
    mov     edi, 1
    mov     rsi, rsp
    mov     rdx, r13
    SYS __NR_write
    xor     ecx, ecx
.Lcount:
    cmp     byte ptr [rsp+rcx], 0xa
    jne     .Lnext
    dec     r12
    jz      .Lback
.Lnext:
    inc     rcx
    cmp     rcx, r13
    jb      .Lcount
    jmp     .Lread
.Lback:
    lea     rsi, [rcx+1]
    sub     rsi, r13
    mov     rdi, rbx
    mov     edx, 1                      # SEEK_CUR
    SYS __NR_lseek
    test    rax, rax
    jns     .Ldone
    neg     rax
    lea     rdi, [rax+0x80]
    SYS __NR_exit_group
.Ldone:
    xor     eax, eax
.Lfailed:
    EXIT_WITH_ERRNO
SYM_CODE_END(head)

# copy PATH TO: to a file, made or cut, until the end; exits with the errno where that fails.
SYM_CODE_START(copy)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    OPEN_FIRST_ARGUMENT
    js      .Lfailed
    mov     rbx, rax
    mov     rdi, [r15+24]
    mov     esi, 0x241                  # O_WRONLY | O_CREAT | O_TRUNC
    mov     edx, 0x1a4                  # 0644
    SYS __NR_open
    test    rax, rax
    js      .Lfailed
    mov     r12, rax
    sub     rsp, HEAD_BUFFER
.Lread:
    mov     rdi, rbx
    mov     rsi, rsp
    mov     edx, HEAD_BUFFER
    SYS __NR_read
    test    rax, rax
    jle     .Lfailed
    mov     rdi, r12
    mov     rsi, rsp
    mov     rdx, rax
    SYS __NR_write
    test    rax, rax
    jns     .Lread
.Lfailed:
    EXIT_WITH_ERRNO
SYM_CODE_END(copy)
