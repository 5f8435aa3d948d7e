# Character devices of memory, and files whose text the kernel's TypeScript part makes (src/fs/host_files.ts).
# Mirrors drivers/char/mem.c, kernel/printk/printk.c (devkmsg_write).

.section .text

# ssize_t read_iter(rdi kiocb, rsi iov_iter), write_iter(rdi kiocb, rsi iov_iter)
HOST_FUNC devkmsg_write
HOST_FUNC read_iter_null
HOST_FUNC write_iter_null
HOST_FUNC host_file_read_iter
HOST_FUNC host_file_write_iter
HOST_FUNC generic_file_write_iter

.section .rodata
FILE_OPERATIONS kmsg_fops, llseek=no_llseek, write_iter=devkmsg_write
FILE_OPERATIONS null_fops, llseek=no_llseek, read_iter=read_iter_null, write_iter=write_iter_null
FILE_OPERATIONS host_file_operations, llseek=generic_file_llseek, read_iter=host_file_read_iter, write_iter=host_file_write_iter
