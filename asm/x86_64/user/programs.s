# Programs of user tasks, at ring 3. Each starts at its symbol with argc at [rsp] and argv above it, as
# execve() leaves them; environment and auxiliary vector are empty. A program sees only its registers,
# its stack and system calls.

.section .user.text

# rdi: decimal string; the number in rax. Clobbers rdi, rdx.
SYM_FUNC_START(atoi)
    xor     eax, eax
.Lnext:
    movzx   edx, byte ptr [rdi]
    sub     edx, 0x30
    cmp     edx, 9
    ja      .Ldone
    imul    rax, rax, 10
    add     rax, rdx
    inc     rdi
    jmp     .Lnext
.Ldone:
    ret
SYM_FUNC_END(atoi)

# rdi: milliseconds
SYM_FUNC_START(sleep_ms)
    sub     rsp, 0x18
    mov     rax, rdi
    xor     edx, edx
    mov     ecx, 1000
    div     rcx
    mov     [rsp], rax
    imul    rdx, rdx, 1000000
    mov     [rsp+8], rdx
    mov     rdi, rsp
    xor     esi, esi
    SYS __NR_nanosleep
    add     rsp, 0x18
    ret
SYM_FUNC_END(sleep_ms)

# rdi: string; its length in rax
SYM_FUNC_START(strlen_user)
    xor     eax, eax
.Lnext:
    cmp     byte ptr [rdi+rax], 0
    je      .Ldone
    inc     rax
    jmp     .Lnext
.Ldone:
    ret
SYM_FUNC_END(strlen_user)

# spin: computes for ever, in user mode.
SYM_CODE_START(spin)
    UNWIND_HINT_EMPTY
    xor     ebx, ebx
.Lloop:
    inc     rbx
    imul    rax, rbx, 17
    xor     rcx, rax
    jmp     .Lloop
SYM_CODE_END(spin)

# syscalls: getpid() for ever.
SYM_CODE_START(syscalls)
    UNWIND_HINT_EMPTY
.Lloop:
    SYS __NR_getpid
    jmp     .Lloop
SYM_CODE_END(syscalls)

# yield: sched_yield() for ever.
SYM_CODE_START(yield)
    UNWIND_HINT_EMPTY
.Lloop:
    SYS __NR_sched_yield
    jmp     .Lloop
SYM_CODE_END(yield)

# pause: waits for a signal.
SYM_CODE_START(pause)
    UNWIND_HINT_EMPTY
.Lloop:
    SYS __NR_pause
    jmp     .Lloop
SYM_CODE_END(pause)

# The arguments N [ROUNDS], into rbx and r12; without ROUNDS 0, which counted down to is for ever.
.macro NUMBER_AND_ROUNDS
    mov     rdi, [rsp+16]
    call    atoi
    mov     rbx, rax
    xor     r12d, r12d
    cmp     qword ptr [rsp], 3
    jl      .Lrounds_\@
    mov     rdi, [rsp+24]
    call    atoi
    mov     r12, rax
.Lrounds_\@:
.endm

# sleep MS [ROUNDS]: sleeps MS milliseconds, ROUNDS times (for ever without it).
SYM_CODE_START(sleep)
    UNWIND_HINT_EMPTY
    NUMBER_AND_ROUNDS
.Lloop:
    mov     rdi, rbx
    call    sleep_ms
    dec     r12
    jnz     .Lloop
    xor     edi, edi
    SYS __NR_exit_group
SYM_CODE_END(sleep)

# reader PATH MS [ROUNDS]: opens, reads to the end, writes what it read to standard output, closes,
# sleeps MS milliseconds; ROUNDS times, for ever without it.
SYM_CODE_START(reader)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    MS_AND_ROUNDS
.Lloop:
    mov     rdi, [r15+16]
    call    copy_to_stdout
    mov     rdi, r14
    test    rdi, rdi
    jz      .Lno_sleep
    call    sleep_ms
.Lno_sleep:
    dec     r13
    jnz     .Lloop
    xor     edi, edi
    SYS __NR_exit_group
SYM_CODE_END(reader)

# What copy_to_stdout reads at once: half of a stack.
.set COPIED_AT_ONCE, 0x2000

