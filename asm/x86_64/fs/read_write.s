# read(), write(), pread64(). Mirrors fs/read_write.c.
# A system call's function gets the caller's registers: rdi is a struct pt_regs.

.section .text

SYSCALL_DEFINE read, ksys_read, edi, rsi, rdx
SYSCALL_DEFINE write, ksys_write, edi, rsi, rdx
SYSCALL_DEFINE pread64, ksys_pread64, edi, rsi, rdx, rcx

# ksys_read() and ksys_write() but for the function of the file: edi fd, rsi buf, rdx count.
.macro AT_FILE_POSITION vfs_function
    FENTRY
    FRAME_BEGIN
    push    r14
    push    r13
    push    r12
    push    rbp_r15
    push    rbx
    sub     rsp, 8
    mov     r12, rsi
    mov     r13, rdx
    call    __fdget_pos
    mov     r14, rax
    mov     rbx, rax
    mov     rax, -EBADF
    and     rbx, -4
    je      .Lout
    # ppos: a copy of f_pos on the stack, or NULL for a stream
    xor     ebp_r15, ebp_r15
    test    dword ptr [rbx+file_f_mode], FMODE_STREAM
    jne     .Ltransfer
    mov     rax, [rbx+file_f_pos]
    mov     [rsp], rax
    mov     rbp_r15, rsp
.Ltransfer:
    mov     rcx, rbp_r15
    mov     rdx, r13
    mov     rsi, r12
    mov     rdi, rbx
    call    \vfs_function
    mov     r12, rax
    test    rax, rax
    js      .Lput
    test    rbp_r15, rbp_r15
    je      .Lput
    mov     rdx, [rsp]
    mov     [rbx+file_f_pos], rdx
.Lput:
    test    r14b, FDPUT_POS_UNLOCK
    je      .Lunlocked
    mov     rdi, rbx
    call    __f_unlock_pos
.Lunlocked:
    test    r14b, FDPUT_FPUT
    je      .Lresult
    mov     rdi, rbx
    call    fput
.Lresult:
    mov     rax, r12
.Lout:
    add     rsp, 8
    pop     rbx
    pop     rbp_r15
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    jmp     __x86_return_thunk
.endm

# ssize_t ksys_read(edi fd, rsi buf, rdx count)
SYM_FUNC_START(ksys_read)
    AT_FILE_POSITION vfs_read
SYM_FUNC_END(ksys_read)

# ssize_t ksys_write(edi fd, rsi buf, rdx count)
SYM_FUNC_START(ksys_write)
    AT_FILE_POSITION vfs_write
SYM_FUNC_END(ksys_write)

# ssize_t ksys_pread64(edi fd, rsi buf, rdx count, rcx pos)
SYM_FUNC_START(ksys_pread64)
    FENTRY
    FRAME_BEGIN
    test    rcx, rcx
    js      .Leinval
    push    r13
    push    r12
    push    rbp_r14
    push    rbx
    push    rcx
    mov     r12, rsi
    mov     r13, rdx
    call    __fdget
    mov     rbp_r14, rax
    mov     rbx, rax
    mov     rax, -EBADF
    and     rbx, -4
    je      .Lout
    mov     r8d, [rbx+file_f_mode]
    mov     rax, -ESPIPE
    test    r8d, FMODE_PREAD
    je      .Lput
    mov     rcx, rsp
    mov     rdx, r13
    mov     rsi, r12
    mov     rdi, rbx
    call    vfs_read
.Lput:
    test    bpl_r14, FDPUT_FPUT
    je      .Lout
    mov     r12, rax
    mov     rdi, rbx
    call    fput
    mov     rax, r12
.Lout:
    add     rsp, 8
    pop     rbx
    pop     rbp_r14
    pop     r12
    pop     r13
    FRAME_END
    jmp     __x86_return_thunk
.Leinval:
    mov     rax, -EINVAL
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(ksys_pread64)

# int rw_verify_area(edi read_write, rsi file, rdx ppos, rcx count)
SYM_FUNC_START(rw_verify_area)
    FENTRY
    test    rcx, rcx
    js      .Leinval
    test    rdx, rdx
    je      .Lgood
    mov     rax, [rdx]
    test    rax, rax
    js      .Leinval
    # A position that the count carries past the largest offset
    add     rax, rcx
    js      .Leoverflow
.Lgood:
    xor     eax, eax
    jmp     __x86_return_thunk
