# open(), openat(), close(). Mirrors fs/open.c and the end of fs/namei.c; the walk along the path is a
# host function.

.section .text

SYM_FUNC_START(__x64_sys_open)
    FENTRY
    movzx   ecx, word ptr [rdi+pt_regs_dx]
    mov     edx, [rdi+pt_regs_si]
    mov     rsi, [rdi+pt_regs_di]
    mov     edi, AT_FDCWD
    TAIL_CALL do_sys_open
SYM_FUNC_END(__x64_sys_open)

SYM_FUNC_START(__x64_sys_openat)
    FENTRY
    movzx   ecx, word ptr [rdi+pt_regs_r10]
    mov     edx, [rdi+pt_regs_dx]
    mov     rsi, [rdi+pt_regs_si]
    mov     edi, [rdi+pt_regs_di]
    TAIL_CALL do_sys_open
SYM_FUNC_END(__x64_sys_openat)

# long do_sys_open(edi dfd, rsi filename, edx flags, ecx mode)
SYM_FUNC_START(do_sys_open)
    FENTRY
    FRAME_BEGIN
    sub     rsp, sizeof_open_how
    mov     [rsp+open_how_flags], rdx
    mov     [rsp+open_how_mode], rcx
    mov     qword ptr [rsp+open_how_resolve], 0
    mov     rdx, rsp
    call    do_sys_openat2
    add     rsp, sizeof_open_how
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(do_sys_open)

# long do_sys_openat2(edi dfd, rsi filename, rdx how): the descriptor
SYM_FUNC_START_LOCAL(do_sys_openat2)
    FENTRY
    FRAME_BEGIN
    push    r14
    push    r13
    push    r12
    push    rbp_r15
    push    rbx
    mov     r12d, edi
    mov     r13, rdx
    mov     rdi, rsi
    call    getname
    mov     rbx, rax
    cmp     rax, -4095
    jae     .Lout
    mov     edi, [r13+open_how_flags]
    call    get_unused_fd_flags
    movsxd  rbp_r15, eax
    test    eax, eax
    js      .Lputname
    mov     rdx, r13
    mov     rsi, rbx
    mov     edi, r12d
    call    do_filp_open
    mov     r14, rax
    cmp     rax, -4095
    jb      .Linstall
    mov     edi, ebp_r15
    call    put_unused_fd
    mov     rbp_r15, r14
    jmp     .Lputname
.Linstall:
    mov     rsi, r14
    mov     edi, ebp_r15
    call    fd_install
.Lputname:
    mov     rdi, rbx
    call    putname
    mov     rax, rbp_r15
.Lout:
    pop     rbx
    pop     rbp_r15
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(do_sys_openat2)

# struct file *do_filp_open(edi dfd, rsi name, rdx how): an open file, or an error pointer
SYM_FUNC_START(do_filp_open)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    call    path_openat
    mov     rbx, rax
    cmp     rax, -4095
    jae     .Lout
    mov     rdi, rax
    call    do_dentry_open
    test    eax, eax
    je      .Lout
    movsxd  rbp_r12, eax
    mov     rdi, rbx
    call    fput
    mov     rbx, rbp_r12
.Lout:
    mov     rax, rbx
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(do_filp_open)

# int do_dentry_open(rdi file): the file's own open, then what it can do
SYM_FUNC_START_LOCAL(do_dentry_open)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    mov     rax, [rdi+file_f_op]
    mov     rax, [rax+file_operations_open]
    test    rax, rax
    je      .Lopened
    mov     rsi, rdi
    mov     rdi, [rdi+file_f_inode]
    call    __x86_indirect_thunk_rax
    test    eax, eax
    jne     .Lout
.Lopened:
    mov     rdx, [rbx+file_f_op]
    mov     eax, [rbx+file_f_mode]
    or      eax, FMODE_OPENED
    mov     rcx, [rdx+file_operations_read]
    or      rcx, [rdx+file_operations_read_iter]
    je      .Lwrite
    test    eax, FMODE_READ
    je      .Lwrite
    or      eax, FMODE_CAN_READ
.Lwrite:
    mov     rcx, [rdx+file_operations_write]
    or      rcx, [rdx+file_operations_write_iter]
    je      .Lseek
    test    eax, FMODE_WRITE
    je      .Lseek
    or      eax, FMODE_CAN_WRITE
.Lseek:
    cmp     qword ptr [rdx+file_operations_llseek], 0
    jne     .Lmode
    and     eax, ~FMODE_LSEEK
.Lmode:
    mov     [rbx+file_f_mode], eax
    xor     eax, eax
.Lout:
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(do_dentry_open)

SYM_FUNC_START(__x64_sys_close)
    FENTRY
    FRAME_BEGIN
    mov     edi, [rdi+pt_regs_di]
    call    close_fd
    cdqe
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(__x64_sys_close)

# struct filename *getname(rdi user's string), void putname(rdi name)
HOST_FUNC getname
HOST_FUNC putname
# struct file *path_openat(edi dfd, rsi name, rdx how): a file that is not open yet
HOST_FUNC path_openat

# Regular files, all read-only bytes, and the terminal.
HOST_FUNC generic_file_read_iter
EXPORT_SYMBOL(generic_file_read_iter)
HOST_FUNC tty_read
HOST_FUNC tty_write

.section .rodata
FILE_OPERATIONS ramfs_file_operations, llseek=generic_file_llseek, read_iter=generic_file_read_iter, write_iter=generic_file_write_iter
FILE_OPERATIONS simple_dir_operations, llseek=generic_file_llseek, read=generic_read_dir
FILE_OPERATIONS tty_fops, llseek=no_llseek, read_iter=tty_read, write_iter=tty_write
