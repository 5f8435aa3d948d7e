# Reading files made of records. Mirrors fs/seq_file.c: all that can stand on a stack while a show function
# sleeps. Opening and the formats are in seq_format.s, read() in seq_read.s, what is small in seq_single.s.
#
# Invariant: count == size means that the buffer ran over, and the record is shown again in a larger one.

.section .text

# seq_operations of the seq_file in rbx: op(m, arg). Uses rax.
.macro CALL_SEQ_OP op
    mov     rax, [rbx+seq_file_op]
    mov     rax, [rax+seq_operations_\op]
    mov     rdi, rbx
    call    __x86_indirect_thunk_rax
.endm

# What does not fit is shown again in a buffer of twice the size: rbx seq_file, rsi what stop() gets. rax: the buffer, or 0.
.macro STOP_AND_GROW
    CALL_SEQ_OP stop
    mov     rdi, [rbx+seq_file_buf]
    call    kvfree
    mov     qword ptr [rbx+seq_file_count], 0
    mov     rdi, [rbx+seq_file_size]
    add     rdi, rdi
    mov     [rbx+seq_file_size], rdi
    call    seq_buf_alloc
    mov     [rbx+seq_file_buf], rax
    test    rax, rax
.endm

# ssize_t seq_read_iter(rdi iocb, rsi iter)
SYM_FUNC_START(seq_read_iter)
    FENTRY
    FRAME_BEGIN
    xor     eax, eax
    cmp     qword ptr [rsi+iov_iter_count], 0
    jne     .Lwork
    FRAME_END
    jmp     __x86_return_thunk
.Lwork:
    push    r15
    push    r14
    push    r13
    push    r12
    PUSH_RBP_WORD
    push    rbx
    sub     rsp, 0x10
    mov     r12, rdi
    mov     r13, rsi
    mov     rax, [rdi+kiocb_ki_filp]
    mov     rbx, [rax+file_private_data]
    # r14 copied, r15 error, rbp the record
    xor     r14d, r14d
    xor     r15d, r15d
    lea     rdi, [rbx+seq_file_lock]
    call    mutex_lock
    # From the start: the iterator may stand elsewhere after an earlier read.
    cmp     qword ptr [r12+kiocb_ki_pos], 0
    jne     .Lposition
    mov     qword ptr [rbx+seq_file_index], 0
    mov     qword ptr [rbx+seq_file_count], 0
.Lposition:
    mov     rsi, [r12+kiocb_ki_pos]
    cmp     rsi, [rbx+seq_file_read_pos]
    je      .Lbuffer
    mov     rdi, rbx
    call    traverse
    cmp     eax, -EAGAIN
    je      .Lposition
    movsxd  r15, eax
    test    eax, eax
    je      .Ltraversed
    mov     qword ptr [rbx+seq_file_read_pos], 0
    mov     qword ptr [rbx+seq_file_index], 0
    mov     qword ptr [rbx+seq_file_count], 0
    jmp     .Ldone
.Ltraversed:
    mov     rax, [r12+kiocb_ki_pos]
    mov     [rbx+seq_file_read_pos], rax
.Lbuffer:
    cmp     qword ptr [rbx+seq_file_buf], 0
    jne     .Lleftover
    mov     qword ptr [rbx+seq_file_size], PAGE_SIZE
    mov     edi, PAGE_SIZE
    call    seq_buf_alloc
    mov     [rbx+seq_file_buf], rax
    test    rax, rax
    je      .Lenomem
.Lleftover:
    # What is left in the buffer goes out first.
    mov     rsi, [rbx+seq_file_count]
    test    rsi, rsi
    je      .Lempty
    mov     rdi, [rbx+seq_file_buf]
    add     rdi, [rbx+seq_file_from]
    mov     rdx, r13
    call    _copy_to_iter
    add     r14, rax
    add     [rbx+seq_file_from], rax
    sub     [rbx+seq_file_count], rax
    jne     .Ldone
.Lempty:
    mov     qword ptr [rbx+seq_file_from], 0
.Lstart:
    lea     rsi, [rbx+seq_file_index]
    CALL_SEQ_OP start
