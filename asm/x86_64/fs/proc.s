# /proc: from a file to the functions of its entry. Mirrors fs/proc/inode.c, generic.c, base.c, proc_sysctl.c.
#
# Invariant: no function of an entry runs unless in_use was raised while it was not negative, or the entry is
# permanent. remove_proc_entry() makes it negative and waits for those inside.

.section .text

# int use_pde(): into the entry in rbx, or to \gone. Uses eax, ecx.
.macro USE_PDE gone
    ENTER_USERS [rbx+proc_dir_entry_in_use], \gone
.endm

# void unuse_pde(rdi pde): out of it; the last one tells who waits to remove it.
SYM_FUNC_START_LOCAL(unuse_pde)
    FENTRY
    LEAVE_USERS [rdi+proc_dir_entry_in_use], PDE_BIAS, [rdi+proc_dir_entry_pde_unload_completion]
SYM_FUNC_END(unuse_pde)

# ssize_t proc_reg_read_iter(rdi iocb, rsi iter)
SYM_FUNC_START_LOCAL(proc_reg_read_iter)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rax, [rdi+kiocb_ki_filp]
    mov     rax, [rax+file_f_inode]
    ENTRY_OF rax
    test    byte ptr [rbx+proc_dir_entry_flags], PROC_ENTRY_PERMANENT
    je      .Luse
    mov     rax, [rbx+proc_dir_entry_proc_ops]
    mov     rax, [rax+proc_ops_proc_read_iter]
    pop     rbx
    pop     rbp_r12
    FRAME_END
    # A permanent entry needs no bookkeeping after: a tail call through the thunk.
    TAIL_CALL __x86_indirect_thunk_rax
.Luse:
    USE_PDE .Leio
    mov     rax, [rbx+proc_dir_entry_proc_ops]
    mov     rax, [rax+proc_ops_proc_read_iter]
    call    __x86_indirect_thunk_rax
    mov     rbp_r12, rax
    mov     rdi, rbx
    call    unuse_pde
    mov     rax, rbp_r12
.Lout:
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
.Leio:
    mov     rax, -EIO
    jmp     .Lout
SYM_FUNC_END(proc_reg_read_iter)

# The same for functions that get the file in rdi and 4 arguments at most.
.macro PROC_REG name, op, missing
SYM_FUNC_START_LOCAL(\name)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    push    r8
    mov     r8, rcx
    mov     rax, [rdi+file_f_inode]
    ENTRY_OF rax
    test    byte ptr [rbx+proc_dir_entry_flags], PROC_ENTRY_PERMANENT
    jne     .Lpermanent
    USE_PDE .Lgone
    mov     rcx, r8
    mov     rax, [rbx+proc_dir_entry_proc_ops]
    mov     rax, [rax+proc_ops_\op]
    mov     rbp_r12, \missing
    test    rax, rax
    je      .Lunuse
    call    __x86_indirect_thunk_rax
    mov     rbp_r12, rax
.Lunuse:
    mov     rdi, rbx
    call    unuse_pde
    mov     rax, rbp_r12
    jmp     .Lout
.Lpermanent:
    mov     rcx, r8
    mov     rax, [rbx+proc_dir_entry_proc_ops]
    mov     rax, [rax+proc_ops_\op]
    test    rax, rax
    je      .Lgone
    call    __x86_indirect_thunk_rax
    jmp     .Lout
.Lgone:
    mov     rax, \missing
.Lout:
    pop     r8
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(\name)
.endm

PROC_REG proc_reg_read, proc_read, -EIO
PROC_REG proc_reg_write, proc_write, -EIO
PROC_REG proc_reg_llseek, proc_lseek, -EINVAL

# Opening keeps a list of who must be released before the entry's module can go.
HOST_FUNC proc_reg_open
HOST_FUNC proc_reg_release

# int proc_single_open(rdi inode, rsi file): of proc_create_single_data()
SYM_FUNC_START_LOCAL(proc_single_open)
    FENTRY
    mov     rax, [rdi+proc_inode_pde-proc_inode_vfs_inode]
    mov     rdx, [rax+proc_dir_entry_data]
    mov     rax, [rax+proc_dir_entry_single_show]
    mov     rdi, rsi
    mov     rsi, rax
    TAIL_CALL single_open
SYM_FUNC_END(proc_single_open)

# int proc_seq_open(rdi inode, rsi file), proc_seq_release(): of proc_create_seq_private()
SYM_FUNC_START_LOCAL(proc_seq_open)
    FENTRY
    mov     rax, [rdi+proc_inode_pde-proc_inode_vfs_inode]
    mov     edx, [rax+proc_dir_entry_state_size]
    mov     rdi, rsi
    mov     rsi, [rax+proc_dir_entry_seq_ops]
    test    edx, edx
    TAIL_CALL_IF e, seq_open
    TAIL_CALL seq_open_private
SYM_FUNC_END(proc_seq_open)

SYM_FUNC_START_LOCAL(proc_seq_release)
    FENTRY
    mov     rax, [rdi+proc_inode_pde-proc_inode_vfs_inode]
    cmp     dword ptr [rax+proc_dir_entry_state_size], 0
    TAIL_CALL_IF e, seq_release
    TAIL_CALL seq_release_private
SYM_FUNC_END(proc_seq_release)

