# A task that waits for a helper in user space. Mirrors call_usermodehelper_exec() of kernel/umh.c, from where the
# helper has been started; src/machine/modules/usermode_helper.ts starts it and completes.

.section .text

# int call_usermodehelper_exec(rdi completion): 0, or -ERESTARTSYS for a task that was killed meanwhile.
SYM_FUNC_START(call_usermodehelper_exec)
    FENTRY
    FRAME_BEGIN
    mov     esi, TASK_KILLABLE
    call    wait_for_completion_state
    FRAME_END
    RET
SYM_FUNC_END(call_usermodehelper_exec)

# A livepatch's submodule has no object any more: it goes, from a worker, for its own release led here.
HOST_FUNC klp_remove_module_work_fn
