# crash N: what a program is killed for, the N-th of a list.

.section .user.text

SYM_CODE_START(crash)
    UNWIND_HINT_EMPTY
    mov     rdi, [rsp+16]
    call    atoi
    lea     rcx, [rip+.Lfirst]
    shl     rax, 4
    add     rcx, rax
    xor     edx, edx
    mov     eax, 1
    jmp     rcx
.balign 16
.Lfirst:
    mov     dword ptr [rdx], 1          # 0: writes to null
    .balign 16
    mov     eax, [rdx+8]                # 1: reads from null
    .balign 16
    call    rdx                         # 2: calls null
    .balign 16
    jmp     rsp                         # 3: jumps to its stack
    .balign 16
    mov     byte ptr [rip+crash], 1     # 4: writes to its text
    .balign 16
    ud2                                 # 5
    .balign 16
    div     edx                         # 6: divides by zero
    .balign 16
    bts     rdx, 62
    mov     eax, [rdx]                  # 7: reads a non-canonical address
    .balign 16
    hlt                                 # 8
    .balign 16
    cli                                 # 9
    .balign 16
    int3                                # 10
    .balign 16
    int     0x55                        # 11
    .balign 16
    mov     rdx, -0x7f000000
    mov     eax, [rdx]                  # 12: reads the kernel's text
    .balign 16
    mov     rdx, -0x7f000000
    mov     dword ptr [rdx], 1          # 13: writes it
    .balign 16
    mov     rdx, -0x7f000000
    call    rdx                         # 14: calls it
    .balign 16
    movabs  rdx, 0xffff8000deadbee8
    mov     eax, [rdx]                  # 15: reads where nothing of the kernel's is
    .balign 16
    movabs  rdx, 0xffffc90000000000
    mov     eax, [rdx]                  # 16: reads a guard of the kernel's stacks
SYM_CODE_END(crash)
