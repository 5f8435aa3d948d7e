# Copies between the kernel and a user or an iterator. Mirrors lib/usercopy.c and lib/iov_iter.c.

.section .text

# Bytes of [rdi, rdi + rsi) that the kernel may not write (read) there for the user.
HOST_FUNC fault_in_writeable
EXPORT_SYMBOL(fault_in_writeable)
HOST_FUNC fault_in_readable
EXPORT_SYMBOL(fault_in_readable)

# unsigned long _copy_to_user(rdi to, rsi from, rdx n): bytes not copied.
# The user's pages are asked for before the copy, in the place of an exception table entry at it.
SYM_FUNC_START(_copy_to_user)
    FENTRY
    FRAME_BEGIN
    movabs  rcx, 0x7ffffffff000
    mov     rax, rdi
    add     rax, rdx
    jc      .Lbad
    cmp     rax, rcx
    ja      .Lbad
    push    r12
    push    rbp_r13
    push    rbx
    mov     r12, rdi
    mov     rbp_r13, rsi
    mov     rbx, rdx
    mov     rsi, rdx
    call    fault_in_writeable
    mov     rcx, rbx
    sub     rcx, rax
    mov     rdi, r12
    mov     rsi, rbp_r13
    rep movsb
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
.Lbad:
    mov     rax, rdx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(_copy_to_user)
EXPORT_SYMBOL(_copy_to_user)

# unsigned long _copy_from_user(rdi to, rsi from, rdx n): bytes not copied, which are zeroed.
SYM_FUNC_START(_copy_from_user)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbp_r13
    push    rbx
    mov     r12, rdi
    mov     rbp_r13, rsi
    mov     rbx, rdx
    movabs  rcx, 0x7ffffffff000
    mov     rax, rsi
    add     rax, rdx
    jc      .Lbad
    cmp     rax, rcx
    ja      .Lbad
    mov     rdi, rsi
    mov     rsi, rdx
    call    fault_in_readable
    jmp     .Lcopy
.Lbad:
    mov     rax, rdx
.Lcopy:
    mov     rcx, rbx
    sub     rcx, rax
    mov     rdi, r12
    mov     rsi, rbp_r13
    rep movsb
    mov     rcx, rax
    mov     rdx, rax
    xor     eax, eax
    rep stosb
    mov     rax, rdx
    pop     rbx
    pop     rbp_r13
    pop     r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(_copy_from_user)
EXPORT_SYMBOL(_copy_from_user)

# One step of an iterator: the first run of bytes in it. rdi iterator, rsi bytes wanted; in rax where,
# in rdx how many at most. Nothing else changes but rcx.
SYM_FUNC_START_LOCAL(iov_iter_run)
    mov     rdx, rsi
    cmp     byte ptr [rdi+iov_iter_iter_type], ITER_UBUF
    je      .Lubuf
    mov     rax, [rdi+iov_iter_iov]
    mov     rcx, [rax+iovec_iov_len]
    sub     rcx, [rdi+iov_iter_iov_offset]
    cmp     rdx, rcx
    cmova   rdx, rcx
    mov     rax, [rax+iovec_iov_base]
    add     rax, [rdi+iov_iter_iov_offset]
    jmp     __x86_return_thunk
.Lubuf:
    mov     rax, [rdi+iov_iter_ubuf]
    add     rax, [rdi+iov_iter_iov_offset]
    jmp     __x86_return_thunk
SYM_FUNC_END(iov_iter_run)

# void iov_iter_advance(rdi iterator, rsi bytes), within the current run
SYM_FUNC_START(iov_iter_advance)
    FENTRY
    sub     [rdi+iov_iter_count], rsi
    add     [rdi+iov_iter_iov_offset], rsi
    cmp     byte ptr [rdi+iov_iter_iter_type], ITER_UBUF
    je      .Lend
    mov     rax, [rdi+iov_iter_iov]
    mov     rcx, [rax+iovec_iov_len]
    cmp     [rdi+iov_iter_iov_offset], rcx
    jne     .Lend
    add     rax, sizeof_iovec
    mov     [rdi+iov_iter_iov], rax
    mov     qword ptr [rdi+iov_iter_iov_offset], 0
    dec     qword ptr [rdi+iov_iter_nr_segs]
.Lend:
    jmp     __x86_return_thunk
SYM_FUNC_END(iov_iter_advance)
EXPORT_SYMBOL(iov_iter_advance)

# size_t _copy_to_iter(rdi addr, rsi bytes, rdx iterator), and _copy_from_iter(): bytes copied
# run, own: which argument of the copy is the place in the iterator, and which the one in the kernel.
.macro COPY_ITER dir, run, own
SYM_FUNC_START(_copy_\dir\()_iter)
    FENTRY
    FRAME_BEGIN
    push    r15
    push    r14
    push    r13
    push    r12
    PUSH_RBP_WORD
    push    rbx
    mov     r12, rdi
    mov     rbx, rdx
    mov     r13, rsi
    cmp     r13, [rdx+iov_iter_count]
    cmova   r13, [rdx+iov_iter_count]
    xor     r14d, r14d
.Lrun:
    mov     rsi, r13
    sub     rsi, r14
    je      .Ldone
    mov     rdi, rbx
    call    iov_iter_run
    mov     r15, rdx
    mov     \run, rax
    lea     \own, [r12+r14]
    cmp     byte ptr [rbx+iov_iter_iter_type], ITER_KVEC
    je      .Lkernel
    call    _copy_\dir\()_user
    jmp     .Lcopied
.Lkernel:
    call    memcpy
    xor     eax, eax
.Lcopied:
    mov     rbp_word, rax
    sub     r15, rax
    add     r14, r15
    mov     rsi, r15
    mov     rdi, rbx
    call    iov_iter_advance
    TEST_RBP_WORD
    je      .Lrun
.Ldone:
    mov     rax, r14
    pop     rbx
    POP_RBP_WORD
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(_copy_\dir\()_iter)
EXPORT_SYMBOL(_copy_\dir\()_iter)
.endm
COPY_ITER to, rdi, rsi
COPY_ITER from, rsi, rdi
