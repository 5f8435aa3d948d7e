// Host functions that a kernel's init functions may call where their boot is to be kept (kept_boot.ts): what they do is in
// the guest's memory, or in a state that `HostFunctions.keeps()` was told of.
//
// Invariant: one that keeps anything else is not here. test/machine/kept_boot.long.test.ts compares all that a machine is.

export const KEPT_CALLS: ReadonlySet<string> = new Set(
  [
    // of memory alone
    '__module_get module_put try_module_get do_initcalls ptp_classifier_init alloc_large_system_hash init_timer_key',
    'round_jiffies_up jiffies_to_usecs ktime_get_real_seconds btf_parse_vmlinux static_key_disable',
    'jiffies_left ktime_get_mono_fast_ns si_meminfo printk_store sprint_symbol sprint_symbol_no_offset',
    // slab, caches, percpu pieces
    '__get_free_pages __kmalloc __kmalloc_node __kmalloc_node_track_caller kasprintf kfree kfree_const kmalloc_large',
    'kmalloc_node_trace kmalloc_trace kmemdup kmemdup_nul kstrdup kstrdup_const kvasprintf kvmalloc_node pcpu_alloc',
    'kmem_cache_alloc kmem_cache_alloc_lru kmem_cache_create kmem_cache_create_usercopy __kmem_cache_create_args',
    'kmem_cache_free kmem_cache_alloc_node kmem_cache_alloc_bulk',
    '__alloc_pages free_unref_page free_pages kfree_sensitive usercopy_refused',
    // random bytes
    'get_random_bytes get_random_u8 get_random_u16 get_random_u32 __get_random_u32_below',
    // sched, timers, kthreads, fork: none waits when it is over
    'add_process_timer mod_timer mod_delayed_work_on cancel_delayed_work timer_delete_sync next_expired_timer hrtimer_interrupt pick_next_task wake_up_process try_to_wake_up',
    'kthread_create_on_node kthread_start kthread_set_result exit_files exit_notify put_task_stack synchronize_rcu call_rcu rcu_core',
    // modules: what is asked for is not there yet, and nobody keeps that
    '__request_module',
    // workqueues
    'alloc_workqueue worker_next_work worker_work_done queue_work_on queue_delayed_work_on',
    // debugfs, proc
    'debugfs_create_bool debugfs_create_dir debugfs_create_file debugfs_create_u32 debugfs_remove',
    'proc_symlink proc_create_mount_point _proc_mkdir proc_mkdir proc_mkdir_mode proc_create proc_create_seq_private proc_create_single_data proc_set_user',
    // rcu: its timers are over; taints
    'rcu_barrier kvfree_call_rcu __warn_printk handle_invalid_op',
  ].flatMap((names) => names.split(' ')),
);
