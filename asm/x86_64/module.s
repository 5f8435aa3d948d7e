# Loading and unloading modules, in the task that asks for it. Mirrors kernel/module/main.c.

# finit_module(fd, const char __user *uargs, flags)
SYSCALL_DEFINE finit_module, __do_sys_finit_module, rdi, rsi, rdx

HOST_FUNC __do_sys_finit_module
# rdi: struct module, esi: what its init returned
HOST_FUNC_NOTRACE do_init_module_warn

# rdi: struct module. Runs its init; returns what it returned.
SYM_FUNC_START(do_init_module)
    FENTRY
    FRAME_BEGIN
    push    rbx
    sub     rsp, 16
    mov     [rsp], rdi
    mov     rbx, rdi
    mov     rdi, [rbx+module_init]
    call    do_one_initcall
    test    eax, eax
    jg      .Lsuspicious
.Lout:
    add     rsp, 16
    pop     rbx
    FRAME_END
    RET
.Lsuspicious:
    mov     [rsp+8], rax
    mov     rdi, rbx
    mov     esi, eax
    call    do_init_module_warn
    call    dump_stack
    mov     rax, [rsp+8]
    jmp     .Lout
SYM_FUNC_END(do_init_module)

# rdi: the function
SYM_FUNC_START(do_one_initcall)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbp_r14
    push    rbx
    sub     rsp, 0x48
    mov     rax, rdi
    call    __x86_indirect_thunk_rax
    add     rsp, 0x48
    pop     rbx
    pop     rbp_r14
    pop     r12
    pop     r13
    FRAME_END
    RET
SYM_FUNC_END(do_one_initcall)

# delete_module(const char __user *name, flags)
SYSCALL_DEFINE delete_module, __do_sys_delete_module, rdi, rsi

HOST_FUNC __do_sys_delete_module
HOST_FUNC try_module_get
EXPORT_SYMBOL(try_module_get)
HOST_FUNC __module_get
EXPORT_SYMBOL(__module_get)
HOST_FUNC module_put
EXPORT_SYMBOL(module_put)
HOST_FUNC module_refcount
EXPORT_SYMBOL(module_refcount)
