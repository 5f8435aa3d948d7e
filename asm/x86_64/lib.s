# Strings and memory. Mirrors lib/string.c and arch/x86/lib/mem*_64.S; formats and conversions
# (lib/vsprintf.c, lib/kstrtox.c), printk and parameter types (kernel/params.c) are host functions.

.section .text

# void *memcpy(rdi to, rsi from, rdx n): not traced, as ftrace itself may copy.
SYM_FUNC_START(memcpy)
    mov     rax, rdi
    mov     rcx, rdx
    rep movsb
    jmp     __x86_return_thunk
SYM_FUNC_END(memcpy)
EXPORT_SYMBOL(memcpy)

# void *memmove(rdi to, rsi from, rdx n)
SYM_FUNC_START(memmove)
    mov     rax, rdi
    mov     rcx, rdx
    mov     r8, rdi
    sub     r8, rsi
    # Backwards only where the target starts inside the source.
    cmp     r8, rdx
    jb      .Lbackwards
    rep movsb
    jmp     __x86_return_thunk
.Lbackwards:
    lea     rdi, [rdi+rdx-1]
    lea     rsi, [rsi+rdx-1]
    std
    rep movsb
    cld
    jmp     __x86_return_thunk
SYM_FUNC_END(memmove)
EXPORT_SYMBOL(memmove)

# void *memset(rdi s, esi c, rdx n)
SYM_FUNC_START(memset)
    mov     r9, rdi
    mov     eax, esi
    mov     rcx, rdx
    rep stosb
    mov     rax, r9
    jmp     __x86_return_thunk
SYM_FUNC_END(memset)
EXPORT_SYMBOL(memset)

# The next byte of each of two texts, in eax and r8d; to \end behind rdx of them. ecx counts.
.macro NEXT_OF_BOTH end
    cmp     rcx, rdx
    je      \end
    movzx   eax, byte ptr [rdi+rcx]
    movzx   r8d, byte ptr [rsi+rcx]
    inc     rcx
.endm

# int memcmp(rdi, rsi, rdx n)
SYM_FUNC_START(memcmp)
    FENTRY
    xor     ecx, ecx
.Lnext:
    NEXT_OF_BOTH .Lequal
    sub     eax, r8d
    je      .Lnext
    jmp     __x86_return_thunk
.Lequal:
    xor     eax, eax
    jmp     __x86_return_thunk
SYM_FUNC_END(memcmp)
EXPORT_SYMBOL(memcmp)

# size_t strlen(rdi s)
SYM_FUNC_START(strlen)
    FENTRY
    mov     rax, rdi
    cmp     byte ptr [rax], 0
    je      .Lend
.Lnext:
    inc     rax
    cmp     byte ptr [rax], 0
    jne     .Lnext
.Lend:
    sub     rax, rdi
    jmp     __x86_return_thunk
SYM_FUNC_END(strlen)
EXPORT_SYMBOL(strlen)

# size_t strnlen(rdi s, rsi count)
SYM_FUNC_START(strnlen)
    FENTRY
    xor     eax, eax
.Lnext:
    cmp     rax, rsi
    je      .Lend
    cmp     byte ptr [rdi+rax], 0
    je      .Lend
    inc     rax
    jmp     .Lnext
.Lend:
    jmp     __x86_return_thunk
SYM_FUNC_END(strnlen)
EXPORT_SYMBOL(strnlen)

# int strcmp(rdi, rsi): -1, 0 or 1
SYM_FUNC_START(strcmp)
    FENTRY
    xor     ecx, ecx
.Lnext:
    movzx   eax, byte ptr [rdi+rcx]
    movzx   edx, byte ptr [rsi+rcx]
    inc     rcx
    cmp     al, dl
    jne     .Ldifferent
    test    al, al
    jne     .Lnext
    xor     eax, eax
    jmp     __x86_return_thunk
