# System states asked for by callbacks of patches. Mirrors kernel/livepatch/state.c.

.section .text

# struct klp_state *klp_get_prev_state(unsigned long id): WARN_ON_ONCE outside a transition
SYM_FUNC_START(klp_get_prev_state)
    FENTRY
    cmp     qword ptr [rip+klp_transition_patch], 0
    jne     klp_find_prev_state
    FRAME_BEGIN
__bug_at_klp_get_prev_state:
    ud2
    xor     eax, eax
    FRAME_END
    RET
SYM_FUNC_END(klp_get_prev_state)
EXPORT_SYMBOL_GPL(klp_get_prev_state)
HOST_FUNC_NOTRACE klp_find_prev_state

.section .rodata
SYM_DATA_START_LOCAL(klp_state_file)
    .asciz  "kernel/livepatch/state.c"
SYM_DATA_END(klp_state_file)

.section .data

SYM_DATA_START(__bug_table_klp_state)
    BUG_ENTRY __bug_at_klp_get_prev_state, klp_state_file, 69, BUGFLAG_WARN_ONCE
SYM_DATA_END(__bug_table_klp_state)
