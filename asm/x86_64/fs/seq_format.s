# Opening, formats and lists of seq_files: host functions. Mirrors the rest of fs/seq_file.c.

HOST_FUNC seq_open
EXPORT_SYMBOL(seq_open)
HOST_FUNC __seq_open_private
EXPORT_SYMBOL(__seq_open_private)
HOST_FUNC seq_open_private
EXPORT_SYMBOL(seq_open_private)
HOST_FUNC seq_printf
EXPORT_SYMBOL(seq_printf)
HOST_FUNC seq_vprintf
EXPORT_SYMBOL(seq_vprintf)
HOST_FUNC seq_pad
EXPORT_SYMBOL(seq_pad)
HOST_FUNC seq_put_decimal_ull_width
HOST_FUNC seq_put_decimal_ull
EXPORT_SYMBOL(seq_put_decimal_ull)
HOST_FUNC seq_put_decimal_ll
EXPORT_SYMBOL(seq_put_decimal_ll)
HOST_FUNC seq_put_hex_ll
HOST_FUNC seq_escape_mem
EXPORT_SYMBOL(seq_escape_mem)
HOST_FUNC seq_list_start
EXPORT_SYMBOL(seq_list_start)
HOST_FUNC seq_list_start_head
EXPORT_SYMBOL(seq_list_start_head)
HOST_FUNC seq_list_next
EXPORT_SYMBOL(seq_list_next)
