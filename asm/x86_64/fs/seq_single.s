# Files of one record, the end of a seq_file, and the small writers. Mirrors fs/seq_file.c.

.section .text

# seq_open() has failed, with eax: what it was to have, in rbx, goes first.
.macro FREE_AND_KEEP_EAX
    mov     r12d, eax
    mov     rdi, rbx
    call    kvfree
    mov     eax, r12d
.endm

# The end of a release, with a frame and rbx saved: frees what is in rbx, and returns 0.
.macro FREE_AND_RETURN
    mov     rdi, rbx
    call    kvfree
    xor     eax, eax
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
.endm

# The only record of a single_open() file.
SYM_FUNC_START_LOCAL(single_start)
    FENTRY
    xor     eax, eax
    cmp     qword ptr [rsi], 0
    sete    al
    jmp     __x86_return_thunk
SYM_FUNC_END(single_start)

SYM_FUNC_START_LOCAL(single_next)
    FENTRY
    inc     qword ptr [rdx]
    xor     eax, eax
    jmp     __x86_return_thunk
SYM_FUNC_END(single_next)

SYM_FUNC_START_LOCAL(single_stop)
    FENTRY
    jmp     __x86_return_thunk
SYM_FUNC_END(single_stop)

# int single_open(rdi file, rsi show, rdx data)
SYM_FUNC_START(single_open)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    push    rdx
    mov     rbp_r13, rdi
    mov     r12, rsi
    mov     edi, sizeof_seq_operations
    call    seq_buf_alloc
    mov     rbx, rax
    mov     eax, -ENOMEM
    test    rbx, rbx
    je      .Lout
    mov     qword ptr [rbx+seq_operations_start], offset single_start
    mov     qword ptr [rbx+seq_operations_next], offset single_next
    mov     qword ptr [rbx+seq_operations_stop], offset single_stop
    mov     [rbx+seq_operations_show], r12
    mov     rsi, rbx
    mov     rdi, rbp_r13
    call    seq_open
    test    eax, eax
    jne     .Lfailed
    mov     rdx, [rbp_r13+file_private_data]
    mov     rcx, [rsp]
    mov     [rdx+seq_file_private], rcx
    jmp     .Lout
.Lfailed:
    FREE_AND_KEEP_EAX
.Lout:
    pop     rdx
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(single_open)
EXPORT_SYMBOL(single_open)

# int single_open_size(rdi file, rsi show, rdx data, rcx size)
SYM_FUNC_START(single_open_size)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    push    rcx
    mov     rbp_r13, rdi
    mov     rbx, rsi
    mov     r12, rdx
    mov     rdi, rcx
    call    seq_buf_alloc
    test    rax, rax
    je      .Lenomem
    mov     rdx, r12
    mov     rsi, rbx
    mov     rbx, rax
    mov     rdi, rbp_r13
    call    single_open
    test    eax, eax
    jne     .Lfailed
    mov     rdx, [rbp_r13+file_private_data]
    mov     rcx, [rsp]
    mov     [rdx+seq_file_buf], rbx
    mov     [rdx+seq_file_size], rcx
    jmp     .Lout
.Lfailed:
    FREE_AND_KEEP_EAX
    jmp     .Lout
.Lenomem:
    mov     eax, -ENOMEM
.Lout:
    pop     rcx
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(single_open_size)
EXPORT_SYMBOL(single_open_size)

# int single_release(rdi inode, rsi file)
SYM_FUNC_START(single_release)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rax, [rsi+file_private_data]
    mov     rbx, [rax+seq_file_op]
    call    seq_release
    FREE_AND_RETURN
SYM_FUNC_END(single_release)
EXPORT_SYMBOL(single_release)

# int seq_release(rdi inode, rsi file)
SYM_FUNC_START(seq_release)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, [rsi+file_private_data]
    mov     rdi, [rbx+seq_file_buf]
    call    kvfree
    FREE_AND_RETURN
SYM_FUNC_END(seq_release)
EXPORT_SYMBOL(seq_release)

# int seq_release_private(rdi inode, rsi file)
SYM_FUNC_START(seq_release_private)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbp_r12, rsi
    mov     rbx, rdi
    mov     rax, [rsi+file_private_data]
    mov     rdi, [rax+seq_file_private]
    mov     qword ptr [rax+seq_file_private], 0
    call    kvfree
    mov     rsi, rbp_r12
    mov     rdi, rbx
    pop     rbx
    pop     rbp_r12
    FRAME_END
    TAIL_CALL seq_release
SYM_FUNC_END(seq_release_private)
EXPORT_SYMBOL(seq_release_private)

# void seq_puts(rdi m, rsi s)
SYM_FUNC_START(seq_puts)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbx, rdi
    mov     rbp_r12, rsi
    mov     rdi, rsi
    call    strlen
    movsxd  rdx, eax
    mov     rsi, rbp_r12
    mov     rdi, rbx
    pop     rbx
    pop     rbp_r12
    FRAME_END
    TAIL_CALL seq_write
SYM_FUNC_END(seq_puts)
EXPORT_SYMBOL(seq_puts)

# void seq_putc(rdi m, esi c)
SYM_FUNC_START(seq_putc)
    FENTRY
    mov     rax, [rdi+seq_file_count]
    cmp     rax, [rdi+seq_file_size]
    jae     .Lout
    mov     rdx, [rdi+seq_file_buf]
    mov     [rdx+rax], sil
    inc     rax
    mov     [rdi+seq_file_count], rax
.Lout:
    jmp     __x86_return_thunk
SYM_FUNC_END(seq_putc)
EXPORT_SYMBOL(seq_putc)

# int seq_write(rdi m, rsi data, rdx len): 0, or -1 when it ran over
SYM_FUNC_START(seq_write)
    FENTRY
    mov     rax, [rdi+seq_file_count]
    mov     rcx, [rdi+seq_file_size]
    lea     r8, [rax+rdx]
    cmp     r8, rcx
    jae     .Loverflow
    mov     [rdi+seq_file_count], r8
    mov     rdi, [rdi+seq_file_buf]
    add     rdi, rax
    mov     rcx, rdx
    rep movsb
    xor     eax, eax
    jmp     __x86_return_thunk
.Loverflow:
    mov     [rdi+seq_file_count], rcx
    mov     eax, -1
    jmp     __x86_return_thunk
SYM_FUNC_END(seq_write)
EXPORT_SYMBOL(seq_write)
