# Programs that tell by their exit status whose memory they are in.

.section .user.text

# rdi: pid, rsi: where its status is to go, or 0
.macro WAIT_FOR
    xor     edx, edx
    xor     r10d, r10d
    SYS __NR_wait4
.endm

# fork_pointer: forks a child that adds 2 to a word of 5 through a pointer that its parent left on the stack, and exits with
# the word that is there by its stack pointer. Exits with 16 times that and its own word.
SYM_CODE_START(fork_pointer)
    UNWIND_HINT_EMPTY
    sub     rsp, 0x18
    mov     qword ptr [rsp], 5
    mov     [rsp+8], rsp
    SYS __NR_fork
    test    rax, rax
    jz      .Lchild
    mov     rdi, rax
    lea     rsi, [rsp+16]
    WAIT_FOR
    movzx   edi, byte ptr [rsp+17]      # the child's status
    shl     edi, 4
    mov     rax, [rsp+8]
    add     edi, [rax]
    SYS __NR_exit_group
.Lchild:
    mov     rax, [rsp+8]
    add     qword ptr [rax], 2
    mov     edi, [rsp]
    SYS __NR_exit_group
SYM_CODE_END(fork_pointer)

# clone_vm: a child in the same address space, on a stack below, puts 9 in a word of 5. Exits with the word.
SYM_CODE_START(clone_vm)
    UNWIND_HINT_EMPTY
    push    5
    mov     rbx, rsp
    mov     edi, CLONE_VM
    lea     rsi, [rsp-0x400]
    SYS __NR_clone
    test    rax, rax
    jz      .Lchild
    mov     rdi, rax
    xor     esi, esi
    WAIT_FOR
    mov     edi, [rbx]
    SYS __NR_exit_group
.Lchild:
    mov     qword ptr [rbx], 9
    xor     edi, edi
    SYS __NR_exit_group
SYM_CODE_END(clone_vm)