# void *pde_data(rdi inode)
SYM_FUNC_START(pde_data)
    FENTRY
    mov     rax, [rdi+proc_inode_pde-proc_inode_vfs_inode]
    mov     rax, [rax+proc_dir_entry_data]
    jmp     __x86_return_thunk
SYM_FUNC_END(pde_data)
EXPORT_SYMBOL(pde_data)

# /proc/PID: int proc_single_show(rdi m, rsi v), which calls show(m, ns, pid, task) of the inode.
SYM_FUNC_START_LOCAL(proc_single_show)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     rbp_r13, rdi
    mov     rbx, [rdi+seq_file_private]
    mov     r12, [rbx+proc_inode_pid-proc_inode_vfs_inode]
    mov     rdi, r12
    call    get_pid_task
    mov     rcx, rax
    test    rax, rax
    je      .Lesrch
    mov     rax, [rbx+proc_inode_op-proc_inode_vfs_inode]
    mov     rdx, r12
    xor     esi, esi
    mov     rdi, rbp_r13
    call    __x86_indirect_thunk_rax
.Lout:
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
.Lesrch:
    mov     eax, -ESRCH
    jmp     .Lout
SYM_FUNC_END(proc_single_show)

# int proc_pid_single_open(rdi inode, rsi file): proc_single_open() of base.c
SYM_FUNC_START_LOCAL(proc_pid_single_open)
    FENTRY
    mov     rdx, rdi
    mov     rdi, rsi
    mov     rsi, offset proc_single_show
    TAIL_CALL single_open
SYM_FUNC_END(proc_pid_single_open)

# struct task_struct *get_pid_task(rdi pid): here the number is its own struct pid.
HOST_FUNC get_pid_task
HOST_FUNC proc_pid_stack
HOST_FUNC proc_pid_patch_state
HOST_FUNC proc_pid_status
HOST_FUNC proc_tgid_stat
HOST_FUNC proc_pid_wchan
HOST_FUNC comm_show

# /proc/sys: ssize_t proc_sys_read(rdi iocb, rsi iter), proc_sys_write()
SYM_FUNC_START_LOCAL(proc_sys_read)
    FENTRY
    xor     edx, edx
    TAIL_CALL proc_sys_call_handler
SYM_FUNC_END(proc_sys_read)

SYM_FUNC_START_LOCAL(proc_sys_write)
    FENTRY
    mov     edx, 1
    TAIL_CALL proc_sys_call_handler
SYM_FUNC_END(proc_sys_write)
HOST_FUNC proc_sys_call_handler

# The tree of entries.
HOST_FUNC proc_create
EXPORT_SYMBOL(proc_create)
HOST_FUNC proc_create_data
EXPORT_SYMBOL(proc_create_data)
HOST_FUNC proc_create_single_data
EXPORT_SYMBOL(proc_create_single_data)
HOST_FUNC proc_create_seq_private
EXPORT_SYMBOL(proc_create_seq_private)
HOST_FUNC proc_mkdir
EXPORT_SYMBOL(proc_mkdir)
HOST_FUNC proc_symlink
EXPORT_SYMBOL(proc_symlink)
HOST_FUNC proc_create_mount_point
HOST_FUNC proc_mkdir_mode
EXPORT_SYMBOL(proc_mkdir_mode)
HOST_FUNC proc_mkdir_data
EXPORT_SYMBOL_GPL(proc_mkdir_data)
HOST_FUNC _proc_mkdir
EXPORT_SYMBOL_GPL(_proc_mkdir)
HOST_FUNC remove_proc_entry
EXPORT_SYMBOL(remove_proc_entry)
HOST_FUNC remove_proc_subtree
EXPORT_SYMBOL(remove_proc_subtree)
HOST_FUNC proc_remove
EXPORT_SYMBOL(proc_remove)
HOST_FUNC proc_set_size
EXPORT_SYMBOL(proc_set_size)
HOST_FUNC proc_set_user
EXPORT_SYMBOL(proc_set_user)

.section .rodata
FILE_OPERATIONS proc_iter_file_ops, llseek=proc_reg_llseek, write=proc_reg_write, read_iter=proc_reg_read_iter, open=proc_reg_open, release=proc_reg_release
FILE_OPERATIONS proc_reg_file_ops, llseek=proc_reg_llseek, read=proc_reg_read, write=proc_reg_write, open=proc_reg_open, release=proc_reg_release
FILE_OPERATIONS proc_single_file_operations, llseek=seq_lseek, read=seq_read, open=proc_pid_single_open, release=single_release
FILE_OPERATIONS proc_sys_file_operations, llseek=generic_file_llseek, read_iter=proc_sys_read, write_iter=proc_sys_write

PROC_OPS proc_single_ops, open=proc_single_open, read_iter=seq_read_iter, lseek=seq_lseek, release=single_release
# Permanent, and read by the seq_read() of old: /proc/modules, /proc/kallsyms.
PROC_OPS modules_proc_ops, flags=PROC_ENTRY_PERMANENT, open=proc_single_open, read=seq_read, lseek=seq_lseek, release=single_release
PROC_OPS kallsyms_proc_ops, open=proc_single_open, read=seq_read, lseek=seq_lseek, release=single_release
PROC_OPS proc_seq_ops, open=proc_seq_open, read_iter=seq_read_iter, lseek=seq_lseek, release=proc_seq_release
