// Which functions sleep, in which state, and which never do whatever they call: the words of the kernel's documentation as tables.

/** Where a task gives up its CPU and stays away until it is woken. */
export const SLEEPS: ReadonlySet<string> = new Set([
  'schedule',
  'schedule_preempt_disabled',
  'io_schedule',
  'schedule_rtlock',
]);

/**
 * May be called from anywhere, with locks held and interrupts off: whatever their code could reach, they do not sleep. What
 * reports a mistake is of them.
 */
const NEVER: readonly RegExp[] = [
  /^_?v?printk(_\w+)?$/,
  /^(?:__warn_printk|_dev_\w+|dev_printk_emit|dump_stack(_lvl)?|__dynamic_\w+|warn_slowpath_fmt)$/,
  /^(?:k|kv)?free(_sensitive|_const|_skb\w*)?$/,
  /^(?:kmem_cache_free|kvfree_call_rcu|call_rcu|call_rcu_hurry)$/,
  /^(?:up|up_read|up_write|mutex_unlock|complete|complete_all)$/,
  /^(?:__wake_up\w*|wake_up_\w+|wake_q_add\w*|try_to_wake_up|default_wake_function)$/,
  /^(?:queue_work_on|queue_delayed_work_on|mod_delayed_work_on|mod_timer\w*|add_timer\w*)$/,
  /^(?:migrate_(?:en|dis)able|_raw_\w+|__local_bh_enable_ip|rcu_read_\w+|__rcu_read_\w+)$/,
  /^(?:__sanitizer_\w+|__ubsan_\w+|__kasan_\w+|fortify_\w+)$/,
];

export const neverSleeps = (name: string): boolean => NEVER.some((pattern) => pattern.test(name));

export type SleepState = 'interruptible' | 'killable' | 'uninterruptible';

/** By the name of a function that sets the state itself. */
const BY_NAME: readonly (readonly [RegExp, SleepState])[] = [
  [/_interruptible(_\w+)?$|^interruptible_sleep|^msleep_interruptible$|^do_nanosleep$/, 'interruptible'],
  [/_killable(_\w+)?$/, 'killable'],
  [
    /^(?:mutex_lock|__mutex_lock|down|down_read|down_write|msleep|io_schedule(_timeout)?)$/,
    'uninterruptible',
  ],
  [
    /^(?:wait_for_completion(_timeout|_io)?|schedule_timeout_uninterruptible|schedule_timeout_idle)$/,
    'uninterruptible',
  ],
  [/^(?:__?synchronize_\w+|rcu_barrier|flush_work|__flush_work(queue)?|kthread_stop)$/, 'uninterruptible'],
];

export function stateByName(name: string): SleepState | undefined {
  const plain = name.replace(/\.(?:constprop|isra|part)\.\d+/g, '');
  return BY_NAME.find(([pattern]) => pattern.test(plain))?.[1];
}

/** Which argument of a function is the state that the caller will sleep in. */
const STATE_ARGUMENT: ReadonlyMap<string, number> = new Map([
  ['prepare_to_wait', 2],
  ['prepare_to_wait_exclusive', 2],
  ['prepare_to_wait_event', 2],
  ['prepare_to_swait_event', 2],
  ['prepare_to_swait_exclusive', 2],
  ['__mutex_lock', 1],
  ['__down_common', 1],
  ['___down_common', 1],
  ['schedule_hrtimeout_range', -1],
]);

export function stateArgument(name: string): number | undefined {
  const at = STATE_ARGUMENT.get(name.replace(/\.(?:constprop|isra|part)\.\d+/g, ''));
  return at === undefined || at < 0 ? undefined : at;
}

/** What makes a kernel thread: its first argument is the thread's function. */
export const MAKES_THREADS: ReadonlySet<string> = new Set([
  'kthread_create_on_node',
  '__kthread_create_on_node',
  'kthread_create_on_cpu',
  'kernel_thread',
  'user_mode_thread',
]);

export const WHAT_ENDS: Readonly<Record<SleepState, string>> = {
  interruptible: 'interruptible: of a user task the fake signal ends it, after 15 s',
  killable: 'killable: the fake signal does not end it',
  uninterruptible: 'uninterruptible: it ends when what it waits for comes',
};
