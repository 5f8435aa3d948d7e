# /sys: from a file to an attribute's show and store. Mirrors fs/kernfs/file.c, fs/sysfs/file.c,
# lib/kobject.c (kobj_sysfs_ops) and kernel/params.c (module_sysfs_ops).
#
# An attribute is a struct kobj_attribute in guest memory. Where TypeScript has its text, its show and store
# are the host functions at the end.

.section .text

# struct kernfs_open_file of a file, in \reg
.macro KERNFS_OF reg, file
    mov     \reg, [\file+file_private_data]
    mov     \reg, [\reg+seq_file_private]
.endm

# ssize_t kernfs_fop_read_iter(rdi iocb, rsi iter)
SYM_FUNC_START_LOCAL(kernfs_fop_read_iter)
    FENTRY
    TAIL_CALL seq_read_iter
SYM_FUNC_END(kernfs_fop_read_iter)

# ssize_t kernfs_fop_write_iter(rdi iocb, rsi iter)
SYM_FUNC_START_LOCAL(kernfs_fop_write_iter)
    FENTRY
    FRAME_BEGIN
    push    r15
    push    r14
    push    r13
    push    r12
    PUSH_RBP_WORD
    push    rbx
    mov     r12, rdi
    mov     r13, rsi
    mov     rax, [rdi+kiocb_ki_filp]
    KERNFS_OF rbx, rax
    # One page at most in one write.
    mov     r14, [rsi+iov_iter_count]
    mov     eax, PAGE_SIZE
    cmp     r14, rax
    cmova   r14, rax
    lea     rdi, [r14+1]
    call    seq_buf_alloc
    mov     rbp_word, rax
    mov     r15, -ENOMEM
    test    rax, rax
    je      .Lout
    mov     rdx, r13
    mov     rsi, r14
    mov     rdi, rbp_word
    call    _copy_from_iter
    mov     r15, -EFAULT
    cmp     rax, r14
    jne     .Lfree
.ifdef CONFIG_FRAME_POINTER
    mov     rdi, rbp_word
    mov     byte ptr [rdi+r14], 0
.else
    mov     byte ptr [rbp+r14], 0
.endif
    lea     rdi, [rbx+kernfs_open_file_mutex]
    call    mutex_lock
    mov     rdi, [rbx+kernfs_open_file_kn]
    call    kernfs_get_active
    mov     r15, -ENODEV
    test    rax, rax
    je      .Lunlock
    mov     rcx, [r12+kiocb_ki_pos]
    mov     rdx, r14
    mov     rsi, rbp_word
    mov     rdi, rbx
    call    sysfs_kf_write
    mov     r15, rax
    mov     rdi, [rbx+kernfs_open_file_kn]
    call    kernfs_put_active
    test    r15, r15
    jle     .Lunlock
    add     [r12+kiocb_ki_pos], r15
.Lunlock:
    lea     rdi, [rbx+kernfs_open_file_mutex]
    call    mutex_unlock
.Lfree:
    mov     rdi, rbp_word
    call    kvfree
.Lout:
    mov     rax, r15
    pop     rbx
    POP_RBP_WORD
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(kernfs_fop_write_iter)

# void *kernfs_seq_start(rdi sf, rsi ppos): with the mutex and the active reference that stop gives back
SYM_FUNC_START_LOCAL(kernfs_seq_start)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbp_r12, rsi
    mov     rbx, [rdi+seq_file_private]
    lea     rdi, [rbx+kernfs_open_file_mutex]
    call    mutex_lock
    mov     rdi, [rbx+kernfs_open_file_kn]
    call    kernfs_get_active
    test    rax, rax
    mov     rax, -ENODEV
    je      .Lout
    xor     eax, eax
    cmp     qword ptr [rbp_r12], 0
    sete    al
.Lout:
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(kernfs_seq_start)

