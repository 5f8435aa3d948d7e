# Sleeping for a time. Mirrors kernel/time/timer.c and hrtimer.c.

.set MSEC_PER_SEC, 1000
.set NSEC_PER_SEC, 1000000000
.set NSEC_PER_JIFFY, NSEC_PER_SEC / HZ
.set MSEC_PER_JIFFY, MSEC_PER_SEC / HZ
.if MSEC_PER_JIFFY * HZ != MSEC_PER_SEC
.error "HZ divides no second into whole milliseconds"
.endif

# msecs_to_jiffies() of edi, rounded up, in eax. Uses edx, ecx where a division is no shift.
.macro MSECS_TO_JIFFIES
    lea     eax, [rdi+MSEC_PER_JIFFY-1]
.if MSEC_PER_JIFFY == 4
    shr     eax, 2
.elseif MSEC_PER_JIFFY == 2
    shr     eax, 1
.elseif MSEC_PER_JIFFY > 2
    xor     edx, edx
    mov     ecx, MSEC_PER_JIFFY
    div     ecx
.endif
.endm

# jiffies_to_msecs() of edi in eax.
.macro JIFFIES_TO_MSECS
.if MSEC_PER_JIFFY == 4
    lea     eax, [rdi*4]
.else
    imul    eax, edi, MSEC_PER_JIFFY
.endif
.endm

# edi: milliseconds
SYM_FUNC_START(msleep)
    FENTRY
    FRAME_BEGIN
    MSECS_TO_JIFFIES
    lea     rdi, [rax+1]
    push    rbx
.Lagain:
    call    schedule_timeout_uninterruptible
    mov     rdi, rax
    test    rax, rax
    jnz     .Lagain
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(msleep)
EXPORT_SYMBOL(msleep)

SYM_FUNC_START(msleep_interruptible)
    FENTRY
    FRAME_BEGIN
    MSECS_TO_JIFFIES
    lea     rdi, [rax+1]
    push    rbx
.Lagain:
    test    rdi, rdi
    jz      .Lout
    GET_CURRENT rax
    test    dword ptr [rax+task_struct_thread_info_flags], _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL
    jnz     .Lout
    call    schedule_timeout_interruptible
    mov     rdi, rax
    jmp     .Lagain
.Lout:
    JIFFIES_TO_MSECS
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(msleep_interruptible)
EXPORT_SYMBOL(msleep_interruptible)

# rdi: ns. Mirrors hrtimer_nanosleep(): a frame around do_nanosleep.
SYM_FUNC_START(hrtimer_nanosleep)
    FENTRY
    push    rbp
    mov     rbp, rsp
    push    rbx
    sub     rsp, 0x48
    call    do_nanosleep
    cmp     rax, -ERESTART_RESTARTBLOCK
    jne     .Lout
    # What restart_syscall() goes on with: nothing is added to the time already waited.
    GET_CURRENT rbx
    call    hrtimer_save_restart
    mov     rax, -ERESTART_RESTARTBLOCK
.Lout:
    add     rsp, 0x48
    pop     rbx
    pop     rbp
    RET
SYM_FUNC_END(hrtimer_nanosleep)

SYM_FUNC_START_LOCAL(common_nsleep)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    hrtimer_nanosleep
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(common_nsleep)

# rdi: struct __kernel_timespec __user *. Returns ns, or -EFAULT.
SYM_FUNC_START_LOCAL(get_timespec64)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 0x18
    mov     rsi, rdi
    mov     rdi, rsp
    mov     edx, 16
    call    _copy_from_user
    test    rax, rax
    jnz     .Lfault
    mov     rax, [rsp]
    imul    rax, rax, NSEC_PER_SEC
    add     rax, [rsp+8]
    add     rsp, 0x18
    FRAME_END
    RET
.Lfault:
    mov     rax, -EFAULT
    add     rsp, 0x18
    FRAME_END
    RET
SYM_FUNC_END(get_timespec64)

# clock_nanosleep(clockid, flags, rqtp, rmtp)
SYM_FUNC_START(__x64_sys_clock_nanosleep)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rdi, [rdi+pt_regs_dx]
    call    get_timespec64
    test    rax, rax
    js      .Lout
    mov     rdi, rax
    call    common_nsleep
.Lout:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_clock_nanosleep)

# nanosleep(rqtp, rmtp)
SYM_FUNC_START(__x64_sys_nanosleep)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    mov     rdi, [rdi+pt_regs_di]
    call    get_timespec64
    test    rax, rax
    js      .Lout
    mov     rdi, rax
    call    hrtimer_nanosleep
.Lout:
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_nanosleep)

SYM_FUNC_START(__x64_sys_restart_syscall)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    hrtimer_restart_left        # ns left of the interrupted sleep
    mov     rdi, rax
    call    hrtimer_nanosleep
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(__x64_sys_restart_syscall)

HOST_FUNC_NOTRACE hrtimer_save_restart
HOST_FUNC_NOTRACE hrtimer_restart_left

# void delayed_work_timer_fn(struct timer_list *): what the timer of a delayed work runs.
HOST_FUNC delayed_work_timer_fn
EXPORT_SYMBOL(delayed_work_timer_fn)
HOST_FUNC add_timer
EXPORT_SYMBOL(add_timer)
HOST_FUNC mod_timer
EXPORT_SYMBOL(mod_timer)
HOST_FUNC init_timer_key
EXPORT_SYMBOL(init_timer_key)
HOST_FUNC timer_delete
EXPORT_SYMBOL(timer_delete)

.section .data
SYM_DATA_START(jiffies)
SYM_INNER_LABEL(jiffies_64)
    .quad   0
SYM_DATA_END(jiffies)
EXPORT_SYMBOL(jiffies)
EXPORT_SYMBOL(jiffies_64)
