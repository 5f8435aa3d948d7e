# The function tracer's handler. Mirrors kernel/trace/trace_functions.c. What it records is kept by src/tracing.

.section .text

# rdi ip, rsi parent ip, rdx fops, rcx fregs. Not traced: it runs inside a trampoline.
SYM_FUNC_START(function_trace_call)
    FRAME_BEGIN
    push    r15
    push    r14
    push    r12
    push    rbx
    mov     r12, rdi
    mov     rbx, rsi
    TRACE_RECURSION_LOCK TRACE_FTRACE_START, .Lout
    mov     rdi, r12
    mov     rsi, rbx
    # irqs_disabled()
    pushfq
    pop     rdx
    not     edx
    shr     edx, 9
    and     edx, 1
    call    trace_function
    TRACE_RECURSION_UNLOCK
.Lout:
    pop     rbx
    pop     r12
    pop     r14
    pop     r15
    FRAME_END
    RET
SYM_FUNC_END(function_trace_call)

# void trace_function(rdi ip, rsi parent ip, edx: interrupts are off)
HOST_FUNC_NOTRACE trace_function

.section .data
# Of the tracers and of set_ftrace_filter.
SYM_DATA_START(global_ops)
    MEMBERS
    MEMBER ftrace_ops_func, function_trace_call
    MEMBERS_END sizeof_ftrace_ops
SYM_DATA_END(global_ops)
