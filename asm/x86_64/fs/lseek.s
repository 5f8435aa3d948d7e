# lseek(), and what files do of it. Mirrors the first half of fs/read_write.c.

.section .text

SYSCALL_DEFINE lseek, ksys_lseek, edi, rsi, edx

# off_t ksys_lseek(edi fd, rsi offset, edx whence)
SYM_FUNC_START(ksys_lseek)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbp_r14
    push    rbx
    mov     r12, rsi
    mov     r13d, edx
    call    __fdget_pos
    mov     rbp_r14, rax
    mov     rbx, rax
    mov     rax, -EBADF
    and     rbx, -4
    je      .Lout
    mov     edx, r13d
    mov     rsi, r12
    mov     rdi, rbx
    call    vfs_llseek
    mov     r12, rax
    test    bpl_r14, FDPUT_POS_UNLOCK
    je      .Lunlocked
    mov     rdi, rbx
    call    __f_unlock_pos
.Lunlocked:
    test    bpl_r14, FDPUT_FPUT
    je      .Lresult
    mov     rdi, rbx
    call    fput
.Lresult:
    mov     rax, r12
.Lout:
    pop     rbx
    pop     rbp_r14
    pop     r12
    pop     r13
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(ksys_lseek)

# loff_t vfs_llseek(rdi file, rsi offset, edx whence): a tail call of the file's own
SYM_FUNC_START(vfs_llseek)
    FENTRY
    test    dword ptr [rdi+file_f_mode], FMODE_LSEEK
    je      .Lespipe
    mov     rax, [rdi+file_f_op]
    mov     rax, [rax+file_operations_llseek]
    test    rax, rax
    je      .Lespipe
    cmp     edx, 4
    ja      .Leinval
    TAIL_CALL __x86_indirect_thunk_rax
.Lespipe:
    mov     rax, -ESPIPE
    jmp     __x86_return_thunk
.Leinval:
    mov     rax, -EINVAL
    jmp     __x86_return_thunk
SYM_FUNC_END(vfs_llseek)
EXPORT_SYMBOL(vfs_llseek)

# loff_t no_llseek(...)
SYM_FUNC_START(no_llseek)
    FENTRY
    mov     rax, -ESPIPE
    jmp     __x86_return_thunk
SYM_FUNC_END(no_llseek)
EXPORT_SYMBOL(no_llseek)

# loff_t generic_file_llseek(rdi file, rsi offset, edx whence): a file of i_size bytes
SYM_FUNC_START(generic_file_llseek)
    FENTRY
    mov     rcx, [rdi+file_f_inode]
    cmp     edx, 1
    jb      .Lset
    mov     rax, [rdi+file_f_pos]
    je      .Ladd
    cmp     edx, 2
    jne     .Leinval
    mov     rax, [rcx+inode_i_size]
.Ladd:
    add     rsi, rax
.Lset:
    test    rsi, rsi
    js      .Leinval
    mov     [rdi+file_f_pos], rsi
    mov     rax, rsi
    jmp     __x86_return_thunk
.Leinval:
    mov     rax, -EINVAL
    jmp     __x86_return_thunk
SYM_FUNC_END(generic_file_llseek)
EXPORT_SYMBOL(generic_file_llseek)

# ssize_t generic_read_dir(...)
SYM_FUNC_START(generic_read_dir)
    FENTRY
    mov     rax, -EISDIR
    jmp     __x86_return_thunk
SYM_FUNC_END(generic_read_dir)
EXPORT_SYMBOL(generic_read_dir)
