# One word, or a string, of a user's memory. Mirrors arch/x86/lib/getuser.S and putuser.S, and lib/strncpy_from_user.c.

.section .text

# A word may begin below TASK_SIZE_MAX - its bytes + 1. Uses \scratch.
.macro USER_WORD at, scratch, bytes, bad
    movabs  \scratch, TASK_SIZE_MAX-\bytes+1
    cmp     \at, \scratch
    jae     \bad
.endm

# rax: where. The value in rdx, in eax 0 or -EFAULT; no other register changes.
.macro GET_USER bytes, insn, value, place
SYM_FUNC_START(__get_user_\bytes)
    USER_WORD rax, rdx, \bytes, .Lbad
    ASM_STAC
__ex_at_get_\bytes:
    \insn \value, \place ptr [rax]
    xor     eax, eax
    ASM_CLAC
    jmp     __x86_return_thunk
.Lbad:
    jmp     __ex_to_get
SYM_FUNC_END(__get_user_\bytes)
EXPORT_SYMBOL(__get_user_\bytes)

SYM_FUNC_START(__get_user_nocheck_\bytes)
    ASM_STAC
__ex_at_get_nocheck_\bytes:
    \insn \value, \place ptr [rax]
    xor     eax, eax
    ASM_CLAC
    jmp     __x86_return_thunk
SYM_FUNC_END(__get_user_nocheck_\bytes)
EXPORT_SYMBOL(__get_user_nocheck_\bytes)
.endm
GET_USER 1, movzx, edx, byte
GET_USER 2, movzx, edx, word
GET_USER 4, mov, edx, dword
GET_USER 8, mov, rdx, qword

SYM_CODE_START_LOCAL(bad_get_user)
__ex_to_get:
    ASM_CLAC
    xor     edx, edx
    mov     rax, -EFAULT
    jmp     __x86_return_thunk
SYM_CODE_END(bad_get_user)

# rcx: where, rax: the value. In ecx 0 or -EFAULT; rbx changes.
.macro PUT_USER bytes, value, place
SYM_FUNC_START(__put_user_\bytes)
    USER_WORD rcx, rbx, \bytes, .Lbad
    ASM_STAC
__ex_at_put_\bytes:
    mov     \place ptr [rcx], \value
    xor     ecx, ecx
    ASM_CLAC
    jmp     __x86_return_thunk
.Lbad:
    jmp     __ex_to_put
SYM_FUNC_END(__put_user_\bytes)
EXPORT_SYMBOL(__put_user_\bytes)

SYM_FUNC_START(__put_user_nocheck_\bytes)
    ASM_STAC
__ex_at_put_nocheck_\bytes:
    mov     \place ptr [rcx], \value
    xor     ecx, ecx
    ASM_CLAC
    jmp     __x86_return_thunk
SYM_FUNC_END(__put_user_nocheck_\bytes)
EXPORT_SYMBOL(__put_user_nocheck_\bytes)
.endm
PUT_USER 1, al, byte
PUT_USER 2, ax, word
PUT_USER 4, eax, dword
PUT_USER 8, rax, qword

SYM_CODE_START_LOCAL(bad_put_user)
__ex_to_put:
    ASM_CLAC
    mov     ecx, -EFAULT
    jmp     __x86_return_thunk
SYM_CODE_END(bad_put_user)

# long strncpy_from_user(rdi to, rsi from, rdx bytes): characters before the NUL, `bytes` without one, or -EFAULT.
SYM_FUNC_START(strncpy_from_user)
    FENTRY
    xor     eax, eax
    test    rdx, rdx
    jle     .Lout
    movabs  rcx, TASK_SIZE_MAX
    sub     rcx, rsi                    # bytes of the user's from there on
    jbe     .Lbad
    ASM_STAC
.Lnext:
    cmp     rax, rdx
    je      .Ldone
    cmp     rax, rcx
    je      __ex_to_strncpy
__ex_at_strncpy:
    movzx   r8d, byte ptr [rsi+rax]
    mov     [rdi+rax], r8b
    test    r8d, r8d
    je      .Ldone
    inc     rax
    jmp     .Lnext
__ex_to_strncpy:
    mov     rax, -EFAULT
.Ldone:
    ASM_CLAC
.Lout:
    jmp     __x86_return_thunk
.Lbad:
    mov     rax, -EFAULT
    jmp     __x86_return_thunk
SYM_FUNC_END(strncpy_from_user)
EXPORT_SYMBOL(strncpy_from_user)

.section .data
SYM_DATA_START(__ex_table_getuser)
.irp bytes, 1, 2, 4, 8
    EX_ENTRY __ex_at_get_\bytes, __ex_to_get
    EX_ENTRY __ex_at_get_nocheck_\bytes, __ex_to_get
    EX_ENTRY __ex_at_put_\bytes, __ex_to_put
    EX_ENTRY __ex_at_put_nocheck_\bytes, __ex_to_put
.endr
    EX_ENTRY __ex_at_strncpy, __ex_to_strncpy
SYM_DATA_END(__ex_table_getuser)
