# Copies between the kernel and a user or an iterator. Mirrors lib/usercopy.c and lib/iov_iter.c.

.section .text

# Bytes of [rdi, rdi + rsi) that the kernel may not write (read) there for the user.
HOST_FUNC fault_in_writeable
EXPORT_SYMBOL(fault_in_writeable)
HOST_FUNC fault_in_readable
EXPORT_SYMBOL(fault_in_readable)

# unsigned long copy_user_generic_string(rdi to, rsi from, edx n): bytes not copied. One of the two is the user's.
# Mirrors arch/x86/lib/copy_user_64.S: words, then bytes; after a fault in a word, what of it there is.
SYM_FUNC_START(copy_user_generic_string)
    ASM_STAC
    mov     ecx, edx
    shr     ecx, 3
    and     edx, 7
__ex_at_copy_words:
    rep movsq
    mov     ecx, edx
__ex_at_copy_bytes:
    rep movsb
__ex_to_copy_done:
    mov     eax, ecx
    ASM_CLAC
    jmp     __x86_return_thunk
__ex_to_copy_words:
    lea     ecx, [rdx+rcx*8]
__ex_at_copy_tail:
    rep movsb
    jmp     __ex_to_copy_done
SYM_FUNC_END(copy_user_generic_string)

# Puts rax behind [\start, \start + rdx), and goes to .Lbad where that is not the user's: access_ok(). Uses rcx.
.macro USER_RANGE start
    movabs  rcx, TASK_SIZE_MAX
    mov     rax, \start
    add     rax, rdx
    jc      .Lbad
    cmp     rax, rcx
    ja      .Lbad
.endm

# unsigned long _copy_to_user(rdi to, rsi from, rdx n): bytes not copied.
SYM_FUNC_START(_copy_to_user)
    FENTRY
    FRAME_BEGIN
    USER_RANGE rdi
    sub     rsp, 8
    call    copy_user_generic_string
    add     rsp, 8
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
    push    rbx
    USER_RANGE rsi
    call    copy_user_generic_string    # leaves rdi behind what it copied
.Lleft:
    mov     rdx, rax
    mov     rcx, rax
    xor     eax, eax
    rep stosb
    mov     rax, rdx
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
.Lbad:
    mov     rax, rdx
    jmp     .Lleft
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

.section .data
SYM_DATA_START(__ex_table_iov_iter)
    EX_ENTRY __ex_at_copy_words, __ex_to_copy_words, EX_TYPE_COPY
    EX_ENTRY __ex_at_copy_bytes, __ex_to_copy_done, EX_TYPE_COPY
    EX_ENTRY __ex_at_copy_tail, __ex_to_copy_done, EX_TYPE_COPY
SYM_DATA_END(__ex_table_iov_iter)
