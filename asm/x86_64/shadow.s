# Shadow variables: data that a patch hangs on a structure it does not own, found by the structure's address
# and an identifier. Mirrors kernel/livepatch/shadow.c.
#
# Invariant: at most one variable for each <obj, id>; the table changes only under klp_shadow_lock. Constructors
# and destructors run under it too, with interrupts off. Readers take no lock: memory goes after a grace period.

.set GOLDEN_RATIO_64, 0x61c8864680b583eb

.section .text

# The bucket of an object: hash_64() of its address.
.macro SHADOW_BUCKET reg, obj
    movabs  \reg, GOLDEN_RATIO_64
    imul    \reg, \obj
    shr     \reg, 64 - KLP_SHADOW_HASH_BITS
    lea     \reg, [\reg*8+klp_shadow_hash]
.endm

# The shadow variable of an object, by its number; 0, and to \none, where there is none.
.macro FIND_SHADOW reg, obj, id, none
    SHADOW_BUCKET \reg, \obj
.Lnext:
    mov     \reg, [\reg]
    test    \reg, \reg
    je      \none
    cmp     [\reg+klp_shadow_obj], \obj
    jne     .Lnext
    cmp     [\reg+klp_shadow_id], \id
    jne     .Lnext
.endm

# Flags are kept at [rsp].
.macro SHADOW_LOCK
    mov     rdi, offset klp_shadow_lock
    call    _raw_spin_lock_irqsave
    mov     [rsp], rax
.endm
.macro SHADOW_UNLOCK
    mov     rdi, offset klp_shadow_lock
    mov     rsi, [rsp]
    call    _raw_spin_unlock_irqrestore
.endm

# void *klp_shadow_get(rdi obj, rsi id): the data, or NULL
SYM_FUNC_START(klp_shadow_get)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbx
    mov     r12, rdi
    mov     r13, rsi
    call    __rcu_read_lock
    FIND_SHADOW rbx, r12, r13, .Lout
    add     rbx, klp_shadow_data
.Lout:
    call    __rcu_read_unlock
    mov     rax, rbx
    pop     rbx
    pop     r12
    pop     r13
    FRAME_END
    RET
SYM_FUNC_END(klp_shadow_get)
EXPORT_SYMBOL_GPL(klp_shadow_get)

# void *__klp_shadow_get_or_alloc(rdi obj, rsi id, rdx size, ecx gfp, r8 ctor, r9 ctor_data, r10d warn_on_exist)
.set shadow_warn_on_exist, 8
.set shadow_size, 16
.set shadow_gfp, 24
SYM_FUNC_START_LOCAL(__klp_shadow_get_or_alloc)
    FENTRY
    FRAME_BEGIN
    push    r15
    push    r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 0x20
    mov     r12, rdi
    mov     r13, rsi
    mov     r14, r8
    mov     r15, r9
    mov     [rsp+shadow_warn_on_exist], r10
    mov     [rsp+shadow_size], rdx
    mov     [rsp+shadow_gfp], rcx
    call    klp_shadow_get
    test    rax, rax
    jne     .Lexists
    # Before the lock: this may sleep.
    mov     rdi, [rsp+shadow_size]
    add     rdi, klp_shadow_data
    mov     esi, [rsp+shadow_gfp]
    or      esi, __GFP_ZERO
    call    __kmalloc
    test    rax, rax
    je      .Lnull
    mov     rbx, rax
    SHADOW_LOCK
    # Somebody may have made it since.
    mov     rsi, r13
    mov     rdi, r12
    call    klp_shadow_get
    test    rax, rax
    je      .Lnew
    mov     r14, rax
    SHADOW_UNLOCK
    mov     rdi, rbx
    call    kfree
    mov     rax, r14
.Lexists:
    cmp     dword ptr [rsp+shadow_warn_on_exist], 0
    je      .Lout
    mov     rdx, r13
    mov     rsi, r12
    mov     rdi, offset klp_shadow_duplicate_text
    xor     eax, eax
    call    __warn_printk
__bug_at_klp_shadow_duplicate:
    ud2
.Lnull:
    xor     eax, eax
.Lout:
    add     rsp, 0x20
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    FRAME_END
    RET
.Lnew:
    mov     [rbx+klp_shadow_obj], r12
    mov     [rbx+klp_shadow_id], r13
    test    r14, r14
    je      .Ladd
    mov     rdx, r15
    lea     rsi, [rbx+klp_shadow_data]
    mov     rdi, r12
    mov     rax, r14
    call    __x86_indirect_thunk_rax
    test    eax, eax
    je      .Ladd
    mov     r14d, eax
    SHADOW_UNLOCK
    mov     rdi, rbx
    call    kfree
    mov     ecx, r14d
    mov     rdx, r13
    mov     rsi, r12
    mov     rdi, offset klp_shadow_failed_text
    xor     eax, eax
    call    _printk
    jmp     .Lnull
.Ladd:
    # hash_add_rcu(): whole before a reader can find it.
    SHADOW_BUCKET rax, r12
    mov     rcx, [rax]
    mov     [rbx+klp_shadow_node_next], rcx
    mov     [rbx+klp_shadow_node_pprev], rax
    mov     [rax], rbx
    test    rcx, rcx
    je      .Ladded
    mov     [rcx+klp_shadow_node_pprev], rbx
