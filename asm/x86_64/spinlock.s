# Spinlocks and reader-writer locks, as modules call them. Mirrors kernel/locking/spinlock.c; the waiting is
# a plain loop where the kernel's queues (kernel/locking/qspinlock.c, qrwlock.c).
#
# Invariant: the lock words are the kernel's: byte 0 of a spinlock is 1 while it is held; a rwlock counts
# readers from bit 9 and has 0xff in byte 0 while it is written under.
#
# Preemption goes off before a lock is taken and on after it was given back. Interrupts go off before
# preemption, so that none comes in between and finds the lock held.

# SOFTIRQ_MASK | HARDIRQ_MASK | NMI_MASK
.set SOFTIRQ_OR_HARDIRQ, 0xffff00
.set QR_BIAS, 0x200
.set QW_LOCKED, 0xff

.section .text

# What a lock function does first and returns, by its kind; and what an unlock function does after.
.macro LOCK_ENTER_plain
.endm
.macro LOCK_ENTER_irq
    cli
.endm
.macro LOCK_ENTER_irqsave
    pushfq
    pop     rsi
    cli
.endm
.macro LOCK_ENTER_bh
    add     dword ptr gs:[__preempt_count], SOFTIRQ_DISABLE_OFFSET
.endm
.macro LOCK_RESULT_plain
.endm
.macro LOCK_RESULT_irq
.endm
.macro LOCK_RESULT_irqsave
    mov     rax, rsi
.endm
.macro LOCK_RESULT_bh
.endm
.macro UNLOCK_LEAVE_plain
.endm
.macro UNLOCK_LEAVE_irq
    sti
.endm
# rsi: the flags that the lock function returned
.macro UNLOCK_LEAVE_irqrestore
    test    esi, X86_EFLAGS_IF
    jz      .Loff_\@
    sti
.Loff_\@:
.endm
.macro UNLOCK_LEAVE_bh
    sub     dword ptr gs:[__preempt_count], SOFTIRQ_DISABLE_OFFSET
    call    do_pending_softirq
.endm

# The lock in rdi; eax and edx change.
.macro ACQUIRE_spin
.Ltry_\@:
    xor     eax, eax
    mov     edx, 1
    lock cmpxchg dword ptr [rdi], edx
    je      .Lheld_\@
.Lwait_\@:
    pause
    cmp     dword ptr [rdi], 0
    jne     .Lwait_\@
    jmp     .Ltry_\@
.Lheld_\@:
.endm
.macro ACQUIRE_read
.Ltry_\@:
    mov     eax, [rdi]
    test    al, al
    jne     .Lwait_\@
    lea     edx, [rax+QR_BIAS]
    lock cmpxchg dword ptr [rdi], edx
    je      .Lheld_\@
.Lwait_\@:
    pause
    jmp     .Ltry_\@
.Lheld_\@:
.endm
.macro ACQUIRE_write
.Ltry_\@:
    xor     eax, eax
    mov     edx, QW_LOCKED
    lock cmpxchg dword ptr [rdi], edx
    je      .Lheld_\@
    pause
    jmp     .Ltry_\@
.Lheld_\@:
.endm
.macro RELEASE_spin
    mov     byte ptr [rdi], 0
.endm
.macro RELEASE_read
    lock sub     dword ptr [rdi], QR_BIAS
.endm
.macro RELEASE_write
    mov     byte ptr [rdi], 0
.endm

.macro LOCK_FUNC name:req, lock:req, context:req
SYM_FUNC_START(\name)
    FENTRY
    LOCK_ENTER_\context
    PREEMPT_DISABLE
    ACQUIRE_\lock
    LOCK_RESULT_\context
    RET
SYM_FUNC_END(\name)
EXPORT_SYMBOL(\name)
.endm

.macro UNLOCK_FUNC name:req, lock:req, context:req
SYM_FUNC_START(\name)
    FENTRY
    FRAME_BEGIN
    RELEASE_\lock
    UNLOCK_LEAVE_\context
    PREEMPT_ENABLE
    FRAME_END
    RET
SYM_FUNC_END(\name)
EXPORT_SYMBOL(\name)
.endm

# What became due while softirqs were off, unless they still are.
SYM_FUNC_START_LOCAL(do_pending_softirq)
    FENTRY
    FRAME_BEGIN
    test    dword ptr gs:[__preempt_count], SOFTIRQ_OR_HARDIRQ
    jnz     .Lout
    cmp     dword ptr gs:[irq_stat], 0
    je      .Lout
    cli
    call    __do_softirq
    sti
.Lout:
    FRAME_END
    RET
SYM_FUNC_END(do_pending_softirq)

# void __local_bh_enable_ip(rdi ip, esi count)
SYM_FUNC_START(__local_bh_enable_ip)
    FENTRY
    FRAME_BEGIN
    # One of the count stays: not preempted before the softirqs have run.
    lea     eax, [rsi-1]
    sub     gs:[__preempt_count], eax
    call    do_pending_softirq
    PREEMPT_ENABLE
    FRAME_END
    RET
SYM_FUNC_END(__local_bh_enable_ip)
EXPORT_SYMBOL(__local_bh_enable_ip)

.irp lock, spin, read, write
LOCK_FUNC _raw_\lock\()_lock, \lock, plain
LOCK_FUNC _raw_\lock\()_lock_irq, \lock, irq
LOCK_FUNC _raw_\lock\()_lock_irqsave, \lock, irqsave
LOCK_FUNC _raw_\lock\()_lock_bh, \lock, bh
UNLOCK_FUNC _raw_\lock\()_unlock, \lock, plain
UNLOCK_FUNC _raw_\lock\()_unlock_irq, \lock, irq
UNLOCK_FUNC _raw_\lock\()_unlock_irqrestore, \lock, irqrestore
UNLOCK_FUNC _raw_\lock\()_unlock_bh, \lock, bh
.endr

# int _raw_spin_trylock(rdi lock): 1 when it got the lock
SYM_FUNC_START(_raw_spin_trylock)
    FENTRY
    FRAME_BEGIN
    PREEMPT_DISABLE
    xor     eax, eax
    mov     edx, 1
    lock cmpxchg dword ptr [rdi], edx
    mov     eax, 1
    je      .Lout
    PREEMPT_ENABLE
    xor     eax, eax
.Lout:
    FRAME_END
    RET
SYM_FUNC_END(_raw_spin_trylock)
EXPORT_SYMBOL(_raw_spin_trylock)

# Readers of RCU on a preemptible kernel: a count in the task. Mirrors kernel/rcu/tree_plugin.h.
SYM_FUNC_START(__rcu_read_lock)
    FENTRY
    GET_CURRENT rax
    inc     dword ptr [rax+task_struct_rcu_read_lock_nesting]
    RET
SYM_FUNC_END(__rcu_read_lock)
EXPORT_SYMBOL_GPL(__rcu_read_lock)

SYM_FUNC_START(__rcu_read_unlock)
    FENTRY
    GET_CURRENT rax
    dec     dword ptr [rax+task_struct_rcu_read_lock_nesting]
    RET
SYM_FUNC_END(__rcu_read_unlock)
EXPORT_SYMBOL_GPL(__rcu_read_unlock)
