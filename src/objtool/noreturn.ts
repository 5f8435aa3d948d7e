// Global functions that do not come back: ELF does not say so, the names must be known.
// The same names as in tools/objtool/check.c of 6.1.

export const GLOBAL_NORETURNS: ReadonlySet<string> = new Set(
  `__invalid_creds __module_put_and_kthread_exit __reiserfs_panic __stack_chk_fail
  __ubsan_handle_builtin_unreachable cpu_bringup_and_idle cpu_startup_entry do_exit do_group_exit do_task_dead
  ex_handler_msr_mce fortify_panic kthread_complete_and_exit kthread_exit kunit_try_catch_throw lbug_with_loc
  machine_real_restart make_task_dead panic rewind_stack_and_make_dead sev_es_terminate snp_abort stop_this_cpu
  usercopy_abort xen_start_kernel`.split(/\s+/),
);
