# Return thunk and retpolines. Mirrors arch/x86/lib/retpoline.S.
#
# Where the kernel hints the start of a thunk as "end of stack", we tell the truth (a function at its
# entry): with the kernel's hint a kernel thread preempted there has a trace that ends early and is
# called reliable all the same.

SYM_CODE_START(__x86_return_thunk)
    UNWIND_HINT_FUNC
    ret
    int3
SYM_CODE_END(__x86_return_thunk)
EXPORT_SYMBOL(__x86_return_thunk)

.macro THUNK reg:req
SYM_CODE_START(__x86_indirect_thunk_\reg)
    UNWIND_HINT_FUNC
    call    .Ldo_rop
.Lspec_trap:
    UNWIND_HINT_EMPTY
    pause
    lfence
    jmp     .Lspec_trap
.Ldo_rop:
    UNWIND_HINT_FUNC
    mov     [rsp], \reg
    UNWIND_HINT_FUNC
    ret
    int3
SYM_CODE_END(__x86_indirect_thunk_\reg)
EXPORT_SYMBOL(__x86_indirect_thunk_\reg)
.endm

.irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
THUNK \reg
.endr
