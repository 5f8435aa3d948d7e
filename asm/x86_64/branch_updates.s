# Branches that change while the kernel runs: static calls and static keys. Mirrors kernel/static_call_inline.c and
# kernel/jump_label.c. In kernels where something changes one.

.ifdef BRANCH_UPDATES

.section .text

HOST_FUNC __static_call_update
EXPORT_SYMBOL_GPL(__static_call_update)
HOST_FUNC static_key_enable
EXPORT_SYMBOL_GPL(static_key_enable)
HOST_FUNC static_key_disable
EXPORT_SYMBOL_GPL(static_key_disable)
HOST_FUNC static_key_slow_inc
EXPORT_SYMBOL_GPL(static_key_slow_inc)
HOST_FUNC static_key_slow_dec
EXPORT_SYMBOL_GPL(static_key_slow_dec)

.endif
