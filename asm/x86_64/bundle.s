# The gate between transitions and the loading and unloading of modules, in the bundle model.
# docs/bundle.md tells what it is for; src/bundle/gate.ts decides who may pass.
#
# Invariant: a task waits here in an interruptible sleep, on a queue in the order of arrival. The fake signal
# ends the wait: the task leaves the kernel, switches there, and its system call starts again.

.set KLP_GATE_ENTRY, 0
.set KLP_GATE_RESULT, KLP_GATE_ENTRY + sizeof_wait_queue_entry
.set KLP_GATE_FRAME, KLP_GATE_RESULT + 8

.section .text

# long klp_gate_lock(edi how): 1 when it is the caller's, or -errno. how: see src/bundle/gate.ts.
SYM_FUNC_START(klp_gate_lock)
    FENTRY
    FRAME_BEGIN
    push    rbx
    sub     rsp, KLP_GATE_FRAME
    mov     ebx, edi
    xor     esi, esi
    call    klp_gate_try
    test    rax, rax
    jnz     .Lout
    lea     rdi, [rsp+KLP_GATE_ENTRY]
    mov     esi, WQ_FLAG_EXCLUSIVE
    call    init_wait_entry
.Lagain:
    mov     rdi, offset klp_gate_wait_queue
    lea     rsi, [rsp+KLP_GATE_ENTRY]
    mov     edx, TASK_INTERRUPTIBLE
    call    prepare_to_wait_event
    mov     edi, ebx
    mov     rsi, rax                    # 0, or -ERESTARTSYS: only if it cannot be had now
    call    klp_gate_try
    test    rax, rax
    jnz     .Lend
    call    schedule
    jmp     .Lagain
.Lend:
    mov     [rsp+KLP_GATE_RESULT], rax
    mov     rdi, offset klp_gate_wait_queue
    lea     rsi, [rsp+KLP_GATE_ENTRY]
    call    finish_wait
    mov     rax, [rsp+KLP_GATE_RESULT]
.Lout:
    add     rsp, KLP_GATE_FRAME
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(klp_gate_lock)

# void klp_gate_wake(void): everybody looks again, the first in the queue first.
SYM_FUNC_START(klp_gate_wake)
    FENTRY
    mov     rdi, offset klp_gate_wait_queue
    mov     esi, TASK_INTERRUPTIBLE
    xor     edx, edx
    xor     ecx, ecx
    TAIL_CALL __wake_up
SYM_FUNC_END(klp_gate_wake)

HOST_FUNC_NOTRACE klp_gate_try

# request_module(): here the module is loaded in the calling task, not by a helper in user space.
HOST_FUNC __request_module
EXPORT_SYMBOL(__request_module)

# module_unpause(handle)
SYSCALL_DEFINE module_unpause, __do_sys_module_unpause, rdi
HOST_FUNC __do_sys_module_unpause

.section .data

SYM_DATA_START(klp_gate)
    .skip   sizeof_klp_gate
SYM_DATA_END(klp_gate)

.balign 8
SYM_DATA_START(klp_gate_wait_queue)
    MEMBERS
    MEMBER_LIST wait_queue_head_head, klp_gate_wait_queue
    MEMBERS_END sizeof_wait_queue_head
SYM_DATA_END(klp_gate_wait_queue)