.Ladded:
    SHADOW_UNLOCK
    lea     rax, [rbx+klp_shadow_data]
    jmp     .Lout
SYM_FUNC_END(__klp_shadow_get_or_alloc)

# void *klp_shadow_alloc(obj, id, size, gfp_flags, ctor, ctor_data): NULL, with a warning, where there is one
SYM_FUNC_START(klp_shadow_alloc)
    FENTRY
    mov     r10d, 1
    TAIL_CALL __klp_shadow_get_or_alloc
SYM_FUNC_END(klp_shadow_alloc)
EXPORT_SYMBOL_GPL(klp_shadow_alloc)

SYM_FUNC_START(klp_shadow_get_or_alloc)
    FENTRY
    xor     r10d, r10d
    TAIL_CALL __klp_shadow_get_or_alloc
SYM_FUNC_END(klp_shadow_get_or_alloc)
EXPORT_SYMBOL_GPL(klp_shadow_get_or_alloc)

# void klp_shadow_free_struct(rdi shadow, rsi dtor): with the lock held
SYM_FUNC_START_LOCAL(klp_shadow_free_struct)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
    # hash_del_rcu(): a reader that stands on it still finds the way on.
    mov     rax, [rbx+klp_shadow_node_next]
    mov     rcx, [rbx+klp_shadow_node_pprev]
    mov     [rcx], rax
    test    rax, rax
    je      .Ldeleted
    mov     [rax+klp_shadow_node_pprev], rcx
.Ldeleted:
    movabs  rax, LIST_POISON2
    mov     [rbx+klp_shadow_node_pprev], rax
    test    rsi, rsi
    je      .Lfree
    mov     rax, rsi
    lea     rsi, [rbx+klp_shadow_data]
    mov     rdi, [rbx+klp_shadow_obj]
    call    __x86_indirect_thunk_rax
.Lfree:
    lea     rdi, [rbx+klp_shadow_rcu_head]
    mov     esi, klp_shadow_rcu_head
    call    kvfree_call_rcu
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(klp_shadow_free_struct)

# void klp_shadow_free(rdi obj, rsi id, rdx dtor)
SYM_FUNC_START(klp_shadow_free)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbx
    sub     rsp, 8
    mov     rbx, rdi
    mov     r12, rsi
    mov     r13, rdx
    SHADOW_LOCK
    FIND_SHADOW rdi, rbx, r12, .Lunlock
    mov     rsi, r13
    call    klp_shadow_free_struct
.Lunlock:
    SHADOW_UNLOCK
    add     rsp, 8
    pop     rbx
    pop     r12
    pop     r13
    FRAME_END
    RET
SYM_FUNC_END(klp_shadow_free)
EXPORT_SYMBOL_GPL(klp_shadow_free)

# void klp_shadow_free_all(rdi id, rsi dtor)
SYM_FUNC_START(klp_shadow_free_all)
    FENTRY
    FRAME_BEGIN
    push    r14
    push    r13
    push    r12
    push    rbx
    sub     rsp, 8
    mov     r12, rdi
    mov     r13, rsi
    SHADOW_LOCK
    xor     r14d, r14d
.Lbucket:
    mov     rbx, [r14*8+klp_shadow_hash]
.Lshadow:
    test    rbx, rbx
    je      .Lnext
    mov     rdi, rbx
    mov     rbx, [rbx]
    cmp     [rdi+klp_shadow_id], r12
    jne     .Lshadow
    mov     rsi, r13
    call    klp_shadow_free_struct
    jmp     .Lshadow
.Lnext:
    inc     r14d
    cmp     r14d, 1 << KLP_SHADOW_HASH_BITS
    jne     .Lbucket
    SHADOW_UNLOCK
    add     rsp, 8
    pop     rbx
    pop     r12
    pop     r13
    pop     r14
    FRAME_END
    RET
SYM_FUNC_END(klp_shadow_free_all)
EXPORT_SYMBOL_GPL(klp_shadow_free_all)

.section .rodata
SYM_DATA_START_LOCAL(klp_shadow_duplicate_text)
    .asciz  "Duplicate shadow variable <%p, %lx>\n"
SYM_DATA_END(klp_shadow_duplicate_text)
SYM_DATA_START_LOCAL(klp_shadow_failed_text)
    .byte   1
    .asciz  "3livepatch: Failed to construct shadow variable <%p, %lx> (%d)\n"
SYM_DATA_END(klp_shadow_failed_text)
SYM_DATA_START_LOCAL(klp_shadow_file)
    .asciz  "kernel/livepatch/shadow.c"
SYM_DATA_END(klp_shadow_file)

.section .data
SYM_DATA_START(klp_shadow_lock)
    .long   0
SYM_DATA_END(klp_shadow_lock)

SYM_DATA_START(__bug_table_klp_shadow)
    BUG_ENTRY __bug_at_klp_shadow_duplicate, klp_shadow_file, 165, BUGFLAG_WARN
SYM_DATA_END(__bug_table_klp_shadow)

.section .bss
SYM_DATA_START(klp_shadow_hash)
    .skip   8 << KLP_SHADOW_HASH_BITS
SYM_DATA_END(klp_shadow_hash)
