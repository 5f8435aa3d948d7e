# The checks that list_add() and list_del() of modules make first. Mirrors lib/list_debug.c with
# CONFIG_BUG_ON_DATA_CORRUPTION: a list that is not one is a BUG().

.section .text

# The text has its values in rsi, rdx and rcx.
.macro CORRUPTION bug:req, text:req
    mov     rdi, offset \text
    xor     eax, eax
    call    _printk
\bug:
    ud2
.endm

# bool __list_add_valid(rdi new, rsi prev, rdx next)
SYM_FUNC_START(__list_add_valid)
    FENTRY
    FRAME_BEGIN
    test    rsi, rsi
    je      .Lprev_null
    test    rdx, rdx
    je      .Lnext_null
    mov     rax, [rdx+list_head_prev]
    cmp     rax, rsi
    jne     .Lnext_prev
    mov     rax, [rsi+list_head_next]
    cmp     rax, rdx
    jne     .Lprev_next
    cmp     rdi, rsi
    je      .Ldouble
    cmp     rdi, rdx
    je      .Ldouble
    mov     eax, 1
    FRAME_END
    jmp     __x86_return_thunk
.Lprev_null:
    sub     rsp, 8
    CORRUPTION __bug_at_list_add_prev_null, list_add_text_prev_null
.Lnext_null:
    sub     rsp, 8
    CORRUPTION __bug_at_list_add_next_null, list_add_text_next_null
.Lnext_prev:
    sub     rsp, 8
    mov     rcx, rdx
    mov     rdx, rax
    CORRUPTION __bug_at_list_add_next_prev, list_add_text_next_prev
.Lprev_next:
    sub     rsp, 8
    mov     rcx, rsi
    mov     rsi, rdx
    mov     rdx, rax
    CORRUPTION __bug_at_list_add_prev_next, list_add_text_prev_next
.Ldouble:
    sub     rsp, 8
    mov     rcx, rdx
    mov     rdx, rsi
    mov     rsi, rdi
    CORRUPTION __bug_at_list_add_double, list_add_text_double
SYM_FUNC_END(__list_add_valid)
EXPORT_SYMBOL(__list_add_valid)

# bool __list_del_entry_valid(rdi entry)
SYM_FUNC_START(__list_del_entry_valid)
    FENTRY
    FRAME_BEGIN
    mov     rdx, [rdi+list_head_next]
    mov     rcx, [rdi+list_head_prev]
    test    rdx, rdx
    je      .Lnext_null
    test    rcx, rcx
    je      .Lprev_null
    movabs  rax, LIST_POISON1
    cmp     rdx, rax
    je      .Lnext_poison
    movabs  rax, LIST_POISON2
    cmp     rcx, rax
    je      .Lprev_poison
    mov     rax, [rcx+list_head_next]
    cmp     rax, rdi
    jne     .Lprev_next
    mov     rax, [rdx+list_head_prev]
    cmp     rax, rdi
    jne     .Lnext_prev
    mov     eax, 1
    FRAME_END
    jmp     __x86_return_thunk
.Lnext_null:
    sub     rsp, 8
    mov     rsi, rdi
    CORRUPTION __bug_at_list_del_next_null, list_del_text_next_null
.Lprev_null:
    sub     rsp, 8
    mov     rsi, rdi
    CORRUPTION __bug_at_list_del_prev_null, list_del_text_prev_null
.Lnext_poison:
    sub     rsp, 8
    mov     rsi, rdi
    mov     rdx, rax
    CORRUPTION __bug_at_list_del_next_poison, list_del_text_next_poison
.Lprev_poison:
    sub     rsp, 8
    mov     rsi, rdi
    mov     rdx, rax
    CORRUPTION __bug_at_list_del_prev_poison, list_del_text_prev_poison
.Lprev_next:
    sub     rsp, 8
    mov     rsi, rdi
    mov     rdx, rax
    CORRUPTION __bug_at_list_del_prev_next, list_del_text_prev_next
.Lnext_prev:
    sub     rsp, 8
    mov     rsi, rdi
    mov     rcx, rdx
    mov     rdx, rax
    CORRUPTION __bug_at_list_del_next_prev, list_del_text_next_prev
SYM_FUNC_END(__list_del_entry_valid)
EXPORT_SYMBOL(__list_del_entry_valid)

.section .rodata
# KERN_ERR, then the text.
.macro TEXT name:req, text:req
SYM_DATA_START_LOCAL(\name)
    .byte   1
    .asciz  \text
SYM_DATA_END(\name)
.endm
TEXT list_add_text_prev_null, "3list_add corruption. prev is NULL.\n"
TEXT list_add_text_next_null, "3list_add corruption. next is NULL.\n"
TEXT list_add_text_next_prev, "3list_add corruption. next->prev should be prev (%px), but was %px. (next=%px).\n"
TEXT list_add_text_prev_next, "3list_add corruption. prev->next should be next (%px), but was %px. (prev=%px).\n"
TEXT list_add_text_double, "3list_add double add: new=%px, prev=%px, next=%px.\n"
TEXT list_del_text_next_null, "3list_del corruption, %px->next is NULL\n"
TEXT list_del_text_prev_null, "3list_del corruption, %px->prev is NULL\n"
TEXT list_del_text_next_poison, "3list_del corruption, %px->next is LIST_POISON1 (%px)\n"
TEXT list_del_text_prev_poison, "3list_del corruption, %px->prev is LIST_POISON2 (%px)\n"
TEXT list_del_text_prev_next, "3list_del corruption. prev->next should be %px, but was %px. (prev=%px)\n"
TEXT list_del_text_next_prev, "3list_del corruption. next->prev should be %px, but was %px. (next=%px)\n"

SYM_DATA_START_LOCAL(list_debug_file)
    .asciz  "lib/list_debug.c"
SYM_DATA_END(list_debug_file)

.section .data
SYM_DATA_START(__bug_table_list_debug)
    BUG_ENTRY __bug_at_list_add_prev_null, list_debug_file, 23
    BUG_ENTRY __bug_at_list_add_next_null, list_debug_file, 25
    BUG_ENTRY __bug_at_list_add_next_prev, list_debug_file, 27
    BUG_ENTRY __bug_at_list_add_prev_next, list_debug_file, 30
    BUG_ENTRY __bug_at_list_add_double, list_debug_file, 33
    BUG_ENTRY __bug_at_list_del_next_null, list_debug_file, 49
    BUG_ENTRY __bug_at_list_del_prev_null, list_debug_file, 51
    BUG_ENTRY __bug_at_list_del_next_poison, list_debug_file, 53
    BUG_ENTRY __bug_at_list_del_prev_poison, list_debug_file, 56
    BUG_ENTRY __bug_at_list_del_prev_next, list_debug_file, 59
    BUG_ENTRY __bug_at_list_del_next_prev, list_debug_file, 62
SYM_DATA_END(__bug_table_list_debug)
