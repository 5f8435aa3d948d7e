# Which CPUs there are, and where each one's copy of the per-CPU data is. Mirrors kernel/cpu.c, setup_percpu.c and
# lib/find_bit.c. The machine fills in the numbers before a CPU starts.

.section .text

# unsigned long _find_next_bit(rdi addr, rsi nbits, rdx start): nbits when there is none
SYM_FUNC_START(_find_next_bit)
    FENTRY
.Lnext:
    cmp     rdx, rsi
    jae     .Lnone
    mov     r8, rdx
    shr     r8, 6
    mov     r8, [rdi+r8*8]
    mov     ecx, edx
    shr     r8, cl                      # by the low six bits
    test    r8, r8
    jne     .Lfound
    or      rdx, 63
    inc     rdx
    jmp     .Lnext
.Lfound:
    bsf     r8, r8
    lea     rax, [rdx+r8]
    cmp     rax, rsi
    jbe     .Lout
.Lnone:
    mov     rax, rsi
.Lout:
    jmp     __x86_return_thunk
SYM_FUNC_END(_find_next_bit)
EXPORT_SYMBOL(_find_next_bit)

.section .data
SYM_DATA_START(nr_cpu_ids)
    .long   0
SYM_DATA_END(nr_cpu_ids)
EXPORT_SYMBOL(nr_cpu_ids)

.section .bss
.macro CPUMASK name
SYM_DATA_START(\name)
    .skip   NR_CPUS / 8
SYM_DATA_END(\name)
EXPORT_SYMBOL(\name)
.endm

# One word for each CPU, whatever its number.
SYM_DATA_START(__per_cpu_offset)
    .skip   NR_CPUS * 8
SYM_DATA_END(__per_cpu_offset)
EXPORT_SYMBOL(__per_cpu_offset)

CPUMASK __cpu_possible_mask
CPUMASK __cpu_present_mask
CPUMASK __cpu_online_mask
