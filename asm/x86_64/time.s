# Clocks and conversions of time for modules. Mirrors kernel/time/timekeeping.c, time.c, timer.c (round_jiffies);
# src/sched/time.ts has the host functions. Random numbers: drivers/char/random.c, src/kernel/random_bytes.ts.

.set USEC_PER_SEC, 1000000

.section .text

.macro TIME_FUNC name:req
HOST_FUNC \name
EXPORT_SYMBOL(\name)
.endm
.macro TIME_FUNC_GPL name:req
HOST_FUNC \name
EXPORT_SYMBOL_GPL(\name)
.endm

.irp name, ktime_get, ktime_get_raw, ktime_get_mono_fast_ns, ktime_get_with_offset, ktime_get_coarse_with_offset
TIME_FUNC_GPL \name
.endr
.irp name, ktime_get_seconds, ktime_get_real_seconds, ktime_get_ts64
TIME_FUNC_GPL \name
.endr
TIME_FUNC ktime_get_real_ts64
TIME_FUNC ktime_get_raw_ts64
.irp name, __msecs_to_jiffies, __usecs_to_jiffies, jiffies_to_msecs, jiffies_to_usecs
TIME_FUNC \name
.endr
.irp name, round_jiffies, round_jiffies_relative, round_jiffies_up, round_jiffies_up_relative
TIME_FUNC_GPL \name
.endr
TIME_FUNC_GPL __round_jiffies
TIME_FUNC_GPL __round_jiffies_relative

.irp name, get_random_u8, get_random_u16, get_random_u32, get_random_u64, __get_random_u32_below, get_random_bytes
TIME_FUNC \name
.endr

# void __const_udelay(rdi xloops), __udelay(rdi us), __ndelay(rdi ns): a loop of about as long, at the 400 ns an
# instruction takes unless the machine was told otherwise.
SYM_FUNC_START(__const_udelay)
    FENTRY_OF_KERNEL
    mov     rax, rdi
    xor     edx, edx
    mov     ecx, (1 << 32) / USEC_PER_SEC + 1 # loops of a microsecond
    div     rcx
    mov     rdi, rax
    TAIL_CALL __udelay
SYM_FUNC_END(__const_udelay)
EXPORT_SYMBOL(__const_udelay)

SYM_FUNC_START(__udelay)
    FENTRY_OF_KERNEL
    inc     rdi
.Lloop:
    dec     rdi
    pause
    jnz     .Lloop
    RET
SYM_FUNC_END(__udelay)
EXPORT_SYMBOL(__udelay)

SYM_FUNC_START(__ndelay)
    FENTRY_OF_KERNEL
    shr     rdi, 10
    TAIL_CALL __udelay
SYM_FUNC_END(__ndelay)
EXPORT_SYMBOL(__ndelay)

# void usleep_range_state(rdi min, rsi max, edx state): ticks are the finest sleep here
SYM_FUNC_START(usleep_range_state)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rax, rdi
    mov     ebx, edx
    xor     edx, edx
    mov     ecx, USEC_PER_SEC / HZ
    div     rcx
    lea     rdi, [rax+1]
.Lagain:
    GET_CURRENT rax
    mov     [rax+task_struct___state], ebx
    call    schedule_timeout
    mov     rdi, rax
    test    rax, rax
    jnz     .Lagain
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(usleep_range_state)
EXPORT_SYMBOL(usleep_range_state)
