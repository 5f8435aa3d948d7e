# What the machine and the trampolines know by name.

.section .data..percpu
SYM_DATA_START(this_cpu_off)
    .quad   0
SYM_DATA_END(this_cpu_off)
SYM_DATA_START(current_task)
    .quad   0
SYM_DATA_END(current_task)
SYM_DATA_START(cpu_current_top_of_stack)
    .quad   0
SYM_DATA_END(cpu_current_top_of_stack)
SYM_DATA_START(__preempt_count)
    .long   0x80000001
SYM_DATA_END(__preempt_count)
SYM_DATA_START(irq_stat)
    .long   0
SYM_DATA_END(irq_stat)
SYM_DATA_START(cpu_number)
    .long   0
SYM_DATA_END(cpu_number)

.section .data

.macro LIST name
SYM_DATA_START(\name)
    .quad   \name, \name
SYM_DATA_END(\name)
.endm
LIST klp_patches
LIST klp_ops

SYM_DATA_START(klp_transition_work)
    .quad   WORK_STRUCT_NO_POOL
    .quad   klp_transition_work + work_struct_entry, klp_transition_work + work_struct_entry
    .quad   klp_transition_work_fn
    .quad   0, 0, 0
    .quad   0
    .skip   sizeof_delayed_work - 64
SYM_DATA_END(klp_transition_work)

SYM_DATA_START(klp_target_state)
    .long   KLP_UNDEFINED
SYM_DATA_END(klp_target_state)

# ftrace_list_end is the ops that ends the list.
SYM_DATA_START(ftrace_list_end)
    .skip   sizeof_ftrace_ops
SYM_DATA_END(ftrace_list_end)
SYM_DATA_START(ftrace_ops_list_head)
    .quad   ftrace_list_end
SYM_DATA_END(ftrace_ops_list_head)
SYM_DATA_START(function_trace_op)
    .quad   ftrace_list_end
SYM_DATA_END(function_trace_op)

SYM_DATA_START(kernel_kobj)
    .quad   kernel_kobject
SYM_DATA_END(kernel_kobj)
SYM_DATA_START(kernel_kobject)
    .skip   sizeof_kobject
SYM_DATA_END(kernel_kobject)
