# sys_call_table. Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl; what is not here is
# sys_ni_syscall.

.set NR, 0
.macro SYSCALL nr:req, handler:req
    .rept \nr - NR
    .quad   sys_ni_syscall
    .endr
    .quad   \handler
    .set NR, \nr + 1
.endm

.section .rodata
SYM_DATA_START(sys_call_table)
    SYSCALL 0, __x64_sys_read
    SYSCALL 1, __x64_sys_write
    SYSCALL 2, __x64_sys_open
    SYSCALL 3, __x64_sys_close
    SYSCALL 8, __x64_sys_lseek
    SYSCALL 17, __x64_sys_pread64
    SYSCALL 24, __x64_sys_sched_yield
    SYSCALL 34, __x64_sys_pause
    SYSCALL 35, __x64_sys_nanosleep
    SYSCALL 39, __x64_sys_getpid
    SYSCALL 56, __x64_sys_clone
    SYSCALL 57, __x64_sys_fork
    SYSCALL 60, __x64_sys_exit
    SYSCALL 61, __x64_sys_wait4
    SYSCALL 62, __x64_sys_kill
    SYSCALL 176, __x64_sys_delete_module
    SYSCALL 219, __x64_sys_restart_syscall
    SYSCALL 230, __x64_sys_clock_nanosleep
    SYSCALL 231, __x64_sys_exit_group
    SYSCALL 257, __x64_sys_openat
    SYSCALL 313, __x64_sys_finit_module
    SYSCALL 451, __x64_sys_module_unpause
    SYSCALL 452, sys_ni_syscall
SYM_DATA_END(sys_call_table)

# The GDT, as arch/x86/kernel/cpu/common.c sets it up. src/arch/x86_64/unicorn/unicorn.ts fills it.
.section .data
SYM_DATA_START(gdt_page)
    .skip   128
SYM_DATA_END(gdt_page)