.Lrecord:
    mov     rbp_word, rax
    movsxd  r15, ebp_word
    TEST_RBP_WORD
    je      .Lend
    cmp     rbp_word, -4095
    jae     .Lend
    mov     rsi, rbp_word
    CALL_SEQ_OP show
    movsxd  r15, eax
    test    eax, eax
    js      .Lend
    je      .Lshown
    # SEQ_SKIP
    mov     qword ptr [rbx+seq_file_count], 0
.Lshown:
    mov     rax, [rbx+seq_file_count]
    test    rax, rax
    je      .Lnext
    cmp     rax, [rbx+seq_file_size]
    jne     .Lfill
    # It does not fit: show it again in a buffer of twice the size.
    mov     rsi, rbp_word
    STOP_AND_GROW
    jne     .Lstart
.Lenomem:
    mov     r15, -ENOMEM
    jmp     .Ldone
.Lnext:
    lea     rdx, [rbx+seq_file_index]
    mov     rsi, rbp_word
    CALL_SEQ_OP next
    jmp     .Lrecord
.Lend:
    mov     rsi, rbp_word
    CALL_SEQ_OP stop
    mov     qword ptr [rbx+seq_file_count], 0
    jmp     .Ldone
.Lfill:
    # One record is there. Take more while they fit and are wanted.
    mov     rax, [rbx+seq_file_count]
    mov     [rsp], rax
    mov     rax, [rbx+seq_file_index]
    mov     [rsp+8], rax
    lea     rdx, [rbx+seq_file_index]
    mov     rsi, rbp_word
    CALL_SEQ_OP next
    mov     rbp_word, rax
    mov     rax, [rsp+8]
    cmp     rax, [rbx+seq_file_index]
    jne     .Lmoved
    mov     rax, [rbx+seq_file_op]
    mov     rsi, [rax+seq_operations_next]
    mov     rdi, offset seq_buggy_next
    xor     eax, eax
    call    _printk
    inc     qword ptr [rbx+seq_file_index]
.Lmoved:
    TEST_RBP_WORD
    je      .Lfull
    cmp     rbp_word, -4095
    jae     .Lfull
    mov     rax, [rbx+seq_file_count]
    cmp     rax, [r13+iov_iter_count]
    jae     .Lfull
    mov     rsi, rbp_word
    CALL_SEQ_OP show
    movsxd  r15, eax
    mov     rdx, [rsp]
    test    eax, eax
    js      .Lundo
    jne     .Lskip
    mov     rax, [rbx+seq_file_count]
    cmp     rax, [rbx+seq_file_size]
    jne     .Lfill
.Lundo:
    mov     [rbx+seq_file_count], rdx
    jmp     .Lfull
.Lskip:
    mov     [rbx+seq_file_count], rdx
    jmp     .Lfill
.Lfull:
    mov     rsi, rbp_word
    CALL_SEQ_OP stop
    mov     rdx, r13
    mov     rsi, [rbx+seq_file_count]
    mov     rdi, [rbx+seq_file_buf]
    call    _copy_to_iter
    add     r14, rax
    mov     [rbx+seq_file_from], rax
    sub     [rbx+seq_file_count], rax
.Ldone:
    test    r14, r14
    jne     .Ladvance
    mov     r14, r15
    cmp     qword ptr [rbx+seq_file_count], 0
    je      .Lunlock
    mov     r14, -EFAULT
    jmp     .Lunlock
.Ladvance:
    add     [r12+kiocb_ki_pos], r14
    add     [rbx+seq_file_read_pos], r14
.Lunlock:
    lea     rdi, [rbx+seq_file_lock]
    call    mutex_unlock
    mov     rax, r14
    add     rsp, 0x10
    pop     rbx
    POP_RBP_WORD
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(seq_read_iter)
EXPORT_SYMBOL(seq_read_iter)

# int traverse(rdi m, rsi offset): shows records up to an offset, -EAGAIN after making the buffer larger.
SYM_FUNC_START_LOCAL(traverse)
    FENTRY
    FRAME_BEGIN
    mov     qword ptr [rdi+seq_file_index], 0
    mov     qword ptr [rdi+seq_file_from], 0
    mov     qword ptr [rdi+seq_file_count], 0
    test    rsi, rsi
    jne     .Lwork
    xor     eax, eax
    FRAME_END
    jmp     __x86_return_thunk
