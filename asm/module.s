# Loading and unloading modules, in the task that asks for it. Mirrors kernel/module/main.c.

# finit_module(fd, const char __user *uargs, flags)
SYM_FUNC_START(__x64_sys_finit_module)
    FENTRY
    push    rbp
    mov     rbp, rsp
    mov     rdx, [rdi+pt_regs_dx]
    mov     rsi, [rdi+pt_regs_si]
    mov     rdi, [rdi+pt_regs_di]
    call    __do_sys_finit_module
    pop     rbp
    RET
SYM_FUNC_END(__x64_sys_finit_module)

SYM_FUNC_START_LOCAL(__do_sys_finit_module)
    FENTRY
    push    rbx
    sub     rsp, 0x20
    call    load_module                 # a struct module, or -errno
    mov     rbx, rax
    cmp     rax, -4095
    jae     .Lout
    mov     rdi, rax
    call    do_init_module
.Lout:
    add     rsp, 0x20
    pop     rbx
    RET
SYM_FUNC_END(__do_sys_finit_module)

HOST_FUNC load_module

# rdi: struct module
SYM_FUNC_START_LOCAL(do_init_module)
    FENTRY
    push    rbp
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi
    xor     eax, eax
    mov     rdi, [rbx+module_init]
    test    rdi, rdi
    jz      .Lnone
    call    do_one_initcall
.Lnone:
    mov     rdi, rbx
    movsxd  rsi, eax
    call    do_init_module_finish       # LIVE, or everything undone; returns what the system call does
    add     rsp, 8
    pop     rbx
    pop     rbp
    RET
SYM_FUNC_END(do_init_module)

HOST_FUNC do_init_module_finish

SYM_FUNC_START(do_one_initcall)
    FENTRY
    push    r13
    push    r12
    push    rbp
    push    rbx
    sub     rsp, 0x48
    mov     rax, rdi
    call    __x86_indirect_thunk_rax
    add     rsp, 0x48
    pop     rbx
    pop     rbp
    pop     r12
    pop     r13
    RET
SYM_FUNC_END(do_one_initcall)

# delete_module(const char __user *name, flags)
SYM_FUNC_START(__x64_sys_delete_module)
    FENTRY
    push    rbp
    mov     rbp, rsp
    mov     rsi, [rdi+pt_regs_si]
    mov     rdi, [rdi+pt_regs_di]
    call    __do_sys_delete_module
    pop     rbp
    RET
SYM_FUNC_END(__x64_sys_delete_module)

SYM_FUNC_START_LOCAL(__do_sys_delete_module)
    FENTRY
    push    r12
    push    rbx
    sub     rsp, 0x40
    call    delete_module_prepare       # a struct module in state GOING, or -errno
    mov     rbx, rax
    cmp     rax, -4095
    jae     .Lout
    mov     rax, [rbx+module_exit]
    test    rax, rax
    jz      .Lno_exit
    call    __x86_indirect_thunk_rax
.Lno_exit:
    mov     rdi, rbx
    call    free_module
    xor     eax, eax
.Lout:
    add     rsp, 0x40
    pop     rbx
    pop     r12
    RET
SYM_FUNC_END(__do_sys_delete_module)

HOST_FUNC delete_module_prepare
HOST_FUNC free_module
