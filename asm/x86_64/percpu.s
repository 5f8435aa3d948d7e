# Per-CPU data. Mirrors arch/x86/kernel/cpu/common.c and setup_percpu.c.
# fixed_percpu_data must come first: gs:0x28 is where compilers look for the stack canary.

.section .data..percpu

SYM_DATA_START(fixed_percpu_data)
    .skip   40
    .quad   0                           # stack_canary
SYM_DATA_END(fixed_percpu_data)
EXPORT_SYMBOL_GPL(fixed_percpu_data)

SYM_DATA_START(this_cpu_off)
    .quad   0
SYM_DATA_END(this_cpu_off)
EXPORT_SYMBOL(this_cpu_off)

SYM_DATA_START(current_task)
    .quad   0
SYM_DATA_END(current_task)
EXPORT_SYMBOL(current_task)

SYM_DATA_START(cpu_current_top_of_stack)
    .quad   0
SYM_DATA_END(cpu_current_top_of_stack)

# INIT_PREEMPT_COUNT | PREEMPT_NEED_RESCHED (inverted: nobody waits)
SYM_DATA_START(__preempt_count)
.if PREEMPT_NEED_RESCHED == 0x80000000
    .long   0x80000001
.else
    .quad   0x8000000000000001
.endif
SYM_DATA_END(__preempt_count)
EXPORT_SYMBOL(__preempt_count)

# irq_cpustat_t: its first word is __softirq_pending.
SYM_DATA_START(irq_stat)
    .long   0
SYM_DATA_END(irq_stat)

SYM_DATA_START(cpu_number)
    .long   0
SYM_DATA_END(cpu_number)
EXPORT_SYMBOL(cpu_number)

# struct tss_struct: the hardware part, of which sp0 is used at a privilege change, and sp2, scratch of the system
# call entry.
SYM_DATA_START(cpu_tss_rw)
    .skip   sizeof_x86_hw_tss
SYM_DATA_END(cpu_tss_rw)

# Top of the stack for double faults (an IST stack: it works when the task's is gone).
SYM_DATA_START(double_fault_stack)
    .quad   0
SYM_DATA_END(double_fault_stack)
# The probe whose handlers run (kprobes.s), and of several at one place that whose turn it is.
SYM_DATA_START(current_kprobe)
    .quad   0
SYM_DATA_END(current_kprobe)

SYM_DATA_START(kprobe_instance)
    .quad   0
SYM_DATA_END(kprobe_instance)