.Lwork:
    push    r14
    push    r13
    push    r12
    push    rbp_r15
    push    rbx
    mov     rbx, rdi
    mov     r12, rsi
    xor     r13d, r13d
    xor     r14d, r14d
    cmp     qword ptr [rbx+seq_file_buf], 0
    jne     .Lstart
    mov     qword ptr [rbx+seq_file_size], PAGE_SIZE
    mov     edi, PAGE_SIZE
    call    seq_buf_alloc
    mov     [rbx+seq_file_buf], rax
    test    rax, rax
    mov     eax, -ENOMEM
    je      .Lout
.Lstart:
    lea     rsi, [rbx+seq_file_index]
    CALL_SEQ_OP start
    mov     rbp_r15, rax
.Lrecord:
    test    rbp_r15, rbp_r15
    je      .Lstop
    mov     r14d, ebp_r15
    cmp     rbp_r15, -4095
    jae     .Lstop
    mov     rsi, rbp_r15
    CALL_SEQ_OP show
    mov     r14d, eax
    test    eax, eax
    js      .Lstop
    je      .Lshown
    xor     r14d, r14d
    mov     qword ptr [rbx+seq_file_count], 0
.Lshown:
    mov     rax, [rbx+seq_file_count]
    cmp     rax, [rbx+seq_file_size]
    je      .Loverflow
    lea     rdx, [rbx+seq_file_index]
    mov     rsi, rbp_r15
    CALL_SEQ_OP next
    mov     rbp_r15, rax
    mov     rax, [rbx+seq_file_count]
    lea     rdx, [r13+rax]
    cmp     rdx, r12
    jg      .Lreached
    mov     r13, rdx
    mov     qword ptr [rbx+seq_file_count], 0
    cmp     rdx, r12
    jne     .Lrecord
    jmp     .Lstop
.Lreached:
    mov     rdx, r12
    sub     rdx, r13
    mov     [rbx+seq_file_from], rdx
    sub     [rbx+seq_file_count], rdx
.Lstop:
    mov     rsi, rbp_r15
    CALL_SEQ_OP stop
    mov     eax, r14d
.Lout:
    pop     rbx
    pop     rbp_r15
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    jmp     __x86_return_thunk
.Loverflow:
    mov     rsi, rbp_r15
    STOP_AND_GROW
    mov     eax, -ENOMEM
    je      .Lout
    mov     eax, -EAGAIN
    jmp     .Lout
SYM_FUNC_END(traverse)

# loff_t seq_lseek(rdi file, rsi offset, edx whence)
SYM_FUNC_START(seq_lseek)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbp_r14
    push    rbx
    mov     rbp_r14, rdi
    mov     r12, rsi
    mov     r13d, edx
    mov     rbx, [rdi+file_private_data]
    lea     rdi, [rbx+seq_file_lock]
    call    mutex_lock
    mov     rax, -EINVAL
    cmp     r13d, 1
    jb      .Lset
    jne     .Lunlock
    add     r12, [rbp_r14+file_f_pos]
.Lset:
    test    r12, r12
    js      .Lunlock
    cmp     r12, [rbx+seq_file_read_pos]
    je      .Lthere
.Ltraverse:
    mov     rsi, r12
    mov     rdi, rbx
    call    traverse
    cmp     eax, -EAGAIN
    je      .Ltraverse
    movsxd  rax, eax
    test    rax, rax
    jne     .Lfailed
    mov     [rbx+seq_file_read_pos], r12
.Lthere:
    mov     [rbp_r14+file_f_pos], r12
    mov     rax, r12
    jmp     .Lunlock
.Lfailed:
    mov     qword ptr [rbp_r14+file_f_pos], 0
    mov     qword ptr [rbx+seq_file_read_pos], 0
    mov     qword ptr [rbx+seq_file_index], 0
    mov     qword ptr [rbx+seq_file_count], 0
.Lunlock:
    mov     rbp_r14, rax
    lea     rdi, [rbx+seq_file_lock]
    call    mutex_unlock
    mov     rax, rbp_r14
    pop     rbx
    pop     rbp_r14
    pop     r12
    pop     r13
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(seq_lseek)
EXPORT_SYMBOL(seq_lseek)

# void *seq_buf_alloc(rdi size)
HOST_FUNC seq_buf_alloc

.section .rodata
SYM_DATA_START_LOCAL(seq_buggy_next)
    .byte   1
    .asciz  "6seq_file: buggy .next function %ps did not update position index\n"
SYM_DATA_END(seq_buggy_next)
