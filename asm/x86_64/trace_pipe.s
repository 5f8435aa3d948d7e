# Reading tracefs' trace_pipe, and waiting for what it shows. Mirrors kernel/trace/trace.c and ring_buffer.c; what is recorded, and
# its text, are src/tracing's.
#
# Invariant: who waits has said so in ring_buffer_waiters_pending after it was in the queue, and looked again behind that; who
# records looks there behind the record. That it wakes from the timer of the next tick, not from an irq_work, is docs/differences.md's.

.set RING_WAIT_ENTRY, 0
.set RING_WAIT_RESULT, RING_WAIT_ENTRY + sizeof_wait_queue_entry
.set RING_WAIT_FRAME, (RING_WAIT_RESULT + 8 + 15) / 16 * 16 + 8

.section .text

# ssize_t tracing_read_pipe(rdi file, rsi ubuf, rdx cnt, rcx ppos)
SYM_FUNC_START(tracing_read_pipe)
    FENTRY
    FRAME_BEGIN
    push    r13
    push    r12
    push    rbx
    mov     rbx, rdi
    mov     r12, rsi
    mov     r13, rdx
    call    trace_pipe_rest
    cmp     rax, -EBUSY
    jne     .Lout
.Lwait_again:
    mov     rdi, rbx
    call    tracing_wait_pipe
    cdqe
    test    rax, rax
    jle     .Lout
    mov     rdx, r13
    mov     rsi, r12
    mov     rdi, rbx
    call    trace_pipe_print
    # Nothing to show of what was taken.
    cmp     rax, -EBUSY
    je      .Lwait_again
.Lout:
    pop     rbx
    pop     r12
    pop     r13
    FRAME_END
    RET
SYM_FUNC_END(tracing_read_pipe)

# int tracing_wait_pipe(rdi file): 1 when there is something to read or its end, or -errno
SYM_FUNC_START(tracing_wait_pipe)
    FENTRY
    FRAME_BEGIN
    push    rbx
    mov     rbx, rdi
.Lagain:
    mov     rdi, rbx
    call    trace_pipe_look
    test    eax, eax
    jnz     .Lout
    mov     rdi, rbx
.ifdef WAIT_ON_PIPE
    call    wait_on_pipe
.else
    call    ring_buffer_wait
.endif
    test    eax, eax
    jz      .Lagain
.Lout:
    pop     rbx
    FRAME_END
    RET
SYM_FUNC_END(tracing_wait_pipe)

.ifdef WAIT_ON_PIPE
SYM_FUNC_START(wait_on_pipe)
    FENTRY
    FRAME_BEGIN
    sub     rsp, 8
    call    ring_buffer_wait
    add     rsp, 8
    FRAME_END
    RET
SYM_FUNC_END(wait_on_pipe)
.endif

# int ring_buffer_wait(rdi file of the reader): 0, or -ERESTARTSYS. Up to the kernels that have wait_on_pipe() it comes back once it was
# woken, whatever there is; from these on only with something to read.
SYM_FUNC_START(ring_buffer_wait)
    FENTRY
    FRAME_BEGIN
    push    r12
    push    rbx
    sub     rsp, RING_WAIT_FRAME
    mov     rbx, rdi
    xor     r12d, r12d
    call    rb_watermark_hit
    test    eax, eax
    jnz     .Lnothing
    mov     dword ptr [ring_buffer_waiters_pending], 1
    lea     rdi, [rsp+RING_WAIT_ENTRY]
    xor     esi, esi
    call    init_wait_entry
.Lagain:
    mov     rdi, offset ring_buffer_waiters
    lea     rsi, [rsp+RING_WAIT_ENTRY]
    mov     edx, TASK_INTERRUPTIBLE
    call    prepare_to_wait_event
    mov     [rsp+RING_WAIT_RESULT], rax
    mov     rdi, rbx
    call    rb_watermark_hit
    test    eax, eax
    jnz     .Lfinish
.ifndef WAIT_ON_PIPE
    test    r12d, r12d
    jnz     .Lfinish
.endif
    mov     dword ptr [ring_buffer_waiters_pending], 1
    mov     rax, [rsp+RING_WAIT_RESULT]
    test    rax, rax
    jnz     .Lout
    call    schedule
    inc     r12d
    jmp     .Lagain
.Lfinish:
    mov     rdi, offset ring_buffer_waiters
    lea     rsi, [rsp+RING_WAIT_ENTRY]
    call    finish_wait
.Lnothing:
    xor     eax, eax
.Lout:
    add     rsp, RING_WAIT_FRAME
    pop     rbx
    pop     r12
    FRAME_END
    RET
SYM_FUNC_END(ring_buffer_wait)

# void rb_wake_up_waiters(rdi timer)
SYM_FUNC_START(rb_wake_up_waiters)
    FENTRY
    mov     rdi, offset ring_buffer_waiters
    mov     esi, TASK_NORMAL
    xor     edx, edx
    xor     ecx, ecx
    TAIL_CALL __wake_up
SYM_FUNC_END(rb_wake_up_waiters)

# int tracing_open_pipe(rdi inode, rsi file), tracing_release_pipe()
HOST_FUNC tracing_open_pipe
HOST_FUNC tracing_release_pipe
# bool rb_watermark_hit(rdi file of the reader): is there something to read?
HOST_FUNC rb_watermark_hit
# ssize_t trace_pipe_rest(rdi file, rsi ubuf, rdx cnt): what the last read had no room for, else -EBUSY
HOST_FUNC_NOTRACE trace_pipe_rest
# int trace_pipe_look(rdi file): 1 to read, 0 to wait, or -EAGAIN
HOST_FUNC_NOTRACE trace_pipe_look
# ssize_t trace_pipe_print(rdi file, rsi ubuf, rdx cnt): takes what is recorded; 0 where nothing is
HOST_FUNC_NOTRACE trace_pipe_print

.section .rodata
FILE_OPERATIONS tracing_pipe_fops, llseek=no_llseek, read=tracing_read_pipe, open=tracing_open_pipe, release=tracing_release_pipe

.section .data

.balign 8
SYM_DATA_START(ring_buffer_waiters)
    MEMBERS
    MEMBER_LIST wait_queue_head_head, ring_buffer_waiters
    MEMBERS_END sizeof_wait_queue_head
SYM_DATA_END(ring_buffer_waiters)

# Somebody waits, and no record has been made since.
SYM_DATA_START(ring_buffer_waiters_pending)
    .quad   0
SYM_DATA_END(ring_buffer_waiters_pending)

SYM_DATA_START(ring_buffer_wake_timer)
    MEMBERS
    MEMBER timer_list_function, rb_wake_up_waiters
    MEMBERS_END sizeof_timer_list
SYM_DATA_END(ring_buffer_wake_timer)
