# What of printk is data that modules look at, and dump_stack(). Mirrors kernel/printk/printk.c, lib/dump_stack.c.

.section .text

# void dump_stack(void)
SYM_FUNC_START(dump_stack)
    FENTRY
    mov     edi, offset dump_stack_level
    TAIL_CALL dump_stack_lvl
SYM_FUNC_END(dump_stack)
EXPORT_SYMBOL(dump_stack)

# void dump_stack_lvl(rdi log level)
SYM_FUNC_START(dump_stack_lvl)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    show_stack_log_lvl
    add     rsp, 8
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(dump_stack_lvl)
EXPORT_SYMBOL(dump_stack_lvl)

# The task that calls: who it is, and the frames from the caller on.
HOST_FUNC_NOTRACE show_stack_log_lvl

.section .rodata
# KERN_DEFAULT
SYM_DATA_START_LOCAL(dump_stack_level)
    .asciz  ""
SYM_DATA_END(dump_stack_level)

.section .data

# int console_printk[4]: console_loglevel (7, or 4 with "quiet"), default_message_loglevel, minimum_console_loglevel,
# default_console_loglevel.
SYM_DATA_START(console_printk)
    .long   4, 4, 1, 7
SYM_DATA_END(console_printk)
EXPORT_SYMBOL_GPL(console_printk)
