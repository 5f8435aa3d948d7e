# read() of a seq_file, which is read_iter() of one piece of memory. Mirrors seq_read() of fs/seq_file.c.

.section .text

# ssize_t seq_read(rdi file, rsi buf, rdx size, rcx ppos). With a frame pointer.
.set seq_read_kiocb, 0
.set seq_read_iter_at, sizeof_kiocb
.set seq_read_iov, sizeof_kiocb + sizeof_iov_iter
.set seq_read_frame, sizeof_kiocb + sizeof_iov_iter + sizeof_iovec
SYM_FUNC_START(seq_read)
    FENTRY
    push    rbp
    mov     rbp, rsp
    push    rbx
    sub     rsp, seq_read_frame
    mov     rbx, rcx
    mov     r8, rdi
    xor     eax, eax
    mov     rdi, rsp
    mov     ecx, seq_read_frame / 8
    rep stosq
    mov     [rsp+seq_read_kiocb+kiocb_ki_filp], r8
    mov     eax, [r8+file_f_iocb_flags]
    mov     [rsp+seq_read_kiocb+kiocb_ki_flags], eax
    mov     rax, [rbx]
    mov     [rsp+seq_read_kiocb+kiocb_ki_pos], rax
    mov     [rsp+seq_read_iov+iovec_iov_base], rsi
    mov     [rsp+seq_read_iov+iovec_iov_len], rdx
    lea     rax, [rsp+seq_read_iov]
    mov     byte ptr [rsp+seq_read_iter_at+iov_iter_iter_type], ITER_IOVEC
.ifdef iov_iter_user_backed
    mov     byte ptr [rsp+seq_read_iter_at+iov_iter_user_backed], 1
.endif
    mov     [rsp+seq_read_iter_at+iov_iter_count], rdx
    mov     [rsp+seq_read_iter_at+iov_iter_iov], rax
    mov     qword ptr [rsp+seq_read_iter_at+iov_iter_nr_segs], 1
    lea     rsi, [rsp+seq_read_iter_at]
    mov     rdi, rsp
    call    seq_read_iter
    mov     rdx, [rsp+seq_read_kiocb+kiocb_ki_pos]
    mov     [rbx], rdx
    mov     rbx, [rbp-8]
    leave
    jmp     __x86_return_thunk
SYM_FUNC_END(seq_read)
EXPORT_SYMBOL(seq_read)
