# modprobe, as the kernel runs it to load a module: its real one has found the files of the module and of what it needs
# in modules.dep; here they are arguments.

.section .user.text

no_parameters:
    .byte   0

# modprobe NAME [STATE FILE]..: loads each file in turn, but for modules whose STATE, /sys/module/NAME/initstate, is live.
# One that is there meanwhile is no error, as kmod has it. Exits with 1 when one cannot be loaded, or NAME has no file.
SYM_CODE_START(modprobe)
    UNWIND_HINT_EMPTY
    mov     rbp, rsp
    mov     ebx, 2
    cmp     qword ptr [rbp], 4
    jb      .Lfailed
.Lnext:
    lea     rax, [rbx+1]
    cmp     rax, [rbp]
    jae     .Ldone
    mov     rdi, [rbp+rbx*8+8]
    call    is_live
    test    eax, eax
    jnz     .Lloaded
    mov     rdi, [rbp+rbx*8+16]
    xor     esi, esi
    lea     rdx, [rip+no_parameters]
    call    load_file
    test    rax, rax
    jz      .Lloaded
    cmp     rax, -EEXIST
    jne     .Lfailed
.Lloaded:
    add     rbx, 2
    jmp     .Lnext
.Lfailed:
    mov     edi, 1
    jmp     .Lexit
.Ldone:
    xor     edi, edi
.Lexit:
    mov     eax, __NR_exit_group
    syscall
SYM_CODE_END(modprobe)

# rdi: path of an initstate; eax: whether it says live.
SYM_FUNC_START_LOCAL(is_live)
    push    rbx
    sub     rsp, 16
    xor     esi, esi
    xor     edx, edx
    mov     eax, __NR_open
    syscall
    test    rax, rax
    js      .Lno
    mov     rbx, rax
    mov     byte ptr [rsp], 0
    mov     rdi, rax
    mov     rsi, rsp
    mov     edx, 16
    mov     eax, __NR_read
    syscall
    mov     rdi, rbx
    mov     eax, __NR_close
    syscall
    xor     eax, eax
    cmp     byte ptr [rsp], 0x6c        # l
    sete    al
    jmp     .Lout
.Lno:
    xor     eax, eax
.Lout:
    add     rsp, 16
    pop     rbx
    ret
SYM_FUNC_END(is_live)