.Ldifferent:
    sbb     eax, eax
    or      eax, 1
    jmp     __x86_return_thunk
SYM_FUNC_END(strcmp)
EXPORT_SYMBOL(strcmp)

# int strncmp(rdi, rsi, rdx count)
SYM_FUNC_START(strncmp)
    FENTRY
    xor     ecx, ecx
.Lnext:
    NEXT_OF_BOTH .Lequal
    cmp     al, r8b
    jne     .Ldifferent
    test    al, al
    jne     .Lnext
.Lequal:
    xor     eax, eax
    jmp     __x86_return_thunk
.Ldifferent:
    sbb     eax, eax
    or      eax, 1
    jmp     __x86_return_thunk
SYM_FUNC_END(strncmp)
EXPORT_SYMBOL(strncmp)

# char *strcpy(rdi dest, rsi src)
SYM_FUNC_START(strcpy)
    FENTRY
    xor     ecx, ecx
.Lnext:
    movzx   eax, byte ptr [rsi+rcx]
    mov     [rdi+rcx], al
    inc     rcx
    test    al, al
    jne     .Lnext
    mov     rax, rdi
    jmp     __x86_return_thunk
SYM_FUNC_END(strcpy)
EXPORT_SYMBOL(strcpy)

# char *strncpy(rdi dest, rsi src, rdx count): the rest is filled with zeros.
SYM_FUNC_START(strncpy)
    FENTRY
    xor     ecx, ecx
.Lnext:
    cmp     rcx, rdx
    je      .Lend
    movzx   eax, byte ptr [rsi]
    mov     [rdi+rcx], al
    inc     rcx
    cmp     al, 1
    sbb     rsi, -1
    jmp     .Lnext
.Lend:
    mov     rax, rdi
    jmp     __x86_return_thunk
SYM_FUNC_END(strncpy)
EXPORT_SYMBOL(strncpy)

# ssize_t strscpy(rdi dest, rsi src, rdx count): length, or -E2BIG when cut.
SYM_FUNC_START(strscpy)
    FENTRY
    test    rdx, rdx
    je      .Ltoobig
    xor     eax, eax
.Lnext:
    movzx   ecx, byte ptr [rsi+rax]
    mov     [rdi+rax], cl
    test    cl, cl
    je      .Lend
    inc     rax
    cmp     rax, rdx
    jne     .Lnext
    mov     byte ptr [rdi+rax-1], 0
.Ltoobig:
    mov     rax, -E2BIG
.Lend:
    jmp     __x86_return_thunk
SYM_FUNC_END(strscpy)
EXPORT_SYMBOL(strscpy)

# size_t strlcpy(rdi dest, rsi src, rdx size): length of src.
SYM_FUNC_START(strlcpy)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    push    rbx
    mov     rbp_r12, rdi
    mov     rbx, rdx
    push    rsi
    mov     rdi, rsi
    call    strlen
    pop     rsi
    test    rbx, rbx
    je      .Lend
    dec     rbx
    mov     rcx, rax
    cmp     rcx, rbx
    cmova   rcx, rbx
    mov     rdi, rbp_r12
    rep movsb
    mov     byte ptr [rdi], 0
.Lend:
    pop     rbx
    pop     rbp_r12
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(strlcpy)
EXPORT_SYMBOL(strlcpy)

# char *strchr(rdi s, esi c)
SYM_FUNC_START(strchr)
    FENTRY
    mov     rax, rdi
.Lnext:
    movzx   edx, byte ptr [rax]
    cmp     dl, sil
    je      .Lend
    inc     rax
    test    dl, dl
    jne     .Lnext
    xor     eax, eax
.Lend:
    jmp     __x86_return_thunk
SYM_FUNC_END(strchr)
EXPORT_SYMBOL(strchr)

# char *strrchr(rdi s, esi c)
SYM_FUNC_START(strrchr)
    FENTRY
    xor     eax, eax