.Leoverflow:
    mov     eax, -EOVERFLOW
    jmp     __x86_return_thunk
.Leinval:
    mov     eax, -EINVAL
    jmp     __x86_return_thunk
SYM_FUNC_END(rw_verify_area)

# The kiocb and the iov_iter of a plain read or write, at rsp: rbx file, r12 buf, r13 count, rbp_r14 ppos.
.set rw_kiocb, 0
.set rw_iter, sizeof_kiocb
.set rw_frame, sizeof_kiocb + sizeof_iov_iter
.macro INIT_SYNC_KIOCB data_source
    xor     eax, eax
    lea     rdi, [rsp+rw_kiocb]
    mov     ecx, rw_frame / 8
    rep stosq
    mov     [rsp+rw_kiocb+kiocb_ki_filp], rbx
    mov     eax, [rbx+file_f_iocb_flags]
    mov     [rsp+rw_kiocb+kiocb_ki_flags], eax
    test    rbp_r14, rbp_r14
    je      .Lstream_\@
    mov     rax, [rbp_r14]
    mov     [rsp+rw_kiocb+kiocb_ki_pos], rax
.Lstream_\@:
    mov     byte ptr [rsp+rw_iter+iov_iter_iter_type], ITER_UBUF
    mov     byte ptr [rsp+rw_iter+iov_iter_data_source], \data_source
.ifdef iov_iter_user_backed
    mov     byte ptr [rsp+rw_iter+iov_iter_user_backed], 1
.endif
    mov     [rsp+rw_iter+iov_iter_count], r13
    mov     [rsp+rw_iter+iov_iter_ubuf], r12
.endm

# access_ok(): [reg, reg + count) lies in the user's half. Uses rax and rcx.
.macro ACCESS_OK addr, count, bad
    mov     rax, \addr
    add     rax, \count
    jc      \bad
    movabs  rcx, 0x7ffffffff000
    cmp     rax, rcx
    ja      \bad
.endm

# ssize_t vfs_read(rdi file, rsi buf, rdx count, rcx ppos), and vfs_write() with the same.
.macro VFS_RW op, name, source
SYM_FUNC_START(vfs_\op)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbp_r14
    push    rbx
    sub     rsp, rw_frame
    mov     rbx, rdi
    mov     r12, rsi
    mov     r13, rdx
    mov     rbp_r14, rcx
    mov     edx, [rdi+file_f_mode]
    mov     rax, -EBADF
    test    edx, FMODE_\name
    je      .Lout
    mov     rax, -EINVAL
    test    edx, FMODE_CAN_\name
    je      .Lout
    ACCESS_OK r12, r13, .Lefault
    mov     rcx, r13
    mov     rdx, rbp_r14
    mov     rsi, rbx
    mov     edi, \name
    call    rw_verify_area
    cdqe
    test    rax, rax
    jne     .Lout
    mov     eax, MAX_RW_COUNT
    cmp     r13, rax
    cmova   r13, rax
    mov     rdx, [rbx+file_f_op]
    mov     rax, [rdx+file_operations_\op]
    test    rax, rax
    je      .Liter
    mov     rcx, rbp_r14
    mov     rdx, r13
    mov     rsi, r12
    mov     rdi, rbx
    call    __x86_indirect_thunk_rax
    jmp     .Lout
.Liter:
    cmp     qword ptr [rdx+file_operations_\op\()_iter], 0
    mov     rax, -EINVAL
    je      .Lout
    INIT_SYNC_KIOCB \source
    mov     rax, [rbx+file_f_op]
    mov     rax, [rax+file_operations_\op\()_iter]
    lea     rsi, [rsp+rw_iter]
    lea     rdi, [rsp+rw_kiocb]
    call    __x86_indirect_thunk_rax
    test    rax, rax
    jle     .Lout
    test    rbp_r14, rbp_r14
    je      .Lout
    mov     rdx, [rsp+rw_kiocb+kiocb_ki_pos]
    mov     [rbp_r14], rdx
.Lout:
    add     rsp, rw_frame
    pop     rbx
    pop     rbp_r14
    pop     r12
    pop     r13
    FRAME_END
    jmp     __x86_return_thunk
.Lefault:
    mov     rax, -EFAULT
    jmp     .Lout
SYM_FUNC_END(vfs_\op)
.endm
VFS_RW read, READ, 0
VFS_RW write, WRITE, 1