SYM_FUNC_START_LOCAL(kernfs_seq_next)
    FENTRY
    inc     qword ptr [rdx]
    xor     eax, eax
    jmp     __x86_return_thunk
SYM_FUNC_END(kernfs_seq_next)

# void kernfs_seq_stop(rdi sf, rsi v)
SYM_FUNC_START_LOCAL(kernfs_seq_stop)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, [rdi+seq_file_private]
    # -ENODEV of start: it holds no active reference
    cmp     rsi, -ENODEV
    je      .Lunlock
    mov     rdi, [rbx+kernfs_open_file_kn]
    call    kernfs_put_active
.Lunlock:
    lea     rdi, [rbx+kernfs_open_file_mutex]
    pop     rbx
    FRAME_END
    TAIL_CALL mutex_unlock
SYM_FUNC_END(kernfs_seq_stop)

# int kernfs_seq_show(rdi sf, rsi v)
SYM_FUNC_START_LOCAL(kernfs_seq_show)
    FENTRY
    TAIL_CALL sysfs_kf_seq_show
SYM_FUNC_END(kernfs_seq_show)

# kn of rdi: to kn's sysfs_ops in rax, its kobject in rdi, its attribute in rsi
.macro SYSFS_TARGET kn
    mov     rax, [\kn+kernfs_node_attr_open]
    mov     rsi, [\kn+kernfs_node_priv]
    mov     rdi, [\kn+kernfs_node_parent]
    mov     rdi, [rdi+kernfs_node_priv]
.endm

# int sysfs_kf_seq_show(rdi sf, rsi v)
SYM_FUNC_START_LOCAL(sysfs_kf_seq_show)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbx, rdi
    # seq_get_buf(): a page of clean buffer, or the record comes again in a larger one
    mov     rcx, [rdi+seq_file_count]
    mov     rax, [rdi+seq_file_size]
    sub     rax, rcx
    cmp     rax, PAGE_SIZE
    jb      .Loverflow
    mov     rbp_r12, [rdi+seq_file_buf]
    add     rbp_r12, rcx
    mov     rdi, rbp_r12
    mov     ecx, PAGE_SIZE / 8
    xor     eax, eax
    rep stosq
    mov     rdx, [rbx+seq_file_private]
    mov     rdx, [rdx+kernfs_open_file_kn]
    SYSFS_TARGET rdx
    mov     rdx, rbp_r12
    mov     rax, [rax+sysfs_ops_show]
    test    rax, rax
    je      .Lempty
    call    __x86_indirect_thunk_rax
    test    rax, rax
    js      .Lout
    cmp     rax, PAGE_SIZE
    jb      .Lcommit
    mov     eax, PAGE_SIZE - 1
.Lcommit:
    add     [rbx+seq_file_count], rax
.Lempty:
    xor     eax, eax
.Lout:
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
.Loverflow:
    mov     rax, [rdi+seq_file_size]
    mov     [rdi+seq_file_count], rax
    jmp     .Lempty
SYM_FUNC_END(sysfs_kf_seq_show)

# ssize_t sysfs_kf_write(rdi of, rsi buf, rdx count, rcx pos)
SYM_FUNC_START_LOCAL(sysfs_kf_write)
    FENTRY
    test    rdx, rdx
    je      .Lnothing
    mov     r8, [rdi+kernfs_open_file_kn]
    mov     rcx, rdx
    mov     rdx, rsi
    SYSFS_TARGET r8
    mov     rax, [rax+sysfs_ops_store]
    TAIL_CALL __x86_indirect_thunk_rax
.Lnothing:
    xor     eax, eax
    jmp     __x86_return_thunk
SYM_FUNC_END(sysfs_kf_write)

# ssize_t kobj_attr_show(rdi kobj, rsi attr, rdx buf)
SYM_FUNC_START_LOCAL(kobj_attr_show)
    FENTRY
    mov     rax, [rsi+kobj_attribute_show]
    test    rax, rax
    je      .Leio
    TAIL_CALL __x86_indirect_thunk_rax