.Lnext:
    movzx   edx, byte ptr [rdi]
    cmp     dl, sil
    cmove   rax, rdi
    inc     rdi
    test    dl, dl
    jne     .Lnext
    jmp     __x86_return_thunk
SYM_FUNC_END(strrchr)
EXPORT_SYMBOL(strrchr)

# kernel/printk/printk.c
HOST_FUNC _printk
EXPORT_SYMBOL(_printk)
HOST_FUNC vprintk
EXPORT_SYMBOL(vprintk)
# int vprintk_emit(edi facility, esi level, rdx dev_info, rcx fmt, r8 args)
.ifdef REAL_KERNEL
# Bytes of a record's text and a NUL.
.ifdef PRINTK_RECORD_IS_1024
.set PRINTK_TEXT_MAX, 1024
.else
.set PRINTK_TEXT_MAX, 1024 - 32
.endif
# The kernel's own vsnprintf() makes the text, while nothing interrupts.
SYM_FUNC_START(vprintk_emit)
    FENTRY
    FRAME_BEGIN
    push    rbx
    pushfq
    cli
    mov     ebx, esi
    sub     rsp, PRINTK_TEXT_MAX + 8
    mov     rdi, rsp
    mov     esi, PRINTK_TEXT_MAX
    mov     rdx, rcx
    mov     rcx, r8
    call    vsnprintf
    mov     ecx, PRINTK_TEXT_MAX - 1
    cmp     eax, ecx
    cmova   eax, ecx
    mov     rdi, rsp
    mov     esi, eax
    mov     edx, ebx
    call    printk_store
    add     rsp, PRINTK_TEXT_MAX + 8
    popfq
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(vprintk_emit)
# int printk_store(rdi text, esi length, edx level)
HOST_FUNC_NOTRACE printk_store
.else
HOST_FUNC vprintk_emit
.endif
EXPORT_SYMBOL(vprintk_emit)
HOST_FUNC _printk_deferred
EXPORT_SYMBOL_GPL(_printk_deferred)
HOST_FUNC __warn_printk
EXPORT_SYMBOL(__warn_printk)
.ifdef WARN_IS_TRAP

# void __WARN_trap(rdi bug, ...): the arguments are those of the message. Mirrors arch/x86/entry/entry.S.
SYM_FUNC_START(__WARN_trap)
    .byte   0x67, 0x48, 0x0f, 0xb9, 0x3a # ud1 (%edx), %rdi
    jmp     __x86_return_thunk
SYM_FUNC_END(__WARN_trap)
EXPORT_SYMBOL(__WARN_trap)

.endif
HOST_FUNC ___ratelimit
EXPORT_SYMBOL(___ratelimit)
.ifdef REAL_KERNEL

# kernel/kallsyms.c: int NAME(rdi buffer, rsi address), by which its vsnprintf() knows what an address is called
HOST_FUNC sprint_symbol
EXPORT_SYMBOL_GPL(sprint_symbol)
HOST_FUNC sprint_symbol_build_id
EXPORT_SYMBOL_GPL(sprint_symbol_build_id)
HOST_FUNC sprint_symbol_no_offset
EXPORT_SYMBOL_GPL(sprint_symbol_no_offset)
HOST_FUNC sprint_backtrace
HOST_FUNC sprint_backtrace_build_id
.endif

