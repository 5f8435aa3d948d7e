# What of printk is data that modules look at. Mirrors kernel/printk/printk.c.

.section .data

# int console_printk[4]: console_loglevel (7, or 4 with "quiet"), default_message_loglevel, minimum_console_loglevel,
# default_console_loglevel.
SYM_DATA_START(console_printk)
	.long 4, 4, 1, 7
SYM_DATA_END(console_printk)
EXPORT_SYMBOL_GPL(console_printk)