.Leio:
    mov     rax, -EIO
    jmp     __x86_return_thunk
SYM_FUNC_END(kobj_attr_show)

# ssize_t kobj_attr_store(rdi kobj, rsi attr, rdx buf, rcx count)
SYM_FUNC_START_LOCAL(kobj_attr_store)
    FENTRY
    mov     rax, [rsi+kobj_attribute_store]
    test    rax, rax
    je      .Leio
    TAIL_CALL __x86_indirect_thunk_rax
.Leio:
    mov     rax, -EIO
    jmp     __x86_return_thunk
SYM_FUNC_END(kobj_attr_store)

# ssize_t module_attr_show(), module_attr_store(): the attributes and parameters of a module.
# A frame stays here, as the kernel's functions are no tail calls.
.macro MODULE_ATTR op
SYM_FUNC_START_LOCAL(module_attr_\op)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    mov     rax, [rsi+kobj_attribute_\op]
    test    rax, rax
    je      .Leio
    call    __x86_indirect_thunk_rax
.Lout:
    add     rsp, 8
    FRAME_END
    jmp     __x86_return_thunk
.Leio:
    mov     rax, -EIO
    jmp     .Lout
SYM_FUNC_END(module_attr_\op)
.endm
MODULE_ATTR show
MODULE_ATTR store

# int kernfs_fop_release(rdi inode, rsi file)
SYM_FUNC_START_LOCAL(kernfs_fop_release)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbx, rsi
    mov     rbp_r12, rdi
    KERNFS_OF rdi, rsi
    call    kernfs_put_open_node
    mov     rsi, rbx
    mov     rdi, rbp_r12
    pop     rbx
    pop     rbp_r12
    FRAME_END
    TAIL_CALL seq_release
SYM_FUNC_END(kernfs_fop_release)

# int kernfs_fop_open(rdi inode, rsi file); void kernfs_put_open_node(rdi of)
HOST_FUNC kernfs_fop_open
HOST_FUNC kernfs_put_open_node
# struct kernfs_node *kernfs_get_active(rdi kn): 0 once it was removed; void kernfs_put_active(rdi kn)
HOST_FUNC kernfs_get_active
HOST_FUNC kernfs_put_active

# ssize_t show(kobj, attr, buf), store(kobj, attr, buf, count) of the attributes that TypeScript has
HOST_FUNC sysfs_attr_show
HOST_FUNC sysfs_attr_store
# The same under the names that stand on a kernel's stack: kernel/livepatch/core.c, kernel/params.c.
HOST_FUNC enabled_show
HOST_FUNC enabled_store
HOST_FUNC transition_show
HOST_FUNC force_store
HOST_FUNC patched_show
HOST_FUNC param_attr_show
HOST_FUNC param_attr_store
HOST_FUNC sysfs_emit
EXPORT_SYMBOL_GPL(sysfs_emit)
HOST_FUNC sysfs_emit_at
EXPORT_SYMBOL_GPL(sysfs_emit_at)

.section .rodata
FILE_OPERATIONS kernfs_file_fops, llseek=generic_file_llseek, read_iter=kernfs_fop_read_iter, write_iter=kernfs_fop_write_iter, open=kernfs_fop_open, release=kernfs_fop_release

SYM_DATA_START(kernfs_seq_ops)
    .quad   kernfs_seq_start
    .quad   kernfs_seq_stop
    .quad   kernfs_seq_next
    .quad   kernfs_seq_show
SYM_DATA_END(kernfs_seq_ops)

SYM_DATA_START(kobj_sysfs_ops)
    .quad   kobj_attr_show
    .quad   kobj_attr_store
SYM_DATA_END(kobj_sysfs_ops)

SYM_DATA_START(module_sysfs_ops)
    .quad   module_attr_show
    .quad   module_attr_store
SYM_DATA_END(module_sysfs_ops)
