# From a descriptor to its file, and the end of a file. Mirrors fs/file.c and fs/file_table.c.
# The table of descriptors is guest memory, struct files_struct; src/fs/fdtable.ts makes and copies it.
#
# Unlike the kernel, a last fput() releases the file at once and not in task work.

.section .text

# How many use a file: f_count, or from 6.13 on f_ref, which is one less.
.macro FILE_GET file
.ifdef file_f_count
    lock inc     qword ptr [\file+file_f_count]
.else
    lock inc     qword ptr [\file+file_f_ref]
.endif
.endm
.macro FILE_USED_ONCE file, once
.ifdef file_f_count
    cmp     qword ptr [\file+file_f_count], 1
    jbe     \once
.else
    cmp     qword ptr [\file+file_f_ref], 0
    jle     \once
.endif
.endm

# The file of edi, a descriptor, in \file; to \none where there is none. The table is in rcx then, struct fdtable in
# \fdt, the files in \slots and the descriptor in r\index. Uses rax.
.macro FILE_OF_FD index, fdt, slots, file, none
    mov     rax, gs:[current_task]
    mov     rcx, [rax+task_struct_files]
    test    rcx, rcx
    je      \none
    mov     \fdt, [rcx+files_struct_fdt]
    mov     e\index, edi
    cmp     e\index, [\fdt+fdtable_max_fds]
    jae     \none
    mov     \slots, [\fdt+fdtable_fd]
    mov     \file, [\slots+r\index*8]
    test    \file, \file
    je      \none
.endm

# unsigned long __fdget(edi fd): the file, with FDPUT_FPUT when it holds a reference; or 0.
SYM_FUNC_START(__fdget)
    FENTRY
    FILE_OF_FD di, rdx, rdx, rax, .Lnone
    # A table of one task only needs no reference: nobody else can close the file meanwhile.
    cmp     dword ptr [rcx+files_struct_count], 1
    je      .Lend
    FILE_GET rax
    or      rax, FDPUT_FPUT
    jmp     __x86_return_thunk
.Lnone:
    xor     eax, eax
.Lend:
    jmp     __x86_return_thunk
SYM_FUNC_END(__fdget)

# unsigned long __fdget_pos(edi fd): as __fdget(), with FDPUT_POS_UNLOCK when it took f_pos_lock.
SYM_FUNC_START(__fdget_pos)
    FENTRY
    FRAME_BEGIN
    push    rbx
    call    __fdget
    mov     rbx, rax
    mov     rdi, rax
    and     rdi, -4
    je      .Lend
    test    dword ptr [rdi+file_f_mode], FMODE_ATOMIC_POS
    je      .Lend
    FILE_USED_ONCE rdi, .Lend
    or      rbx, FDPUT_POS_UNLOCK
    add     rdi, file_f_pos_lock
    call    mutex_lock
.Lend:
    mov     rax, rbx
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(__fdget_pos)

SYM_FUNC_START(__f_unlock_pos)
    FENTRY
    add     rdi, file_f_pos_lock
    TAIL_CALL mutex_unlock
SYM_FUNC_END(__f_unlock_pos)

# int get_unused_fd_flags(edi flags): the lowest free descriptor, taken; -EMFILE.
SYM_FUNC_START(get_unused_fd_flags)
    FENTRY
    mov     rax, gs:[current_task]
    mov     rcx, [rax+task_struct_files]
    mov     eax, -EMFILE
    test    rcx, rcx
    je      .Lend
    mov     rdx, [rcx+files_struct_fdt]
    mov     rcx, [rdx+fdtable_open_fds]
    mov     r8, [rcx]
    not     r8
    bsf     rax, r8
    je      .Lfull
    bts     qword ptr [rcx], rax
.Lend:
    jmp     __x86_return_thunk
.Lfull:
    mov     eax, -EMFILE
    jmp     __x86_return_thunk
SYM_FUNC_END(get_unused_fd_flags)
EXPORT_SYMBOL(get_unused_fd_flags)

# void put_unused_fd(edi fd)
SYM_FUNC_START(put_unused_fd)
    FENTRY
    mov     rax, gs:[current_task]
    mov     rcx, [rax+task_struct_files]
    mov     rdx, [rcx+files_struct_fdt]
    mov     rcx, [rdx+fdtable_open_fds]
    mov     eax, edi
    btr     qword ptr [rcx], rax
    jmp     __x86_return_thunk
SYM_FUNC_END(put_unused_fd)
EXPORT_SYMBOL(put_unused_fd)

# void fd_install(edi fd, rsi file)
SYM_FUNC_START(fd_install)
    FENTRY
    mov     rax, gs:[current_task]
    mov     rcx, [rax+task_struct_files]
    mov     rdx, [rcx+files_struct_fdt]
    mov     rdx, [rdx+fdtable_fd]
    mov     edi, edi
    mov     [rdx+rdi*8], rsi
    jmp     __x86_return_thunk
SYM_FUNC_END(fd_install)
EXPORT_SYMBOL(fd_install)

# int close_fd(edi fd)
SYM_FUNC_START(close_fd)
    FENTRY
    FILE_OF_FD ax, rdx, rsi, rdi, .Lebadf
    mov     qword ptr [rsi+rax*8], 0
    mov     rdx, [rdx+fdtable_open_fds]
    btr     qword ptr [rdx], rax
    TAIL_CALL filp_close
.Lebadf:
    mov     eax, -EBADF
    jmp     __x86_return_thunk
SYM_FUNC_END(close_fd)
EXPORT_SYMBOL(close_fd)

# int filp_close(rdi file): no flush here, all our files are synthetic.
SYM_FUNC_START(filp_close)
    FENTRY
    FRAME_BEGIN
    call    fput
    xor     eax, eax
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(filp_close)
EXPORT_SYMBOL(filp_close)

# void fput(rdi file)
SYM_FUNC_START(fput)
    FENTRY
.ifdef file_f_count
    lock dec     qword ptr [rdi+file_f_count]
    TAIL_CALL_IF e, __fput
.else
    lock dec     qword ptr [rdi+file_f_ref]
    TAIL_CALL_IF s, __fput
.endif
    jmp     __x86_return_thunk
SYM_FUNC_END(fput)
EXPORT_SYMBOL(fput)

# void __fput(rdi file)
SYM_FUNC_START(__fput)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    test    dword ptr [rbx+file_f_mode], FMODE_OPENED
    je      .Lfree
    mov     rax, [rbx+file_f_op]
    mov     rax, [rax+file_operations_release]
    test    rax, rax
    je      .Lfree
    mov     rsi, rbx
    mov     rdi, [rbx+file_f_inode]
    call    __x86_indirect_thunk_rax
.Lfree:
    mov     rdi, rbx
    call    file_free
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(__fput)

# void file_free(rdi file): the file and, with its last file, the inode.
HOST_FUNC file_free
# void exit_files(rdi task): closes what the task has open, when no other task shares the table.
HOST_FUNC exit_files
