# What refcount_t does when a count goes where it must not. Mirrors lib/refcount.c.

.set REFCOUNT_SATURATED, 0xc0000000
.set REFCOUNT_DEC_LEAK, 4

.section .text

# The warning of one kind, which is in ebx. What follows the ud2 is reached without it too.
.macro WARN_KIND kind:req
    cmp     ebx, \kind
    jne     .Lnot_\kind
    mov     rdi, [refcount_texts+\kind*8]
    xor     eax, eax
    call    __warn_printk
__bug_at_refcount_\kind:
    ud2
.Lnot_\kind:
.endm

# void refcount_warn_saturate(rdi r, esi kind): each kind warns once
SYM_FUNC_START(refcount_warn_saturate)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     dword ptr [rdi], REFCOUNT_SATURATED
    mov     ebx, esi
    cmp     ebx, REFCOUNT_DEC_LEAK
    ja      .Lout
    mov     eax, 1
    xchg    [rbx+refcount_warned], al
    test    al, al
    jne     .Lout
.irp kind, 0, 1, 2, 3, 4
    WARN_KIND \kind
.endr
.Lout:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(refcount_warn_saturate)
EXPORT_SYMBOL(refcount_warn_saturate)

.section .rodata
.macro TEXT name:req, text:req
SYM_DATA_START_LOCAL(\name)
    .asciz  \text
SYM_DATA_END(\name)
.endm
TEXT refcount_text_saturated, "refcount_t: saturated; leaking memory.\n"
TEXT refcount_text_add_uaf, "refcount_t: addition on 0; use-after-free.\n"
TEXT refcount_text_sub_uaf, "refcount_t: underflow; use-after-free.\n"
TEXT refcount_text_dec_leak, "refcount_t: decrement hit 0; leaking memory.\n"
SYM_DATA_START_LOCAL(refcount_texts)
    .quad   refcount_text_saturated, refcount_text_saturated, refcount_text_add_uaf
    .quad   refcount_text_sub_uaf, refcount_text_dec_leak
SYM_DATA_END(refcount_texts)
SYM_DATA_START_LOCAL(refcount_file)
    .asciz  "lib/refcount.c"
SYM_DATA_END(refcount_file)

.section .data
SYM_DATA_START_LOCAL(refcount_warned)
    .skip   5
SYM_DATA_END(refcount_warned)
SYM_DATA_START(__bug_table_refcount)
    BUG_ENTRY __bug_at_refcount_0, refcount_file, 19, BUGFLAG_WARN
    BUG_ENTRY __bug_at_refcount_1, refcount_file, 22, BUGFLAG_WARN
    BUG_ENTRY __bug_at_refcount_2, refcount_file, 25, BUGFLAG_WARN
    BUG_ENTRY __bug_at_refcount_3, refcount_file, 28, BUGFLAG_WARN
    BUG_ENTRY __bug_at_refcount_4, refcount_file, 31, BUGFLAG_WARN
SYM_DATA_END(__bug_table_refcount)
