# /sys/kernel/debug: from a file to the functions that its module gave it. Mirrors fs/debugfs/file.c and
# fs/libfs.c. Files that show a variable have their text from src/fs/debugfs_create.ts.
#
# Invariant: no function of a file but release runs unless active_users was raised while it was not negative.
# debugfs_remove() makes it negative and waits for those inside. A file that is open keeps its module.

# src/fs/debugfs_create.ts writes struct debugfs_fsdata; an inode has it in the place of the entry of /proc.

.section .text

# debugfs_file_get(): into the file in rbx, or to \gone. Uses eax, ecx.
.macro FILE_GET gone
    ENTER_USERS [rbx+debugfs_fsdata_active_users], \gone
.endm

# void debugfs_file_put(rdi fsdata): the last one tells who waits to remove it
SYM_FUNC_START_LOCAL(debugfs_file_put)
    FENTRY
    LEAVE_USERS [rdi+debugfs_fsdata_active_users], DEBUGFS_REMOVED, [rdi+debugfs_fsdata_drained]
SYM_FUNC_END(debugfs_file_put)

# int full_proxy_open(rdi inode, rsi file)
SYM_FUNC_START_LOCAL(full_proxy_open)
    FENTRY
    FRAME_BEGIN
    push    r14
    push    r13
    push    r12
    push    rbx
    mov     r12, rdi
    mov     r13, rsi
    ENTRY_OF rdi
    mov     r14d, -ENOENT
    FILE_GET .Lout
    mov     rax, [rbx+debugfs_fsdata_real_fops]
    mov     rdi, [rax+file_operations_owner]
    test    rdi, rdi
    je      .Lowned
    call    try_module_get
    mov     r14d, -ENXIO
    test    eax, eax
    je      .Lput
.Lowned:
    xor     r14d, r14d
    mov     rax, [rbx+debugfs_fsdata_real_fops]
    mov     rax, [rax+file_operations_open]
    test    rax, rax
    je      .Lput
    mov     rsi, r13
    mov     rdi, r12
    call    __x86_indirect_thunk_rax
    mov     r14d, eax
    test    eax, eax
    je      .Lput
    mov     rdi, rbx
    call    full_proxy_module_put
.Lput:
    mov     rdi, rbx
    call    debugfs_file_put
.Lout:
    mov     eax, r14d
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(full_proxy_open)

# fops_put() of an fsdata's functions
SYM_FUNC_START_LOCAL(full_proxy_module_put)
    FENTRY
    mov     rax, [rdi+debugfs_fsdata_real_fops]
    mov     rdi, [rax+file_operations_owner]
    test    rdi, rdi
    je      .Lout
    TAIL_CALL module_put
.Lout:
    jmp     __x86_return_thunk
SYM_FUNC_END(full_proxy_module_put)

# int full_proxy_release(rdi inode, rsi file): also after the removal
SYM_FUNC_START_LOCAL(full_proxy_release)
    FENTRY
    FRAME_BEGIN
    push    rbx
    ENTRY_OF rdi
    mov     rax, [rbx+debugfs_fsdata_real_fops]
    mov     rax, [rax+file_operations_release]
    test    rax, rax
    je      .Lput
    call    __x86_indirect_thunk_rax
.Lput:
    mov     rdi, rbx
    call    full_proxy_module_put
    xor     eax, eax
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(full_proxy_release)

# Functions of a file in rdi with 4 arguments at most. -EIO once it was removed.
.macro FULL_PROXY name, op, missing
SYM_FUNC_START_LOCAL(\name)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbx
    mov     r8, rcx
    mov     rax, [rdi+file_f_inode]
    ENTRY_OF rax
    FILE_GET .Lgone
    mov     rcx, r8
    mov     rax, [rbx+debugfs_fsdata_real_fops]
    mov     rax, [rax+file_operations_\op]
    mov     r12, \missing
    test    rax, rax
    je      .Lput
    call    __x86_indirect_thunk_rax
    mov     r12, rax
.Lput:
    mov     rdi, rbx
    call    debugfs_file_put
    mov     rax, r12
.Lout:
    pop     rbx
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
.Lgone:
    mov     rax, -EIO
    jmp     .Lout
SYM_FUNC_END(\name)
.endm

FULL_PROXY full_proxy_read, read, -EINVAL
FULL_PROXY full_proxy_write, write, -EINVAL
FULL_PROXY full_proxy_llseek, llseek, -ESPIPE

# int simple_open(rdi inode, rsi file): the data that the file was made with
SYM_FUNC_START(simple_open)
    FENTRY
    mov     rax, [rdi+inode_i_private]
    test    rax, rax
    je      .Lout
    mov     [rsi+file_private_data], rax
.Lout:
    xor     eax, eax
    jmp     __x86_return_thunk
SYM_FUNC_END(simple_open)
EXPORT_SYMBOL(simple_open)

# Of a file that was made without functions: nothing to read, everything taken.
SYM_FUNC_START_LOCAL(default_read_file)
    FENTRY
    xor     eax, eax
    jmp     __x86_return_thunk
SYM_FUNC_END(default_read_file)
SYM_FUNC_START_LOCAL(default_write_file)
    FENTRY
    mov     rax, rdx
    jmp     __x86_return_thunk
SYM_FUNC_END(default_write_file)

.macro DEBUGFS_FUNC name:req
HOST_FUNC \name
EXPORT_SYMBOL_GPL(\name)
.endm
.irp name, debugfs_initialized, debugfs_create_dir, debugfs_create_file, debugfs_create_file_unsafe, debugfs_lookup
DEBUGFS_FUNC \name
.endr
.irp name, debugfs_remove, debugfs_lookup_and_remove, debugfs_attr_read, debugfs_attr_write
DEBUGFS_FUNC \name
.endr
.irp type, u8, u16, u32, u64, ulong, size_t, x8, x16, x32, x64, atomic_t, bool, str, blob
DEBUGFS_FUNC debugfs_create_\type
.endr
.irp name, simple_attr_open, simple_attr_read, simple_attr_write, simple_attr_release
DEBUGFS_FUNC \name
.endr
HOST_FUNC simple_read_from_buffer
EXPORT_SYMBOL(simple_read_from_buffer)
HOST_FUNC simple_write_to_buffer
EXPORT_SYMBOL(simple_write_to_buffer)

.section .rodata
FILE_OPERATIONS debugfs_full_proxy_file_operations, llseek=full_proxy_llseek, read=full_proxy_read, write=full_proxy_write, open=full_proxy_open, release=full_proxy_release
FILE_OPERATIONS debugfs_noop_file_operations, llseek=generic_file_llseek, read=default_read_file, write=default_write_file, open=simple_open