# rdi: path. 0, or -errno of open or read.
SYM_FUNC_START(copy_to_stdout)
    push    rbx
    push    rbp
    sub     rsp, COPIED_AT_ONCE + 8
    xor     esi, esi
    xor     edx, edx
    SYS __NR_open
    test    rax, rax
    js      .Lout
    mov     rbx, rax
.Lread:
    mov     rdi, rbx
    mov     rsi, rsp
    mov     edx, COPIED_AT_ONCE
    SYS __NR_read
    mov     rbp, rax
    test    rax, rax
    jle     .Lclose
    mov     rdx, rax
    mov     edi, 1
    mov     rsi, rsp
    SYS __NR_write
    jmp     .Lread
.Lclose:
    mov     rdi, rbx
    SYS __NR_close
    mov     rax, rbp
.Lout:
    add     rsp, COPIED_AT_ONCE + 8
    pop     rbp
    pop     rbx
    ret
SYM_FUNC_END(copy_to_stdout)

# cat PATH: to standard output; exits with the errno where that fails.
SYM_CODE_START(cat)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    call    copy_to_stdout
    EXIT_WITH_ERRNO
SYM_CODE_END(cat)

# echo TEXT PATH: writes TEXT and a newline is part of it; exits with the errno where that fails.
SYM_CODE_START(echo)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    mov     rdi, [r15+24]
    mov     esi, 1                      # O_WRONLY
    xor     edx, edx
    SYS __NR_open
    test    rax, rax
    js      .Lout
    mov     rbx, rax
    mov     rdi, [r15+16]
    call    strlen_user
    mov     rdx, rax
    mov     rdi, rbx
    mov     rsi, [r15+16]
    SYS __NR_write
    test    rax, rax
    js      .Lout
    xor     eax, eax
.Lout:
    EXIT_WITH_ERRNO
SYM_CODE_END(echo)

# insmod PATH [ARGS [FLAGS]]: finit_module, FLAGS one digit; exits with its errno.
SYM_CODE_START(insmod)
    UNWIND_HINT_EMPTY
    mov     r15, rsp
    OPEN_FIRST_ARGUMENT
    js      .Lout
    mov     rdi, rax
    mov     rsi, [r15+24]
    xor     edx, edx
    cmp     qword ptr [r15], 4
    jl      .Lno_flags
    mov     rcx, [r15+32]
    movzx   edx, byte ptr [rcx]
    sub     edx, 0x30
.Lno_flags:
    SYS __NR_finit_module
.Lout:
    EXIT_WITH_ERRNO
SYM_CODE_END(insmod)

# rmmod NAME [force]: delete_module with O_NONBLOCK, and with O_TRUNC to force; exits with its errno.
SYM_CODE_START(rmmod)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    mov     esi, 0x800
    cmp     qword ptr [rsp], 3
    jl      .Lno_force
    or      esi, 0x200
.Lno_force:
    SYS __NR_delete_module
    EXIT_WITH_ERRNO
SYM_CODE_END(rmmod)

# kill PID SIGNAL: exits with the errno where that fails.
SYM_CODE_START(kill)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    call    atoi
    mov     rbx, rax
    mov     rdi, [rsp+24]
    call    atoi
    mov     rdi, rbx
    mov     rsi, rax
    SYS __NR_kill
    EXIT_WITH_ERRNO
SYM_CODE_END(kill)

# forker MS [ROUNDS]: forks a child that sleeps MS milliseconds and exits, and waits for it.
SYM_CODE_START(forker)
    UNWIND_HINT_EMPTY
    NUMBER_AND_ROUNDS
.Lloop:
    SYS __NR_fork
    test    rax, rax
    jz      .Lchild
    mov     rdi, rax
    xor     esi, esi
    xor     edx, edx
    xor     r10d, r10d
    SYS __NR_wait4
    dec     r12
    jnz     .Lloop
    xor     edi, edi
    SYS __NR_exit_group
.Lchild:
    mov     rdi, rbx
    call    sleep_ms
    xor     edi, edi
    SYS __NR_exit_group
SYM_CODE_END(forker)