# lib/vsprintf.c, lib/kasprintf.c
HOST_FUNC vsnprintf
EXPORT_SYMBOL(vsnprintf)
HOST_FUNC vscnprintf
EXPORT_SYMBOL(vscnprintf)
HOST_FUNC snprintf
EXPORT_SYMBOL(snprintf)
HOST_FUNC scnprintf
EXPORT_SYMBOL(scnprintf)
HOST_FUNC sprintf
EXPORT_SYMBOL(sprintf)
HOST_FUNC vsprintf
EXPORT_SYMBOL(vsprintf)
HOST_FUNC sscanf
EXPORT_SYMBOL(sscanf)
HOST_FUNC vsscanf
EXPORT_SYMBOL(vsscanf)
HOST_FUNC kasprintf
EXPORT_SYMBOL(kasprintf)
HOST_FUNC kvasprintf
EXPORT_SYMBOL(kvasprintf)
HOST_FUNC simple_strtoull
EXPORT_SYMBOL(simple_strtoull)
HOST_FUNC simple_strtoul
EXPORT_SYMBOL(simple_strtoul)
HOST_FUNC simple_strtoll
EXPORT_SYMBOL(simple_strtoll)
HOST_FUNC simple_strtol
EXPORT_SYMBOL(simple_strtol)

# lib/kstrtox.c: the number where the last argument points, or an error
HOST_FUNC kstrtoull
EXPORT_SYMBOL(kstrtoull)
HOST_FUNC kstrtoll
EXPORT_SYMBOL(kstrtoll)
HOST_FUNC _kstrtoul
EXPORT_SYMBOL(_kstrtoul)
HOST_FUNC _kstrtol
EXPORT_SYMBOL(_kstrtol)
HOST_FUNC kstrtouint
EXPORT_SYMBOL(kstrtouint)
HOST_FUNC kstrtoint
EXPORT_SYMBOL(kstrtoint)
HOST_FUNC kstrtou16
EXPORT_SYMBOL(kstrtou16)
HOST_FUNC kstrtos16
EXPORT_SYMBOL(kstrtos16)
HOST_FUNC kstrtou8
EXPORT_SYMBOL(kstrtou8)
HOST_FUNC kstrtos8
EXPORT_SYMBOL(kstrtos8)
HOST_FUNC kstrtobool
EXPORT_SYMBOL(kstrtobool)

# kernel/params.c: struct kernel_param_ops { flags, set, get, free } of each type.
# struct kernel_param_ops
.macro PARAM_FUNCTIONS name, set, get, flags=0, free=0
SYM_DATA_START(\name)
    MEMBERS
    MEMBER kernel_param_ops_flags, \flags, 4
    MEMBER kernel_param_ops_set, \set
    MEMBER kernel_param_ops_get, \get
    MEMBER kernel_param_ops_free, \free
    MEMBERS_END sizeof_kernel_param_ops
SYM_DATA_END(\name)
EXPORT_SYMBOL(\name)
.endm
.macro PARAM_OPS type, flags=0, free=0
HOST_FUNC param_set_\type
EXPORT_SYMBOL(param_set_\type)
HOST_FUNC param_get_\type
EXPORT_SYMBOL(param_get_\type)
.section .rodata
PARAM_FUNCTIONS param_ops_\type, param_set_\type, param_get_\type, \flags, \free
.section .text
.endm

PARAM_OPS byte
PARAM_OPS short
PARAM_OPS ushort
PARAM_OPS int
PARAM_OPS uint
PARAM_OPS long
PARAM_OPS ulong
PARAM_OPS ullong
PARAM_OPS hexint
PARAM_OPS charp, free=param_free_charp
HOST_FUNC param_free_charp
EXPORT_SYMBOL(param_free_charp)
PARAM_OPS bool, KERNEL_PARAM_OPS_FL_NOARG
PARAM_OPS invbool
HOST_FUNC param_set_copystring
EXPORT_SYMBOL(param_set_copystring)
HOST_FUNC param_get_string
EXPORT_SYMBOL(param_get_string)

.section .rodata
PARAM_FUNCTIONS param_ops_string, param_set_copystring, param_get_string

# Arrays: max, elemsize, num, ops and elem of struct kparam_array say how.
.section .text
HOST_FUNC param_array_set
HOST_FUNC param_array_get

HOST_FUNC param_array_free

.section .rodata
PARAM_FUNCTIONS param_array_ops, param_array_set, param_array_get, free=param_array_free
