# Entries of /proc that the kernel itself makes. Mirrors fs/proc/{cmdline,meminfo,version}.c.

.section .text

# int cmdline_proc_show(rdi m, rsi v)
SYM_FUNC_START_LOCAL(cmdline_proc_show)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rsi, [rip+saved_command_line]
    mov     rbx, rdi
    call    seq_puts
    mov     rdi, rbx
    mov     esi, 10
    call    seq_putc
    xor     eax, eax
    pop     rbx
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(cmdline_proc_show)

# int version_proc_show(rdi m, rsi v)
SYM_FUNC_START_LOCAL(version_proc_show)
    FENTRY
    FRAME_BEGIN
    mov     rsi, offset linux_proc_banner
    mov     rdx, offset utsname_sysname
    mov     rcx, offset utsname_release
    mov     r8, offset utsname_version
    xor     eax, eax
    call    seq_printf
    xor     eax, eax
    FRAME_END
    jmp     __x86_return_thunk
SYM_FUNC_END(version_proc_show)

# void show_val_kb(rdi m, rsi label, rdx pages)
SYM_FUNC_START_LOCAL(show_val_kb)
    FENTRY
    FRAME_BEGIN
    push    rbp_r12
    mov     rbp_r12, rdi
    shl     rdx, PAGE_SHIFT - 10
    mov     ecx, 8
    call    seq_put_decimal_ull_width
    mov     rdi, rbp_r12
    mov     rsi, offset kb_suffix
    mov     edx, 4
    pop     rbp_r12
    FRAME_END
    TAIL_CALL seq_write
SYM_FUNC_END(show_val_kb)

# int meminfo_proc_show(rdi m, rsi v). Its frame is realigned: r10 finds the caller's (DRAP).
# At rsp: struct sysinfo, then five words of si_mem_extra().
.set mem_available, sizeof_sysinfo
.set mem_slab, sizeof_sysinfo + 8
.set mem_kernel_stack, sizeof_sysinfo + 16
.set mem_committed, sizeof_sysinfo + 24
.set mem_percpu, sizeof_sysinfo + 32
.set meminfo_frame, 192
.macro SHOW_KB label, at
    mov     rdx, [rsp+\at]
    mov     rsi, offset \label
    mov     rdi, rbx
    call    show_val_kb
.endm
SYM_FUNC_START_LOCAL(meminfo_proc_show)
    FENTRY
    lea     r10, [rsp+8]
    and     rsp, -32
    push    qword ptr [r10-8]
    push    rbp
    mov     rbp, rsp
    push    r15
    push    r14
    push    r13
    push    r12
    push    r10
    push    rbx
    sub     rsp, meminfo_frame
    mov     rbx, rdi
    mov     rdi, rsp
    call    si_meminfo
    mov     rdi, rsp
    call    si_swapinfo
    lea     rdi, [rsp+mem_available]
    call    si_mem_extra
    SHOW_KB mem_label_total, sysinfo_totalram
    SHOW_KB mem_label_free, sysinfo_freeram
    SHOW_KB mem_label_available, mem_available
    SHOW_KB mem_label_buffers, sysinfo_bufferram
    SHOW_KB mem_label_swap_total, sysinfo_totalswap
    SHOW_KB mem_label_swap_free, sysinfo_freeswap
    SHOW_KB mem_label_shmem, sysinfo_sharedram
    SHOW_KB mem_label_slab, mem_slab
    mov     rdx, [rsp+mem_kernel_stack]
    mov     rsi, offset mem_kernel_stack_format
    mov     rdi, rbx
    xor     eax, eax
    call    seq_printf
    SHOW_KB mem_label_committed, mem_committed
    SHOW_KB mem_label_percpu, mem_percpu
    xor     eax, eax
    add     rsp, meminfo_frame
    pop     rbx
    pop     r10
    pop     r12
    pop     r13
    pop     r14
    pop     r15
    pop     rbp
    lea     rsp, [r10-8]
    jmp     __x86_return_thunk
SYM_FUNC_END(meminfo_proc_show)

HOST_FUNC si_meminfo
EXPORT_SYMBOL(si_meminfo)
HOST_FUNC si_swapinfo
HOST_FUNC si_mem_extra

# Entries whose text TypeScript makes: int show(m, v)
HOST_FUNC uptime_proc_show
HOST_FUNC m_show
HOST_FUNC s_show

.section .rodata
SYM_DATA_START_LOCAL(kb_suffix)
    .asciz  " kB\n"
SYM_DATA_END(kb_suffix)
.macro MEM_LABEL name, text
SYM_DATA_START_LOCAL(mem_label_\name)
    .asciz  \text
SYM_DATA_END(mem_label_\name)
.endm
MEM_LABEL total, "MemTotal:       "
MEM_LABEL free, "MemFree:        "
MEM_LABEL available, "MemAvailable:   "
MEM_LABEL buffers, "Buffers:        "
MEM_LABEL swap_total, "SwapTotal:      "
MEM_LABEL swap_free, "SwapFree:       "
MEM_LABEL shmem, "Shmem:          "
MEM_LABEL slab, "Slab:           "
MEM_LABEL committed, "Committed_AS:   "
MEM_LABEL percpu, "Percpu:         "
SYM_DATA_START_LOCAL(mem_kernel_stack_format)
    .asciz  "KernelStack:    %8lu kB\n"
SYM_DATA_END(mem_kernel_stack_format)

SYM_DATA_START(linux_proc_banner)
    .asciz  "%s version %s (klpemu) (keystone) %s\n"
SYM_DATA_END(linux_proc_banner)

# struct new_utsname: src/fs/proc_files.ts fills it.
.section .data
SYM_DATA_START(utsname_sysname)
    .asciz  "Linux"
    .skip   59
SYM_DATA_END(utsname_sysname)
SYM_DATA_START(utsname_release)
    .skip   65
SYM_DATA_END(utsname_release)
SYM_DATA_START(utsname_version)
    .skip   65
SYM_DATA_END(utsname_version)

# char *saved_command_line
SYM_DATA_START(saved_command_line)
    .quad   saved_command_line_text
SYM_DATA_END(saved_command_line)
SYM_DATA_START(saved_command_line_text)
    .skip   2048
SYM_DATA_END(saved_command_line_text)
