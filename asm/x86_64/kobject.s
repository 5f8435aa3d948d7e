# Kobjects that are made and given a directory in sysfs. Mirrors lib/kobject.c, fs/sysfs/dir.c, fs/sysfs/file.c.
#
# Which names a directory has is known to src/kernel/kobject.ts; what is told of a name that cannot be is told from
# here, so that it has the stack it should have. Behind a real kernel its own functions do all of it.

.ifndef REAL_KERNEL

.section .text

# struct kobject *kobject_create_and_add(rdi name, rsi parent): NULL with a line in the log where that fails
SYM_FUNC_START(kobject_create_and_add)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     r12, rdi
    mov     rbp_r13, rsi
    call    kobject_create
    mov     rbx, rax
    test    rax, rax
    je      .Lout
    mov     rdi, rax
    mov     rsi, rbp_r13
    mov     rdx, r12
    call    kobject_add
    test    eax, eax
    je      .Lout
    mov     edi, eax
    call    kobject_add_error
    mov     rdi, rbx
    call    kobject_put
    xor     ebx, ebx
.Lout:
    mov     rax, rbx
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(kobject_create_and_add)
EXPORT_SYMBOL_GPL(kobject_create_and_add)

# int kobject_add(rdi kobj, rsi parent, rdx name), of a name without conversions
SYM_FUNC_START_LOCAL(kobject_add)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    call    kobject_set_name_vargs
    test    eax, eax
    jne     .Lout
    mov     rdi, rbx
    call    kobject_add_internal
.Lout:
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(kobject_add)

# int kobject_add_internal(rdi kobj)
SYM_FUNC_START_LOCAL(kobject_add_internal)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbx, rdi
    mov     rax, [rdi+kobject_name]
    cmp     byte ptr [rax], 0
    je      .Lempty
    call    sysfs_create_dir_ns
    mov     ebp_r12, eax
    test    eax, eax
    je      .Lout
    mov     rdi, rbx
    mov     esi, eax
    call    kobject_add_internal_failed
.Lout:
    mov     eax, ebp_r12
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
.Lempty:
    mov     rsi, rdi
    mov     rdi, offset kobject_empty_text
    xor     eax, eax
    call    __warn_printk
__bug_at_kobject_empty_name:
    ud2
    mov     ebp_r12, -EINVAL
    jmp     .Lout
SYM_FUNC_END(kobject_add_internal)

# int sysfs_create_dir_ns(rdi kobj)
SYM_FUNC_START_LOCAL(sysfs_create_dir_ns)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbx, rdi
    call    kernfs_create_dir_ns
    mov     ebp_r12, eax
    cmp     eax, -EEXIST
    jne     .Lout
    mov     rdi, rbx
    call    sysfs_warn_dup
.Lout:
    mov     eax, ebp_r12
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(sysfs_create_dir_ns)

# void sysfs_warn_dup(rdi kobj)
SYM_FUNC_START(sysfs_warn_dup)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    sysfs_dup_line
    call    dump_stack
    add     rsp, 8
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(sysfs_warn_dup)

HOST_FUNC kobject_create
HOST_FUNC kobject_set_name_vargs
HOST_FUNC kernfs_create_dir_ns
HOST_FUNC_NOTRACE sysfs_dup_line
HOST_FUNC_NOTRACE kobject_add_internal_failed
HOST_FUNC_NOTRACE kobject_add_error

# void kobject_put(rdi kobj), struct kobject *kobject_get(rdi kobj), void kobject_del(rdi kobj)
HOST_FUNC kobject_put
EXPORT_SYMBOL(kobject_put)
HOST_FUNC kobject_get
EXPORT_SYMBOL(kobject_get)
HOST_FUNC kobject_del
EXPORT_SYMBOL(kobject_del)

# int sysfs_create_file_ns(rdi kobj, rsi attr), void sysfs_remove_file_ns(rdi kobj, rsi attr)
HOST_FUNC sysfs_create_file_ns
EXPORT_SYMBOL_GPL(sysfs_create_file_ns)
HOST_FUNC sysfs_remove_file_ns
EXPORT_SYMBOL_GPL(sysfs_remove_file_ns)

.section .rodata
# KERN_WARNING is __warn_printk()'s own
SYM_DATA_START_LOCAL(kobject_empty_text)
    .asciz  "kobject: (%p): attempted to be registered with empty name!\n"
SYM_DATA_END(kobject_empty_text)
SYM_DATA_START_LOCAL(kernel_kobject_name)
    .asciz  "kernel"
SYM_DATA_END(kernel_kobject_name)
SYM_DATA_START_LOCAL(kobject_file)
    .asciz  "lib/kobject.c"
SYM_DATA_END(kobject_file)

.section .data
SYM_DATA_START(__bug_table_kobject)
    BUG_ENTRY __bug_at_kobject_empty_name, kobject_file, 210, BUGFLAG_WARN
SYM_DATA_END(__bug_table_kobject)

# /sys/kernel
.balign 8
SYM_DATA_START_LOCAL(kernel_kobject)
    MEMBERS
    MEMBER kobject_name, kernel_kobject_name
    MEMBERS_END sizeof_kobject
SYM_DATA_END(kernel_kobject)
SYM_DATA_START(kernel_kobj)
    .quad   kernel_kobject
SYM_DATA_END(kernel_kobj)
EXPORT_SYMBOL_GPL(kernel_kobj)

.else

.section .text

# release() of kobjects that TypeScript has
HOST_FUNC_NOTRACE klp_kobj_release

.endif
