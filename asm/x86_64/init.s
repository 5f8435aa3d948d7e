# What a real kernel's boot does for itself: its own init functions, one behind the other, in a task of their own that
# ends then. Mirrors kernel_init() and do_initcalls() of init/main.c; which functions is known to
# src/machine/native/initcalls.ts.

.ifdef REAL_KERNEL

.section .text

# int kernel_init(void *unused)
SYM_FUNC_START(kernel_init)
    FENTRY
    FRAME_BEGIN
    push    rbx
    call    do_initcalls
    xor     edi, edi
    call    do_exit
SYM_FUNC_END(kernel_init)
NORETURN(kernel_init)

HOST_FUNC_NOTRACE do_initcalls

# void *alloc_large_system_hash(rdi name, rsi bucket size, rdx entries, ecx scale, r8d flags, r9 shift, mask, low, high)
HOST_FUNC_NOTRACE alloc_large_system_hash
# void text_poke_early(rdi addr, rsi opcode, rdx len)
HOST_FUNC text_poke_early
# void ptp_classifier_init(void)
HOST_FUNC_NOTRACE ptp_classifier_init

# struct btf *btf_parse_vmlinux(void)
HOST_FUNC btf_parse_vmlinux

.endif
